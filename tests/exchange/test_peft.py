"""Folders of the peft package: saved by peft and imported here, exported here and loaded by peft."""

import json
import pickle
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

import adapter_tune
from adapter_tune import MultiTask
from adapter_tune.cli import main
from adapter_tune.exchange import peft_patterns
from adapter_tune.exchange.exporting import export_run
from adapter_tune.exchange.formats import Export
from adapter_tune.exchange.importing import TaskChoice, import_adapter
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.runs.predict import predict_split, predict_text
from adapter_tune.runs.reload import ablate_run, evaluate_run, predictor
from adapter_tune.strategies.lora import PROJECTIONS
from tests.helpers import BACKBONES, LORA_EVERYWHERE, TOKENIZER, config_of, save_tokenizer, saved_task

IDS = torch.arange(5, 5 + 4 * 7).view(4, 7)
MASK = (torch.arange(7) < torch.tensor([[7], [3], [5], [2]])).long()
TARGETS = {
    "bert": ["query", "value"],
    "roberta": ["key", "output.dense"],
    "xlm-roberta": "all-linear",
    "electra": r".*\.(query|value)",
    "distilbert": ["q_lin", "lin1"],
    "deberta-v2": ["query_proj", "value_proj"],
    "mpnet": ["q", "o"],
    "modernbert": ["Wqkv", "Wo"],
}
"""Target modules as users of peft write them."""
SLOW = r"(\w|\w\w|\.)+[!?]"
"""A regular expression that takes years on the name of a module."""


