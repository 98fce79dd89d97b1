"""Errors of the loading libraries: the cause and the fix by the type of the error, not by words of the user's path."""

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.constants import HF_HUB_CACHE
from transformers import AutoModelForMaskedLM

from adapter_tune.cli import main
from adapter_tune.config.schema import ModelConfig
from adapter_tune.data.splits import load_rows
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation.errors import RunError
from adapter_tune.foundation.hub_errors import loading
from adapter_tune.modeling.backbone import load_tokenizer
from adapter_tune.tasks.glue import TASKS
from adapter_tune.training.scorer import Scorer
from tests.helpers import TOKENIZER


def sentencepiece_only(folder: Path) -> None:
    """A model as DeBERTa-v3 is published: its vocabulary is a sentencepiece model."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaV2Tokenizer"}')
    (folder / "spm.model").write_bytes(b"no sentencepiece model")


def one_shard_less(folder: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    max(folder.glob("model-*.safetensors")).unlink()


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a missing shard": (
        one_shard_less,
        r"a file is missing \(.*model-000\d\d-of-000\d\d\.safetensors\"?\)",
    ),  # safetensors 0.4 quotes it
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"it has no model\.safetensors"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), r"it has no config\.json"),
    "a damaged configuration": (
        lambda folder: (folder / "config.json").write_text("{"),
        r"config\.json' is not a valid",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "its tokenizer has no vocabulary"),
    "a damaged tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot be loaded"),
}


@pytest.mark.parametrize("name", ["model", "offline-sentencepiece-model"])
@pytest.mark.parametrize(("damage", "message"), FOLDERS.values(), ids=FOLDERS)
def test_of_a_folder_that_is_there_the_missing_file_is_named(
    small_world: list[str],
    backbone: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    message: str,
    name: str,
) -> None:
    folder = shutil.copytree(backbone, tmp_path / name)
    damage(folder)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--task", "rte", *small_world, "--model", str(folder)])
    error = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 1
    assert error.startswith(f"error: model {folder}: ")
    assert re.search(message, error), error
    assert "no such folder" not in error
    assert "the Hub" not in error


@pytest.mark.parametrize(
    ("has", "message"),
    [
        (
            (False, False),
            r"needs the packages sentencepiece and protobuf: pip install 'adapter-tune\[sentencepiece\]'$",
        ),
        ((True, False), r"needs the packages sentencepiece and protobuf: pip install 'adapter-tune\[sentencepiece\]'$"),
        ((True, True), r"its sentencepiece model \(the tokenizer\) cannot be read; the file is damaged"),
    ],
)
def test_what_a_sentencepiece_tokenizer_needs_is_named(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: tuple[bool, bool], message: str
) -> None:
    folder = shutil.copytree(backbone, tmp_path / "deberta")
    sentencepiece_only(folder)
    monkeypatch.setattr("transformers.utils.is_sentencepiece_available", lambda: has[0])
    monkeypatch.setattr("transformers.utils.is_protobuf_available", lambda: has[1])
    with pytest.raises(RunError, match=message):
        load_tokenizer(ModelConfig(id=str(folder)))


def test_the_extra_that_the_message_names_exists() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '\nsentencepiece = ["protobuf>=4", "sentencepiece>=0.2"]\n' in project
    assert (
        "pip install 'adapter-tune[sentencepiece]'" in (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
    )


ERRORS: list[tuple[Exception, str]] = [
    (
        ModuleNotFoundError("No module named 'xyz'"),
        r"a package is missing \(No module named 'xyz'\); install it with pip",
    ),
    (FileNotFoundError(2, "No such file or directory", "/m/part-2"), r"a file is missing \(.*'/m/part-2'\)"),
    (OSError("notfound is not a valid model identifier"), "no such model on the Hub and no such folder"),
    (ValueError("a {brace} in it"), r"cannot be loaded \(a \{brace\} in it\)"),
]


@pytest.mark.parametrize(("error", "message"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_the_reason_is_the_errors_type(error: Exception, message: str) -> None:
    with pytest.raises(RunError, match=message), loading("model", "offline/tiktoken-notfound", "name a folder"):
        raise error


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of data sets that cannot be written, by anyone: it would be inside a file."""
    (tmp_path / "home").write_text("")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "home" / "datasets"))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize("source", ["copy", DEMO], ids=str)
def test_a_cache_of_data_sets_that_cannot_be_written_is_named(
    make_config: Any, glue: str, no_cache: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    config = make_config("rte", data={"source": glue if source == "copy" else source})
    fix = r"cannot be written \(Not a directory\); set HF_DATASETS_CACHE to a folder that can be written$"
    with pytest.raises(RunError, match=rf"\(rte\): HF_HOME \({no_cache}\) {fix}"):
        load_rows(config, TOKENIZER, ["train"])
    monkeypatch.setenv("HF_DATASETS_CACHE", str(no_cache / "datasets"))
    with pytest.raises(RunError, match=rf"\(rte\): HF_DATASETS_CACHE \({no_cache}/datasets\) {fix}"):
        load_rows(config, TOKENIZER, ["train"])


def test_a_lock_that_cannot_be_written_in_a_filled_cache_is_the_caches_fault(no_cache: Path) -> None:
    with (
        pytest.raises(RunError, match=r"HF_HOME .* cannot be written \(Read-only file system\); set HF_DATASETS_CACHE"),
        loading("data set", "nyu-mll/glue (rte)", "name a copy"),
    ):
        try:
            raise OSError(errno.EROFS, "Read-only file system", str(no_cache / "datasets" / "x.lock"))
        except OSError as cause:
            raise DatasetNotFoundError("nyu-mll/glue doesn't exist") from cause


def test_a_cache_of_models_that_cannot_be_written_is_named() -> None:
    with (
        pytest.raises(RunError, match=r"cannot be written \(Permission denied\); set HF_HUB_CACHE to a folder"),
        loading("model", "google-bert/bert-base-uncased", "name a folder"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", f"{HF_HUB_CACHE}/models--x/blobs")


def test_a_file_that_cannot_be_read_elsewhere_is_no_fault_of_a_cache(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"cannot be loaded \(.*Permission denied"),
        loading("model", "x", "name another"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "config.json"))


def test_with_the_cache_of_data_sets_elsewhere_nothing_else_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("")
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "home" / "metrics"))
    Scorer(TASKS["rte"])
