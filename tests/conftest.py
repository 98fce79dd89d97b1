"""The tests' own small world: a tiny BERT and GLUE in a few rows, on disk, read by the ordinary loading code."""

from __future__ import annotations

import logging
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_home = tempfile.TemporaryDirectory()  # nothing is read from or left in the user's own cache
os.environ.update(HF_HOME=_home.name, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
for name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_METRICS_CACHE", "HUGGINGFACE_HUB_CACHE"):
    os.environ.pop(name, None)

import datasets
import pytest
import torch
from transformers import BertConfig, BertForPreTraining, BertModel, BertTokenizerFast, PreTrainedModel

from adapter_tune.config import RunConfig, parse_config
from adapter_tune.progress import library_noise
from adapter_tune.tasks import TASKS, Task

library_noise(quiet=True)
torch.set_num_threads(1)  # tiny matrices: threads only wait for each other

GOOD = ["good", "great", "fine", "happy"]
BAD = ["bad", "awful", "poor", "sad"]
PLAIN = ["the", "a", "film", "house", "dog", "is", "was", "very", "and", "of"]
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}


def bert_config(**changes: Any) -> BertConfig:
    return BertConfig(vocab_size=5 + len(GOOD + BAD + PLAIN), **{**SHAPE, **changes})


def save_tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *PLAIN]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


@pytest.fixture(autouse=True)
def plain_logging() -> Iterator[None]:
    """The command line's own handler goes with the test that brought it."""
    yield
    logger = logging.getLogger("adapter_tune")
    logger.handlers.clear()
    logger.propagate = True


def save_backbone(folder: Path, kind: type[PreTrainedModel], seed: int, **options: Any) -> str:
    """A random BERT of the tests' shape with its tokenizer, saved as one finds them."""
    torch.manual_seed(seed)
    kind(bert_config(), **options).save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As Google publishes them: with the next-sentence objective that pretrained the pooler."""
    return save_backbone(tmp_path_factory.mktemp("backbone"), BertForPreTraining, seed=0)


@pytest.fixture(scope="session")
def bare_backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As sentence-transformers publishes them: a pooler, and no objective behind it."""
    return save_backbone(tmp_path_factory.mktemp("bare"), BertModel, seed=1)


def rows_of(task: Task, count: int, seed: str, labelled: bool = True) -> dict[str, list[Any]]:
    """Rows whose label shows in the words: good ones for the highest label, bad ones for the lowest."""
    rng = random.Random(seed)
    out: dict[str, list[Any]] = {column: [] for column in (*task.text, "label", "idx")}
    for index in range(count):
        label = rng.randrange(task.num_labels) if task.labels else round(rng.uniform(0, 5), 2)
        share = label / 5 if task.is_regression else label / (task.num_labels - 1)
        for column in task.text:
            words = [rng.choice(GOOD if rng.random() < share else BAD) for _ in range(3)]
            words += rng.choices(PLAIN, k=rng.randrange(1, 12))
            rng.shuffle(words)
            out[column].append(" ".join(words))
        out["label"].append(label if labelled else -1)
        out["idx"].append(index)
    return out


def write_glue(folder: Path, train: int = 64, validation: int = 24) -> str:
    """GLUE in a few rows under a folder that ``load_dataset(folder, task)`` reads like the one on the Hub."""
    configs = []
    for task in TASKS.values():
        sizes = {"train": train, **dict.fromkeys(task.validation, validation), **dict.fromkeys(task.test, 8)}
        names = list(task.labels)
        label = datasets.ClassLabel(names=names) if names else datasets.Value("float32")
        features = {**{column: datasets.Value("string") for column in task.text}, "label": label}
        for split, size in sizes.items():
            rows = rows_of(task, size, f"{task.name} {split}", labelled=split not in task.test)
            table = datasets.Dataset.from_dict(rows, datasets.Features({**features, "idx": datasets.Value("int32")}))
            table.to_parquet(folder / task.name / f"{split}.parquet")
        files = "\n".join(f"  - split: {split}\n    path: {task.name}/{split}.parquet" for split in sizes)
        configs.append(f"- config_name: {task.name}\n  data_files:\n{files}")
    (folder / "README.md").write_text("---\nconfigs:\n" + "\n".join(configs) + "\n---\n")
    return str(folder)


@pytest.fixture(scope="session")
def glue(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_glue(tmp_path_factory.mktemp("glue"))


@pytest.fixture
def make_config(backbone: str, glue: str, tmp_path: Path) -> Any:
    """Configurations over the small world: ``make_config("rte", strategy="full", epochs=1)``."""

    def make(
        task: str = "sst2", strategy: Any = None, model: Any = None, data: Any = None, **training: Any
    ) -> RunConfig:
        return parse_config(
            {
                "task": task,
                "model": model or backbone,
                "strategy": strategy or {"name": "houlsby", "m": 4},
                "data": {"source": glue, "max_length": 32, **(data or {})},
                "training": {"epochs": 2, "batch_size": 16, "learning_rate": 3e-3, "logging_steps": 1, **training},
                "output": str(tmp_path / "runs"),
            }
        )

    return make


@pytest.fixture
def small_world(backbone: str, glue: str, tmp_path: Path) -> list[str]:
    """The same as command-line words."""
    words = ["--model", backbone, "--output", str(tmp_path / "runs"), "--epochs", "1", "--batch-size", "16"]
    return [*words, "--set", f"data.source={glue}", "--set", "data.max_length=32"]