@pytest.fixture(scope="module", params=dict(BACKBONES).items(), ids=lambda b: b[0])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A family and the folder of a random backbone of it, with outputs that differ from row to row."""
    name, own = request.param
    folder = tmp_path_factory.mktemp("family")
    torch.manual_seed(1)
    config = config_of(name, {**own, "vocab_size": len(TOKENIZER), "initializer_range": 0.3})
    AutoModelForSequenceClassification.from_config(config).base_model.save_pretrained(folder)
    save_tokenizer(folder)
    return name, str(folder)


def classifier(backbone: str, num_labels: int) -> Any:
    torch.manual_seed(9)
    return AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=num_labels).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        out: torch.Tensor = model.eval()(input_ids=IDS, attention_mask=MASK).logits
    return out


def saved_by_peft(folder: Path, backbone: str, num_labels: int = 3, **options: Any) -> torch.Tensor:
    """A folder as ``save_pretrained`` writes it, with random trained tensors; returns the logits of its model."""
    config = peft.LoraConfig(**{"task_type": "SEQ_CLS", **options})
    model = peft.get_peft_model(classifier(backbone, num_labels), config)
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return logits(model)


def loaded_by_peft(folder: Path, backbone: str, num_labels: int) -> torch.Tensor:
    return logits(peft.PeftModel.from_pretrained(classifier(backbone, num_labels), str(folder)))


def changed(folder: Path, **changes: Any) -> Path:
    """The folder with other values in its configuration."""
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


def imported(folder: Path, backbone: str, output: Path, **choice: Any) -> Any:
    return import_adapter(folder, output, model=backbone, choice=TaskChoice(**choice))


# Import --------------------------------------------------------------------------------------------------------------


def test_what_peft_saved_is_imported_with_its_logits(family: tuple[str, str], tmp_path: Path) -> None:
    name, backbone = family
    saved = {"deberta-v2": ["pooler"], "modernbert": ["head"], "bert": ["pooler"]}.get(name)
    options: dict[str, Any] = {"target_modules": TARGETS[name], "lora_alpha": 12, "r": 3, "modules_to_save": saved}
    expected = saved_by_peft(tmp_path / "peft", backbone, **options)
    record = imported(tmp_path / "peft", backbone, tmp_path / "run")
    assert torch.equal(logits(adapter_tune.load(tmp_path / "run")[0]), expected)
    assert expected.std(0).max() > 1e-2
    assert record.config["strategy"]["r"] == 3
    assert record.config["data"]["custom"]["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert any("classification into one of 3 classes" in note for note in record.warnings)


@pytest.mark.parametrize(
    ("options", "strategy"),
    [
        ({}, {"r": 8, "alpha": 8.0, "projections": ["query", "value"], "layers": "all", "layer_norm": "none"}),
        ({"lora_alpha": 7, "r": 3, "use_rslora": True}, {"alpha": 7.0, "rank_stabilized": True}),
        ({"lora_dropout": 0.1, "layers_to_transform": [1]}, {"dropout": 0.1, "layers": [1]}),
        ({"target_modules": "all-linear", "exclude_modules": ["pooler.dense"]}, {"projections": [*PROJECTIONS]}),
        ({"target_modules": r".*layer\.0\..*(key|intermediate\.dense)"},
         {"projections": ["key", "feed_forward_input"], "layers": [0]}),
        ({"target_modules": ["dense"], "exclude_modules": ["pooler.dense", "attention.output.dense"]},
         {"projections": ["feed_forward_input", "feed_forward_output"]}),
        ({"target_modules": ["query", "key"], "exclude_modules": r".*\.(1\.\w+\.self\.\w+|\w+\.key)"},
         {"projections": ["query"], "layers": [0]}),
        ({"target_modules": ["query"], "layers_to_transform": [1], "layers_pattern": "layer"}, {"layers": [1]}),
        ({"modules_to_save": ["LayerNorm"]}, {"layer_norm": "all"}),
        ({"modules_to_save": ["classifier"], "task_type": None, "target_modules": ["query"]},
         {"projections": ["query"]}),
        ({"init_lora_weights": "gaussian"}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_the_options_of_peft_are_those_of_the_strategy(
    options: dict[str, Any], strategy: dict[str, Any], backbone: str, tmp_path: Path
) -> None:
    expected = saved_by_peft(tmp_path / "peft", backbone, **options)
    record = imported(tmp_path / "peft", backbone, tmp_path / "run")
    assert torch.equal(logits(adapter_tune.load(tmp_path / "run")[0]), expected)
    assert strategy.items() <= record.config["strategy"].items()
    assert record.model_dump()["config"]["model"]["pooler"] == "frozen"


def test_a_pickle_and_half_precision_are_read(backbone: str, tmp_path: Path) -> None:
    saved_by_peft(tmp_path / "peft", backbone)
    weights = tmp_path / "peft" / "adapter_model.safetensors"
    tensors = {name: tensor.half() for name, tensor in load_file(weights).items()}
    weights.unlink()
    torch.save(tensors, tmp_path / "peft" / "adapter_model.bin")
    expected = loaded_by_peft(tmp_path / "peft", backbone, 3)
    imported(tmp_path / "peft", backbone, tmp_path / "run")
    assert torch.allclose(logits(adapter_tune.load(tmp_path / "run")[0]), expected, rtol=0, atol=1e-5)


class Poison:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


def test_a_pickle_that_would_execute_code_executes_nothing(backbone: str, tmp_path: Path) -> None:
    saved_by_peft(tmp_path / "peft", backbone)
    (tmp_path / "peft" / "adapter_model.safetensors").unlink()
    poison = pickle.dumps({"base_model.model.classifier.weight": Poison(tmp_path / "executed")})
    (tmp_path / "peft" / "adapter_model.bin").write_bytes(poison)
    with pytest.raises(RunError, match="nothing was executed"):
        imported(tmp_path / "peft", backbone, tmp_path / "run")
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "run").exists()
    pickle.loads(poison)
    assert (tmp_path / "executed").exists()


# What is refused when importing --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(backbone: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of peft; to be copied, not written."""
    path = tmp_path_factory.mktemp("peft") / "peft"
    saved_by_peft(path, backbone)
    return path


def copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is IA3; only LoRA can be imported"),
        ({"task_type": "TOKEN_CLS"}, "task_type is TOKEN_CLS; only classifiers of texts"),
        ({"bias": "lora_only"}, 'bias is "lora_only", which has no counterpart here; only adapters with bias = none'),
        ({"use_dora": True}, "use_dora is true, which has no counterpart here; only adapters without use_dora"),
        ({"rank_pattern": {"query": 4}}, 'rank_pattern is {"query": 4}, which has no counterpart'),
        ({"alpha_pattern": {"query": 4}}, 'alpha_pattern is {"query": 4}'),
        ({"lora_bias": True}, "lora_bias is true"),
        ({"layer_replication": [[0, 2]]}, "layer_replication is [[0, 2]]"),
        ({"target_parameters": ["x"]}, 'target_parameters is ["x"]'),
        ({"trainable_token_indices": [1]}, "trainable_token_indices is [1]"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens is [1]"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is true"),
        ({"an_option_of_the_future": 3}, "an_option_of_the_future is 3, which has no counterpart"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the weights of the backbone"),
        ({"r": 0}, "r should be greater than or equal to 1, got 0"),
        ({"r": 4}, "query.lora_A.weight is (8, 32), not (4, 32) as its configuration says"),
        ({"lora_alpha": 0}, "lora_alpha should be greater than 0"),
        ({"lora_alpha": "8"}, "lora_alpha should be a valid number"),
        ({"target_modules": ["key"]}, "attention.self.key.lora_A.weight is missing"),
        ({"target_modules": ["query"]}, "attention.self.value.lora_A.weight has no counterpart"),
        ({"target_modules": ["nothing"]}, "does not fit the backbone ("),
        ({"target_modules": "(", "peft_version": "0"}, "target_modules is no regular expression (missing )"),
        ({"target_modules": ".*nothing"}, "does not fit the backbone ("),
        ({"target_modules": SLOW}, "target_modules is a regular expression that takes too long"),
        ({"exclude_modules": SLOW}, "exclude_modules is a regular expression that takes too long"),
        ({"layers_to_transform": [0], "layers_pattern": SLOW}, "layers_pattern includes '(\\\\w|"),
        ({"modules_to_save": [SLOW]}, "modules_to_save includes '(\\\\w|"),
        ({"target_modules": []}, "does not fit the backbone ("),
        ({"modules_to_save": ["pooler"]}, "bert.pooler.dense.weight is missing"),
    ],
    ids=str,
)
def test_options_without_a_counterpart_are_refused_by_name(
    changes: dict[str, Any],
    message: str,
    folder: Path,
    backbone: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peft_patterns, "_SECONDS", 0.1)
    with pytest.raises(RunError) as error:
        imported(changed(copied(folder, tmp_path / "peft"), **changes), backbone, tmp_path / "run")
    assert message in str(error.value)
    assert str(tmp_path / "peft") in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_dora": True}, "use_dora is true"),
        ({"bias": "all"}, "bias is \"all\""),
        ({"target_modules": "all-linear"}, "target_modules includes bert.pooler.dense, which has no counterpart"),
        ({"target_modules": ["query", "word_embeddings"]}, "target_modules includes bert.embeddings.word_embeddings"),
        ({"target_modules": ["layer.0.attention.self.query", "layer.1.attention.self.value"]},
         "target_modules includes attention.self.query in only one of layers 0 and 1"),
        ({"modules_to_save": ["intermediate.dense"]},
         "modules_to_save includes bert.encoder.layer.0.intermediate.dense, which has no counterpart"),
        ({"modules_to_save": ["output.LayerNorm"]},
         "modules_to_save includes bert.encoder.layer.0.attention.output.LayerNorm, which has no counterpart"),
        ({"task_type": None, "target_modules": ["query"]}, "contains no classification head (base_model.model.classif"),
        ({"task_type": None, "target_modules": ["query", "classifier"]}, "contains no classification head"),
    ],
    ids=str,
)  # fmt: skip
def test_adapters_that_the_strategy_cannot_compute_are_refused_by_name(
    options: dict[str, Any], message: str, backbone: str, tmp_path: Path
) -> None:
    saved_by_peft(tmp_path / "peft", backbone, **options)
    with pytest.raises(RunError) as error:
        imported(tmp_path / "peft", backbone, tmp_path / "run")
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_head_that_peft_did_not_save_whole_is_refused(tmp_path: Path) -> None:
    config = config_of("deberta-v2", {"vocab_size": len(TOKENIZER)})
    AutoModelForSequenceClassification.from_config(config).base_model.save_pretrained(tmp_path / "backbone")
    save_tokenizer(tmp_path / "backbone")
    saved_by_peft(tmp_path / "peft", str(tmp_path / "backbone"))  # peft saves classifier alone
    with pytest.raises(
        RunError, match=r"pooler.dense.bias of the head is missing, .* with pooler.dense in modules_to_s"
    ):
        imported(tmp_path / "peft", str(tmp_path / "backbone"), tmp_path / "run")


