"""A merged run is an ordinary folder of transformers with the run's logits; what has adapters is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import parse_config
from adapter_tune.exchange import merged
from adapter_tune.exchange.exporting import export_run
from adapter_tune.exchange.formats import Export
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.runs.predict import predict_text
from adapter_tune.runs.reload import predictor
from adapter_tune.strategies import REGISTRY, Injection
from tests.helpers import CONFIGS, save_family, saved_run

FOLDED = [name for name, kind in REGISTRY.items() if not issubclass(kind, Injection)]
CASES = [(name, "bert") for name in FOLDED]
CASES += [(name, family) for family in CONFIGS if family != "bert" for name in ("lora", "layer_norm")]


def logits_of(model: Any, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        out: torch.Tensor = model.eval()(**tokens).logits
    return out


@pytest.mark.parametrize(("strategy", "family"), CASES)
def test_transformers_loads_it_with_the_same_logits(
    strategy: str, family: str, make_config: Any, tmp_path: Path
) -> None:
    model = save_family(tmp_path / "backbone", family)
    saved_run(tmp_path / "run", make_config("mnli", strategy=strategy, model=model))
    exported = export_run(Export(tmp_path / "run"), tmp_path / "out", "merged")
    assert "largest difference of a logit from the run's" in exported.facts[0]
    loaded, tokenizer = adapter_tune.load(tmp_path / "run")
    other = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert type(other) is type(loaded)
    assert other.config.id2label == {0: "entailment", 1: "neutral", 2: "contradiction"}
    own = AutoTokenizer.from_pretrained(tmp_path / "out")
    texts = (["the man sees it .", "a dog"], ["the man sees a dog .", "a man"])
    tokens = tokenizer(*texts, padding=True, return_tensors="pt")
    assert own(*texts, padding=True)["input_ids"] == tokens["input_ids"].tolist()
    assert own.model_max_length == 32
    expected, computed = logits_of(loaded, tokens), logits_of(other, tokens)
    assert expected.abs().max() > 0.01
    if strategy == "lora":
        assert torch.allclose(expected, computed, rtol=0, atol=1e-5)
        names = json.dumps(list(other.state_dict()))
        assert "lora" not in names and "base_layer" not in names
    else:
        assert torch.equal(expected, computed)


@pytest.mark.parametrize("strategy", [name for name in REGISTRY if name not in FOLDED])
def test_adapters_are_refused_before_the_backbone_is_loaded(
    strategy: str, make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_run(tmp_path / "run", make_config("rte", strategy={"name": strategy, "m": 4}))
    monkeypatch.setattr(merged, "load_run", None)
    with pytest.raises(UsageError, match=rf"strategy {strategy}: its adapters cannot be folded.*--format onnx"):
        export_run(Export(tmp_path / "run"), tmp_path / "out", "merged")
    assert not (tmp_path / "out").exists()


def test_a_model_that_computes_something_else_is_not_left_behind(
    make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_run(tmp_path / "run", make_config("rte", strategy="lora"))
    merge = merged.merge_lora

    def wrong(model: Any) -> None:
        merge(model)
        model.classifier.bias.data += 0.01

    monkeypatch.setattr(merged, "merge_lora", wrong)
    with pytest.raises(RunError, match=r"computes other logits \(difference 1.0e-02, 0.0001 is allowed\)"):
        export_run(Export(tmp_path / "run"), tmp_path / "out", "merged")
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


@pytest.mark.parametrize("task", ["sst2", "stsb"])
def test_its_card_shows_how_a_pipeline_uses_it(
    task: str, make_config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter_tune.run(make_config(task, strategy="layer_norm", max_steps=1, precision="float32"))
    (run,) = (tmp_path / "runs").iterdir()
    main(["export", str(run), "--format", "merged", "--output", str(tmp_path / "out")])
    assert "exported to" in capsys.readouterr().out
    card = (tmp_path / "out" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    code = card.split("```python\n")[1].split("```")[0].replace("path/to/this/folder", str(tmp_path / "out"))
    exec(compile(code, "card", "exec"), {})
    assert "'score'" in capsys.readouterr().out
    texts = ["A text."] if task == "sst2" else ["A first text.", "A second text."]
    expected = predict_text(predictor(run, needs_data=False), *texts)
    row = dict(zip(("text", "text_pair"), texts, strict=False))
    shown = pipeline("text-classification", model=str(tmp_path / "out"))(row)
    score = expected["prediction"] if task == "stsb" else expected[f"score_{expected['prediction']}"]
    assert shown["score"] == pytest.approx(score, abs=1e-5)
    assert shown["label"] == ("score" if task == "stsb" else expected["prediction"])


def test_options_of_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--safetensors is only for --format adapterhub and peft; remove it"):
        export_run(Export(tmp_path, safetensors=True), tmp_path / "out", "merged")


def test_names_of_classes_mean_only_themselves_in_its_card(backbone: str, tmp_path: Path) -> None:
    names = {"text_column": "text", "label_column": "label", "labels": ["<b>*a*", "b"]}
    custom = {**names, "problem": "classification", "metric": "accuracy"}
    values: dict[str, Any] = {"task": "custom", "model": backbone, "strategy": {"name": "head"}}
    values["data"] = {"custom": custom, "max_length": 32}
    saved_run(tmp_path / "run", resolved(parse_config(values)))
    export_run(Export(tmp_path / "run"), tmp_path / "out", "merged")
    assert r"(labels: \<b\>\*a\*, b)" in (tmp_path / "out" / "README.md").read_text()
