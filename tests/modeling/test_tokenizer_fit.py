"""A tokenizer fits its backbone whatever its files say: sides, padding token, columns, token ids."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import DistilBertConfig, DistilBertModel, RobertaConfig, RobertaModel

from adapter_tune.cli import main
from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import ModelConfig, parse_config
from adapter_tune.data.splits import encode_texts, load_rows
from adapter_tune.foundation.errors import RunError
from adapter_tune.modeling.backbone import load_tokenizer
from adapter_tune.modeling.build import build_model
from adapter_tune.runs.loading import load
from adapter_tune.runs.predict import Predictor
from adapter_tune.runs.reload import predictor
from adapter_tune.runs.run import run
from tests.helpers import SHAPE, TOKENIZER, rows_of, save_tokenizer

CONFIG, TOKENS = "tokenizer_config.json", "tokenizer.json"
GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast"}
FIXED = {"direction": "Left", "strategy": {"Fixed": 24}, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
SHORT = {"direction": "Left", "max_length": 6, "strategy": "LongestFirst", "stride": 0}
STRANGE: dict[str, dict[str, dict[str, Any]]] = {
    "pads on the left": {CONFIG: {"padding_side": "left"}},
    "cuts on the left": {CONFIG: {"truncation_side": "left"}},
    "its JSON pads and cuts": {TOKENS: {"padding": FIXED, "truncation": SHORT}},
    "gives no mask": {CONFIG: {"model_input_names": ["input_ids"]}},
    "all of them": {
        CONFIG: {"padding_side": "left", "truncation_side": "left", "model_input_names": ["input_ids"]},
        TOKENS: {"padding": {**FIXED, "strategy": "BatchLongest"}, "truncation": SHORT},
    },
}


def changed(folder: Path, backbone: str, files: dict[str, dict[str, Any]]) -> str:
    """A copy of a backbone with other values in its JSON files."""
    shutil.copytree(backbone, folder)
    for name, values in files.items():
        old = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**old, **values}))
    return str(folder)


def replaced(folder: Path, backbone: str, values: dict[str, Any]) -> str:
    """A copy of a backbone with another tokenizer_config.json."""
    shutil.copytree(backbone, folder)
    (folder / CONFIG).write_text(json.dumps(values))
    return str(folder)


@pytest.fixture(scope="module", params=STRANGE, ids=str)
def strange(request: Any, backbone: str, glue: str, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    model = changed(tmp_path_factory.mktemp("strange") / "model", backbone, STRANGE[request.param])
    data = {"source": glue, "max_length": 32}
    config = resolved(parse_config({"task": "sst2", "model": model, "data": data}))
    return Predictor(config, load_tokenizer(config.model), build_model(config))


WORDS = [word for text in rows_of("sst2", 20)["sentence"] for word in text.split()]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=40).map(" ".join), min_size=2, max_size=6))
def test_a_rows_score_never_depends_on_its_neighbours(strange: Predictor, texts: list[str]) -> None:
    encoded, _ = encode_texts([texts], strange.tokenizer, 32)
    together = strange.logits(encoded)
    alone = np.concatenate([strange.logits([row]) for row in encoded])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_rows_are_cut_at_the_end_whatever_the_file_says(
    make_config: Any, backbone: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = changed(tmp_path / "left", backbone, {CONFIG: {"truncation_side": "left", "padding_side": "left"}})
    with caplog.at_level("INFO", logger="adapter_tune"):
        tokenizer = load_tokenizer(ModelConfig(id=model))
    rows = load_rows(make_config("qnli", data={"max_length": 11}), tokenizer, ["train"])["train"]
    right = load_rows(make_config("qnli", data={"max_length": 11}), TOKENIZER, ["train"])["train"]
    assert rows["input_ids"][:] == right["input_ids"][:]
    assert f"model {model}: its tokenizer has padding_side: left; rows are padded on the right" in caplog.text
    assert f"model {model}: its tokenizer has truncation_side: left; rows are cut on the right" in caplog.text


def test_tokens_without_an_embedding_are_refused_before_data_is_read(
    small_world: list[str], backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(backbone, tmp_path / "added"))
    tokenizer = load_tokenizer(ModelConfig(id=backbone))
    tokenizer.add_tokens(["brandnew"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--task", "rte", *small_world, "--model", str(folder)])
    error = capsys.readouterr().err
    assert stopped.value.code == 1
    assert f"its tokenizer has token ids up to {len(TOKENIZER)} ('brandnew')" in error
    assert f"its embeddings have only {len(TOKENIZER)} rows" in error


def test_tokens_that_are_added_to_a_trained_run_are_refused(make_config: Any) -> None:
    config = make_config(max_steps=1)
    run(config)
    adapter = config.folder / "adapter"
    _, tokenizer = load(adapter)
    tokenizer.add_tokens(["brandnew"])
    tokenizer.save_pretrained(adapter)
    for read in (load, predictor):
        with pytest.raises(RunError, match="'brandnew'"):
            read(config.folder)


@pytest.mark.parametrize("pad_id", [0, None], ids=["by config.json", "by its usual name"])
def test_a_padding_token_that_is_not_named_is_found(
    make_config: Any, backbone: str, tmp_path: Path, pad_id: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(replaced(tmp_path / "generic", backbone, GENERIC))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": pad_id}))
    with caplog.at_level("INFO", logger="adapter_tune"):
        tokenizer = load_tokenizer(ModelConfig(id=str(folder)))
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("[PAD]", TOKENIZER.pad_token_id)
    assert "names no padding token; [PAD] is taken" in caplog.text
    texts = list(rows_of("rte", 3).values())[:2]
    assert tokenizer(*texts)["input_ids"] == TOKENIZER(*texts)["input_ids"]
    assert tokenizer(*texts)["token_type_ids"] == TOKENIZER(*texts)["token_type_ids"]
    run_config = make_config("rte", model=str(folder), max_steps=1)
    run(run_config)
    _, saved = load(run_config.folder)
    assert saved.pad_token == "[PAD]"
    assert saved(*texts) == tokenizer(*texts)


def test_an_ordinary_word_is_no_padding_token(backbone: str, tmp_path: Path) -> None:
    folder = Path(replaced(tmp_path / "words", backbone, GENERIC))
    tokens = json.loads((folder / TOKENS).read_text())
    tokens["added_tokens"] = [token for token in tokens["added_tokens"] if token["content"] != "[PAD]"]
    tokens["model"]["vocab"] = {
        "the" * 9 if word == "[PAD]" else word: number for word, number in tokens["model"]["vocab"].items()
    }
    (folder / TOKENS).write_text(json.dumps(tokens))
    with pytest.raises(
        RunError, match=r'names no padding token .* add "pad_token": "\.\.\." to tokenizer_config\.json$'
    ):
        load_tokenizer(ModelConfig(id=str(folder)))


ROBERTA = {"vocab_size": len(TOKENIZER), **SHAPE, "pad_token_id": 1}
SMALL = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 64}
WITHOUT_TYPES: dict[str, Any] = {
    "roberta": lambda: RobertaModel(RobertaConfig(**ROBERTA, type_vocab_size=1), add_pooling_layer=False),
    "distilbert": lambda: DistilBertModel(DistilBertConfig(vocab_size=len(TOKENIZER), **SMALL)),
}


@pytest.mark.parametrize("family", WITHOUT_TYPES)
def test_token_types_that_the_backbone_does_not_have_are_not_passed(
    make_config: Any, tmp_path: Path, family: str
) -> None:
    torch.manual_seed(0)
    WITHOUT_TYPES[family]().save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    config = make_config("rte", model=str(tmp_path), max_steps=1)
    run(config)
    _, tokenizer = load(config.folder)
    assert set(tokenizer("a", "b")) == {"input_ids", "attention_mask"}
    rows = [{"sentence1": "the dog", "sentence2": "a dog"}]
    (row,) = predictor(config.folder).rows(iter(rows), ["sentence1", "sentence2"], "the rows")
    assert row["prediction"] in ("entailment", "not_entailment")


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (None, {"input_ids", "token_type_ids", "attention_mask"}),
        (["input_ids", "attention_mask"], {"input_ids", "attention_mask"}),
    ],
    ids=["not said", "said"],
)
def test_token_types_are_given_unless_the_file_says_otherwise(
    backbone: str, tmp_path: Path, names: list[str] | None, columns: set[str]
) -> None:
    values = {**GENERIC, "pad_token": "[PAD]", **({"model_input_names": names} if names else {})}
    tokenizer = load_tokenizer(ModelConfig(id=replaced(tmp_path / "generic", backbone, values)))
    assert set(tokenizer("a", "b")) == columns


def test_a_tokenizer_that_adds_no_special_tokens_is_told(
    backbone: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(replaced(tmp_path / "bare", backbone, {**GENERIC, "pad_token": "[PAD]"}))
    tokens = json.loads((folder / TOKENS).read_text())
    (folder / TOKENS).write_text(json.dumps({**tokens, "post_processor": None}))
    with caplog.at_level("INFO", logger="adapter_tune"):
        load_tokenizer(ModelConfig(id=str(folder)))
    assert "its tokenizer adds no [CLS] and [SEP]" in caplog.text


def test_a_token_type_that_the_backbone_does_not_have_is_refused(backbone: str, tmp_path: Path) -> None:
    folder = Path(replaced(tmp_path / "types", backbone, {**GENERIC, "pad_token": "[PAD]"}))
    tokens = (folder / TOKENS).read_text()
    (folder / TOKENS).write_text(tokens.replace('"type_id": 1', '"type_id": 3'))
    with pytest.raises(RunError, match=r"its tokenizer gives token type 3, but the backbone has 2 types \(0 to 1\)"):
        load_tokenizer(ModelConfig(id=str(folder)))