def test_a_head_that_reads_a_pooler_without_weights_is_refused(tmp_path: Path) -> None:
    config = config_of("bert", {"vocab_size": len(TOKENIZER)})
    torch.manual_seed(0)
    from transformers import BertForMaskedLM

    BertForMaskedLM(config).save_pretrained(tmp_path / "backbone")
    save_tokenizer(tmp_path / "backbone")
    saved_by_peft(tmp_path / "peft", str(tmp_path / "backbone"))
    with pytest.raises(RunError, match=r"its head reads the pooler, and .* has none"):
        imported(tmp_path / "peft", str(tmp_path / "backbone"), tmp_path / "run")


def test_a_folder_may_not_name_a_path_as_its_backbone(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"names its backbone .*, a path; give the backbone with --model"):
        import_adapter(folder, tmp_path / "run", choice=TaskChoice())


def test_a_revision_that_is_not_read_is_named(folder: Path, backbone: str, tmp_path: Path) -> None:
    record = imported(changed(copied(folder, tmp_path / "peft"), revision="v2"), backbone, tmp_path / "run")
    assert "the folder names revision v2 of its backbone, but revisions are not read" in record.warnings


def test_a_truncated_file_is_named(folder: Path, backbone: str, tmp_path: Path) -> None:
    file = copied(folder, tmp_path / "peft") / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(RunError, match=r"adapter_model.safetensors: cannot be read"):
        imported(tmp_path / "peft", backbone, tmp_path / "run")


def test_a_run_of_ours_is_no_folder_of_peft(make_config: Any, backbone: str, tmp_path: Path) -> None:
    saved_task(tmp_path / "ours", make_config("rte", strategy="lora"), seed=0)
    with pytest.raises(UsageError, match="contains no adapter of a known format"):
        imported(tmp_path / "ours", backbone, tmp_path / "run")


# Export --------------------------------------------------------------------------------------------------------------


