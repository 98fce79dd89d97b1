"""Runs on disk become named tasks, and texts are tokenised for each task as it was trained."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, BertForPreTraining

from adapter_tune.foundation.errors import UsageError
from adapter_tune.multitask.open_runs import adapter_folders, open_runs, task_names
from adapter_tune.multitask.texts import TaskTexts
from adapter_tune.run_files.adapter_files import ADAPTER
from tests.helpers import TOKENIZER, bert_config, save_tokenizer, saved_task


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, make_configs: Any, glue: str) -> Path:
    """A folder with three runs; two have the same task."""
    folder = tmp_path_factory.mktemp("texts")
    torch.manual_seed(0)
    BertForPreTraining(bert_config()).save_pretrained(folder / "backbone")
    save_tokenizer(folder / "backbone")
    make = make_configs(str(folder / "backbone"), glue, folder)
    for seed, (name, task) in enumerate({"a": "rte", "b": "rte", "c": "sst2"}.items()):
        config = make(task, strategy={"name": "houlsby", "m": 2 + seed}).with_values({"data.max_length": 16 + seed})
        saved_task(folder / "runs" / name / ADAPTER, config, seed)
    return folder / "runs"


def test_a_folder_of_runs_gives_all_of_them_and_a_task_that_only_one_has_its_own_name(runs: Path) -> None:
    folders = adapter_folders([runs])
    assert [folder.parent.name for folder in folders] == ["a", "b", "c"]
    assert list(task_names(folders)) == ["a", "b", "sst2"]
    assert list(task_names(adapter_folders([runs / "b", runs / "c" / ADAPTER]))) == ["rte", "sst2"]
    assert list(open_runs(folders).tasks) == ["a", "b", "sst2"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a", "b", "a/adapter"], "given twice"),
        (["nothing"], "contains no finished run"),
        (["..", "a"], "contains no finished run"),
    ],
)
def test_paths_without_runs_and_runs_given_twice_are_refused(runs: Path, paths: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        adapter_folders([runs / path for path in paths])


def test_each_task_truncates_at_its_own_length_and_equal_tokenizers_are_loaded_once(runs: Path) -> None:
    model = open_runs(adapter_folders([runs]))
    texts = TaskTexts(model)
    long = " ".join(["a"] * 40)
    lengths = {}
    rows = []
    for name, task in model.tasks.items():
        columns = [[long, "a"]] * len(task.spec.text)
        encoded, are_cut = texts.encode(task, columns)
        assert are_cut == [True, False]
        lengths[name] = len(encoded[0]["input_ids"])
        rows += encoded
    assert lengths == {"a": 16, "b": 17, "sst2": 18}
    assert len(texts._tokenizers) == 1
    assert len({texts.key(task) for task in model.tasks.values()}) == 3
    batch = texts.pad(rows, model.tasks["a"])
    assert batch["input_ids"].shape == (6, 18)
    assert (batch["input_ids"][0, 16:] == TOKENIZER.pad_token_id).all()
    assert batch["attention_mask"].sum(1).tolist() == [len(row["input_ids"]) for row in rows]


def test_equal_tokenizers_have_one_key_whatever_was_tokenised_before_they_were_saved(
    runs: Path, tmp_path: Path
) -> None:
    for name in ("c", "d", "e"):
        shutil.copytree(runs / "c" / ADAPTER, tmp_path / name)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "d")
    for _ in range(2):  # what was saved after a call is in another file when it was loaded and saved again
        tokenizer("a", truncation=True, max_length=7, padding="max_length")
        tokenizer.save_pretrained(tmp_path / "d")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "d")
    assert (tmp_path / "c" / "tokenizer.json").read_bytes() != (tmp_path / "d" / "tokenizer.json").read_bytes()
    tokenizer.add_tokens(["a word of its own"])
    tokenizer.save_pretrained(tmp_path / "e")
    model = open_runs(adapter_folders([tmp_path / name for name in ("c", "d", "e")]))
    texts = TaskTexts(model)
    keys = {name: texts.key(task) for name, task in model.tasks.items()}
    assert keys["c"] == keys["d"]
    assert keys["c"] != keys["e"]
