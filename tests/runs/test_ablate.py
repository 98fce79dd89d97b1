"""Spans of adapters taken out: the same scores as the plain way, for less work."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, DebertaV2Config

import adapter_tune
from adapter_tune.adapters.model_parts import layers_of
from adapter_tune.adapters.surgery import bypass
from adapter_tune.cli import main
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.build import prepare
from adapter_tune.modeling.fast_paths import enable_fast_paths
from adapter_tune.run_files.ablation_result import Ablation, read_ablation
from adapter_tune.runs.ablate import NO_LAYERS, bounds_of_ranges, logits_by_range, majority
from adapter_tune.runs.reload import ablate_run, evaluate_run
from adapter_tune.strategies import parse_strategy
from adapter_tune.tasks.glue import get_task
from tests.helpers import CONFIGS, batch, bert_config

DEBERTA = DebertaV2Config(
    hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=48, vocab_size=60,
    relative_attention=True, pos_att_type=["c2p"], conv_kernel_size=3, conv_act="gelu",
)  # fmt: skip


def model_of(config: Any, strategy: Any = "houlsby", layers: int = 4) -> Any:
    torch.manual_seed(0)
    values = config.to_dict()
    values["n_layers" if "n_layers" in values else "num_hidden_layers"] = layers
    values.pop("layer_types", None)
    model = AutoModelForSequenceClassification.from_config(type(config)(**values))
    prepare(model, parse_strategy(strategy), train_pooler=True)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    enable_fast_paths(model)
    return model.eval()


def inputs() -> dict[str, torch.Tensor]:
    return {key: value for key, value in batch().items() if key != "labels"}


@pytest.mark.parametrize("family", [*CONFIGS, "deberta-v2"])
@pytest.mark.parametrize("kind", [None, "attention", "feed_forward"])
def test_every_cell_is_that_of_the_plain_way_to_the_bit(family: str, kind: Any) -> None:
    check_cells(model_of(CONFIGS.get(family, DEBERTA)), kind)


@pytest.mark.parametrize("name", ["pfeiffer", "adapter_plus"])
def test_so_it_is_with_adapters_that_read_the_layer_norm(name: str) -> None:
    check_cells(model_of(CONFIGS["bert"], {"name": name, "sub_layer": "both"}), None)


def check_cells(model: Any, kind: Any) -> None:
    with torch.inference_mode():
        found = dict(logits_by_range(model, inputs(), kind))
        assert list(found) == [NO_LAYERS, *bounds_of_ranges(4)]
        assert torch.equal(found.pop(NO_LAYERS), model(**inputs()).logits)
        for (first, last), logits in found.items():
            with bypass(model, f"{first}-{last}", sub_layer=kind):
                assert torch.equal(logits, model(**inputs()).logits), (first, last)
    assert len({tuple(logits.flatten().tolist()) for logits in found.values()}) == 10  # no two cells alike


def test_layers_without_adapters_are_left_alone() -> None:
    model = model_of(CONFIGS["bert"], {"name": "houlsby", "layers": "top-2"})
    with torch.inference_mode():
        found = dict(logits_by_range(model, inputs(), None))
    assert torch.equal(found[0, 1], found[NO_LAYERS])
    assert torch.equal(found[0, 3], found[2, 3])
    assert not torch.equal(found[2, 3], found[NO_LAYERS])


def test_twelve_layers_cost_two_fifths_of_the_plain_way() -> None:
    model = model_of(bert_config(), layers=12)
    calls = []
    for layer in layers_of(model):
        layer.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        cells = len(list(logits_by_range(model, inputs(), None))) - 1
    assert cells == 78
    assert len(calls) == 12 + 364
    assert len(calls) <= 0.45 * cells * 12


@pytest.mark.parametrize("task", ["cola", "mnli", "stsb"])
def test_a_run_is_ablated(make_config: Any, task: str) -> None:
    config = make_config(task, epochs=1)
    adapter_tune.run(config)
    found = ablate_run(config.folder)
    assert found.whole == evaluate_run(config.folder, split=found.split).scores[found.split]
    assert found.metric == ("spearmanr" if task == "stsb" else "accuracy")
    assert (found.majority is None) == (task == "stsb")
    matrix = found.matrix()
    assert [[v is None for v in row] for row in matrix] == [[False, False], [True, False]]
    assert found.task == task
    assert found.versions["torch"]


def test_the_majority_class_is_scored_like_a_model() -> None:
    scores = majority(get_task("cola"), [1, 1, 0, 1])
    assert scores == {"accuracy": 0.75, "matthews_correlation": 0.0}
    assert majority(get_task("stsb"), [1]) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": 0}, "layers should be greater than or equal to 1"),
        ({"layers": 2}, "spans should contain every range of 2 layers once"),
        ({"layers": 10**9}, "layers should be less than or equal to"),
        (
            {"spans": [{"first": 0, "last": 3, "scores": {"accuracy": 0.5}}]},
            "spans should contain every range of 1 layers",
        ),
        ({"spans": [{"first": 0, "last": 0, "scores": {}}]}, "spans has no accuracy"),
        ({"spans": [{"first": 0}]}, "spans.0.last is missing"),
        ({"whole": {"f1": 0.5}}, "whole has no accuracy"),
        ({"majority": {}}, "majority has no accuracy"),
        ({"metric": "f1"}, "whole has no f1"),
    ],
)
def test_a_damaged_ablation_is_one_clear_error(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    good = {
        "run": "r", "task": "cola", "split": "validation", "layers": 1, "sub_layer": None, "metric": "accuracy",
        "metrics": ["accuracy"], "whole": {"accuracy": 0.8}, "majority": {"accuracy": 0.6}, "config": {},
        "spans": [{"first": 0, "last": 0, "scores": {"accuracy": 0.5}}], "versions": {},
    }  # fmt: skip
    Ablation(**good).save(tmp_path)
    assert read_ablation(tmp_path).matrix() == [[0.5]]
    (tmp_path / "ablation.json").write_text(json.dumps(good | changes))
    with pytest.raises(RunError, match=f"ablation.json: {said}.*; the file is damaged, run adapter-tune ablate again"):
        read_ablation(tmp_path)


def test_a_run_without_adapters_is_refused(make_config: Any) -> None:
    for strategy, kind, message in (
        ("layer_norm", None, "has no adapters to remove"),
        ({"name": "attention_only", "m": 4}, "feed_forward", "has no feed-forward adapters"),
    ):
        config = make_config("rte", strategy, epochs=1)
        adapter_tune.run(config)
        with pytest.raises(UsageError, match=message):
            ablate_run(config.folder, sub_layer=kind)  # type: ignore[arg-type]


def test_the_command_writes_matrix_and_picture(
    small_world: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    main(["train", "--task", "cola", *small_world])
    capsys.readouterr()
    main(["ablate", "--runs", small_world[3], "--attention-only"])
    out = capsys.readouterr().out
    assert "majority class" in out
    (folder,) = Path(small_world[3]).glob("*/ablation-attention")
    assert sorted(file.name for file in folder.iterdir()) == [
        "ablation.csv", "ablation.json", "ablation.png", "ablation.svg",
    ]  # fmt: skip
    found = read_ablation(folder)
    rows = list(csv.reader((folder / "ablation.csv").open()))
    assert rows[0] == ["accuracy: first\\last", "0", "1"]
    assert float(rows[1][2]) == found.matrix()[0][1]
    assert rows[2][1] == ""
    assert (folder / "ablation.png").read_bytes().startswith(b"\x89PNG")
    main(["ablate", str(folder.parent), "--json", "--output", str(tmp_path / "there")])
    assert Ablation(**json.loads(capsys.readouterr().out)).sub_layer is None
    assert (tmp_path / "there" / "ablation.svg").is_file()
    with pytest.raises(SystemExit, match="2"):
        main(["ablate", str(folder.parent), "--attention-only", "--feed-forward-only"])
