"""The tests' small world: tiny random BERTs, and a few rows of the demo's tasks, read by the ordinary loading code."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 4 << 30:
    tempfile.tempdir = os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)  # flushing to memory takes no time
os.environ["OMP_NUM_THREADS"] = "1"  # tiny matrices: threads only wait for each other, and for other tests' threads
_home = tempfile.TemporaryDirectory()  # nothing is read from or left in the user's own cache
os.environ.update(HF_HOME=_home.name, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
for name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_METRICS_CACHE", "HUGGINGFACE_HUB_CACHE"):
    os.environ.pop(name, None)

import pytest
import torch
from hypothesis import settings
from transformers import BertForPreTraining, BertModel

import adapter_tune
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import parse_config
from adapter_tune.data.custom import resolve_config
from adapter_tune.demo.dataset import write_data
from adapter_tune.demo.glue import DEMO_TASKS
from adapter_tune.foundation.console import limit_library_output
from tests.browser import Browser, started
from tests.helpers import save_backbone

limit_library_output(quiet=True)
torch.set_num_threads(1)
settings.register_profile("short", max_examples=100, derandomize=True)
settings.register_profile("long", max_examples=100_000 // 9)  # for each of the nine kinds in test_fuzz.py
settings.load_profile("short")


_LONGEST = (
    "sweeps/test_sweep",
    "bench/test_bench",
    "training/test_distributed",
    "serving/test_server",
    "exchange/test_onnx",
    "demo/test_demo",
    "training/test_signals",
    "config/test_json_schema",
    "training/test_loss_weights",
    "multitask/test_multitask",
    "multitask/test_predict_many",
    "runs/test_submit",
    "strategies/test_strategies",
    "exchange/test_peft",
    "run_files/test_hub_runs",
    "test_check_gpu",
    "modeling/test_frozen_layer_cache",
    "modeling/test_fast_paths",
    "data/test_custom",
    "runs/test_run",
    "conformance/test_checks",
    "test_endurance",
)
"""The files that take longest, which start first: else one process ends with a long one while the other has none."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest files first; with --no-loadscope-reorder, files are given out in this order."""
    rank = {f"tests/{name}.py": number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


def pytest_collection_finish() -> None:
    """Exempt what is imported from garbage collection: every training run collects garbage, in 0.2 s otherwise."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def plain_logging() -> Iterator[None]:
    """The command line's own handler goes with the test that brought it."""
    yield
    logger = logging.getLogger("adapter_tune")
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, for tests that are marked with ``needs_browser``."""
    yield from started(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As Google publishes them: with the next-sentence objective that pretrained the pooler."""
    return save_backbone(tmp_path_factory.mktemp("backbone"), BertForPreTraining, seed=0)


@pytest.fixture(scope="session")
def bare_backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As sentence-transformers publishes them: a pooler, and no objective behind it."""
    return save_backbone(tmp_path_factory.mktemp("bare"), BertModel, seed=1)


@pytest.fixture(scope="session")
def glue(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("glue") / "demo"
    write_data(folder, train=64, validation=24)
    return str(folder)


def configurations(backbone: str, glue: str, output: Path) -> Callable[..., ResolvedConfig]:
    """A function that makes configurations over the small world: ``make("rte", strategy="full", epochs=1)``."""

    def make(
        task: str = "sst2", strategy: Any = None, model: Any = None, data: Any = None, **training: Any
    ) -> ResolvedConfig:
        config = parse_config(
            {
                "task": task,
                "model": model or backbone,
                "strategy": strategy or {"name": "houlsby", "m": 4},
                "data": {"source": glue, "max_length": 32, **(data or {})},
                "training": {"epochs": 2, "batch_size": 16, "learning_rate": 3e-3, "logging_steps": 1, **training},
                "output": str(output),
            }
        )
        return resolve_config(config)

    return make


@pytest.fixture(scope="session")
def make_configs() -> Callable[..., Any]:
    """``configurations``, for modules with a backbone of their own."""
    return configurations


@pytest.fixture
def make_config(backbone: str, glue: str, tmp_path: Path) -> Any:
    """Makes configurations whose runs lie in the test's own folder."""
    return configurations(backbone, glue, tmp_path / "runs")


@pytest.fixture(scope="session")
def trained_runs(backbone: str, glue: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The folder of a finished run of each of the demo's tasks; to be read, not written. Test sets have 24 rows."""
    make = configurations(backbone, glue, tmp_path_factory.mktemp("trained"))
    folders = {}
    for task in DEMO_TASKS:
        config = make(task, max_steps=1)
        adapter_tune.run(config)
        folders[task] = str(config.folder)
    return folders


@pytest.fixture
def small_world(backbone: str, glue: str, tmp_path: Path) -> list[str]:
    """The same as command-line words."""
    words = ["--model", backbone, "--output", str(tmp_path / "runs"), "--epochs", "1", "--batch-size", "16"]
    return [*words, "--set", f"data.source={glue}", "--set", "data.max_length=32"]