def test_peft_loads_what_is_exported_with_its_logits(family: tuple[str, str], make_config: Any, tmp_path: Path) -> None:
    name, backbone = family
    for number, strategy in enumerate(({"name": "lora", "r": 2, "alpha": 2.5}, LORA_EVERYWHERE)):
        task = ("mnli", "stsb")[number]
        pooler = {"bert": ("train", "frozen"), "modernbert": ("train", "frozen")}.get(name, ("auto", "auto"))[number]
        run, out, back = (tmp_path / f"{kind}{number}" for kind in ("run", "out", "back"))
        saved_task(run, make_config(task, model={"id": backbone, "pooler": pooler}, strategy=strategy), seed=number)
        notes = export_run(Export(run), out, format_name="peft").notes
        assert any("peft has no place for the names of the classes" in note for note in notes)
        expected = logits(adapter_tune.load(run)[0])
        assert torch.equal(loaded_by_peft(out, backbone, 3 if number == 0 else 1), expected)
        imported(out, backbone, back)
        one, other = (load_file(path / "adapter_model.safetensors") for path in (run, back / "adapter"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
        configs = [json.loads((path / "adapter_config.json").read_text()) for path in (run, back / "adapter")]
        for key in ("task", "labels", "fingerprint", "max_length", "strategy"):
            assert configs[0][key] == configs[1][key] or (key, name) == ("strategy", "modernbert")


@pytest.mark.parametrize(
    "strategy", [{"layers": [1]}, {"rank_stabilized": True, "alpha": 3.0}, {"dropout": 0.2}], ids=str
)
def test_options_are_exported(strategy: dict[str, Any], backbone: str, make_config: Any, tmp_path: Path) -> None:
    saved_task(tmp_path / "run", make_config("rte", strategy={"name": "lora", **strategy}), seed=1)
    export_run(Export(tmp_path / "run"), tmp_path / "out", format_name="peft")
    assert torch.equal(loaded_by_peft(tmp_path / "out", backbone, 2), logits(adapter_tune.load(tmp_path / "run")[0]))
    record = imported(tmp_path / "out", backbone, tmp_path / "back")
    assert strategy.items() <= record.config["strategy"].items()


def test_a_pooler_that_no_checkpoint_had_is_exported(make_config: Any, tmp_path: Path) -> None:
    from transformers import BertForMaskedLM

    torch.manual_seed(0)
    BertForMaskedLM(config_of("bert", {"vocab_size": len(TOKENIZER)})).save_pretrained(tmp_path / "backbone")
    save_tokenizer(tmp_path / "backbone")
    model = {"id": str(tmp_path / "backbone"), "pooler": "frozen"}
    saved_task(tmp_path / "run", make_config("rte", model=model, strategy="lora"), seed=1)
    export_run(Export(tmp_path / "run"), tmp_path / "out", format_name="peft")
    expected = logits(adapter_tune.load(tmp_path / "run")[0])
    assert torch.equal(loaded_by_peft(tmp_path / "out", model["id"], 2), expected)


def test_other_strategies_and_other_backbones_are_refused(
    backbone: str, bare_backbone: str, make_config: Any, tmp_path: Path
) -> None:
    saved_task(tmp_path / "houlsby", make_config("rte"), seed=0)
    with pytest.raises(UsageError, match="strategy houlsby has no counterpart in peft's LoRA"):
        export_run(Export(tmp_path / "houlsby"), tmp_path / "out", format_name="peft")
    assert not (tmp_path / "out").exists()
    saved_task(tmp_path / "lora", make_config("rte", strategy="lora"), seed=0)
    export_run(Export(tmp_path / "lora"), tmp_path / "out", format_name="peft")
    with pytest.raises(RunError, match=r"was trained on a backbone with fingerprint \w{16}, but"):
        imported(tmp_path / "out", bare_backbone, tmp_path / "back")


def test_what_we_add_must_fit_the_head(make_config: Any, backbone: str, tmp_path: Path) -> None:
    saved_task(tmp_path / "run", make_config("rte", strategy="lora"), seed=0)
    export_run(Export(tmp_path / "run"), tmp_path / "out", format_name="peft")
    file = tmp_path / "out" / "adapter_tune.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "labels": ["a", "b", "c"]}))
    with pytest.raises(RunError, match="classification with 3 outputs, but the head has 2"):
        imported(tmp_path / "out", backbone, tmp_path / "back")


# An imported run -----------------------------------------------------------------------------------------------------


def test_an_imported_run_is_scored_predicts_and_joins_others(
    backbone: str, glue: str, make_config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved_by_peft(tmp_path / "peft", backbone, num_labels=2)
    words = ["import", str(tmp_path / "peft"), "--model", backbone, "--task", "rte", "--max-length", "32"]
    main([*words, "--output", str(tmp_path / "run")])
    assert "lora" in capsys.readouterr().out
    moved = {"data.source": glue}
    result = evaluate_run(tmp_path / "run", moved=moved)
    assert any("its classes are not named" in n or "does not name its classes" in n for n in result.warnings)
    rows = predict_split(predictor(tmp_path / "run", moved=moved), "validation")
    correct = [row["prediction"] == ("entailment", "not_entailment")[row["label"]] for row in rows]
    assert sum(correct) / len(correct) == pytest.approx(result.headline.value)
    assert predict_text(predictor(tmp_path / "run", needs_data=False), "the dog", "a dog")
    with pytest.raises((RunError, UsageError), match="adapters"):
        ablate_run(tmp_path / "run", moved=moved)
    model = MultiTask(backbone, precision="float32", device="cpu")
    model.add("imported", tmp_path / "run")
    saved_task(tmp_path / "trained", make_config("mnli"), seed=0)
    model.add("trained", tmp_path / "trained")
    mixed = model(IDS, MASK, tasks=["imported", "trained"] * 2)
    single = logits(adapter_tune.load(tmp_path / "run")[0])
    assert torch.allclose(mixed[0], single[0], rtol=0, atol=1e-5)
