"""The benchmark: its arithmetic, and a run on a tiny backbone. Times are not asserted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from adapter_tune.bench import bench
from adapter_tune.bench.bench import Measurement, _with_ratios
from adapter_tune.bench.row_lengths import QUANTILES, sample_lengths
from adapter_tune.bench.worker import has_frozen_layers, operations_per_token, random_model
from adapter_tune.cli import main
from adapter_tune.config.compose import compose
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.build import prepare
from adapter_tune.report.command_output import show_bench
from adapter_tune.strategies import parse_strategy
from tests.helpers import bert_config


@pytest.mark.parametrize("batches", [1, 3])
def test_a_whole_run(batches: int, backbone: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--strategy", "full", "--strategy", "houlsby layers=top-1", "--m", "4", "--steps", "2", "--lengths", "8"]
    small = ["--batch-size", "4", "--set", "data.max_length=16", "--set", "training.eval_batch_size=4"]
    small += ["--set", f"training.gradient_accumulation={batches}"]
    main(["bench", "--model", backbone, *words, *small, "--json"])
    output = json.loads(capsys.readouterr().out)
    rows = output["strategies"]
    assert [row["name"] for row in rows] == ["full", "houlsby layers=top-1"]
    for row in rows:
        assert len(row["steps"]) == 2
        assert row["examples_per_second"] == pytest.approx(8 * batches / sum(row["steps"]))
        assert row["tokens_per_second"] == pytest.approx(64 * batches / sum(row["steps"]))
        assert row["forward_ms"] + row["backward_ms"] + row["optimiser_ms"] <= row["step_ms"] * 1.5
        assert row["eval_examples_per_second"] > 0
    assert rows[0]["step_ratio"] == 1
    assert rows[0]["checkpoint_bytes"] > 10 * rows[1]["checkpoint_bytes"]
    assert output["products_per_second"] > 0


def test_one_strategy_after_the_other_as_on_a_gpu(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "GPU_WARM_UP_STEPS", 3)
    monkeypatch.setattr(bench, "_GPU_REPORTS", 2)
    flags = {"--task task": "mnli", "--model model.id": backbone}
    sets = ["data.max_length=16", "training.batch_size=4", "training.eval_batch_size=4", "training.device=cpu"]
    cases = {name: compose(None, {**flags, "--strategy strategy.name": name}, sets) for name in ("full", "head")}
    reports_by_name, totals = bench._measure_one_by_one(cases, "8", 5)
    assert [[report["steps"] for report in reports] for reports in reports_by_name.values()] == [[3, 2]] * 2
    assert [[report["examples"] for report in reports] for reports in reports_by_name.values()] == [[12, 8]] * 2
    assert all(end["eval"] > 0 for end in totals.values())
    reports = [{key: value for key, value in report.items() if key != "forward"} for report in reports_by_name["head"]]
    row = bench._measurement("head", reports, totals["head"], 1e12)  # a GPU reports no phases
    assert row.forward_ms is None
    assert row.step_ms == pytest.approx(1e3 * np.median([report["seconds"] / report["steps"] for report in reports]))
    assert row.examples_per_second == pytest.approx(20 / sum(report["seconds"] for report in reports))


def test_kept_states_are_measured_beside_their_twin(
    backbone: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured_cases: dict[str, Any] = {}

    def measure(cases: dict[str, Any], lengths: str, steps: int) -> Any:
        measured_cases.update(cases)
        return [], {}

    monkeypatch.setattr(bench, "bench", measure)
    words = ["--strategy", "full", "--strategy", "top_n n=1", "--set", "data.max_length=16"]
    main(["bench", "--model", backbone, *words, "--kept", "--json"])
    options = {
        name: (c.training.backbone_dropout, c.training.cache_frozen_prefix) for name, c in measured_cases.items()
    }
    assert options == {
        "full": ("on", "auto"),
        "top_n n=1": ("on", "auto"),
        "top_n n=1, no dropout": ("off", "off"),
        "top_n n=1, frozen layers cached": ("off", "on"),
    }


def row(name: str, *steps: float, memory: int | None = 100) -> Measurement:
    return Measurement(name, 1, 2, 3, 6, 7, 8, 9, 0.5, memory, 11, steps=list(steps))


def test_ratios_compare_step_with_step() -> None:
    full, other = _with_ratios([row("full", 1, 10, 2), row("houlsby", 0.5, 6, 1, memory=40)])
    assert (full.step_ratio, full.memory_ratio) == (1, 1)
    assert (other.step_ratio, other.memory_ratio) == (0.5, 0.4)
    (alone,) = _with_ratios([row("houlsby", 1)])
    assert alone.step_ratio is None
    assert _with_ratios([row("full", 1, memory=None)])[0].memory_ratio is None


@pytest.mark.parametrize(
    ("strategy", "cached_layers", "expected"),
    [
        ("full", 0, [6, 6]),
        ("head", 0, [2, 2]),
        ("head", 2, [0, 0]),
        ({"name": "top_n", "n": 1}, 0, [2, 6]),
        ({"name": "top_n", "n": 1}, 1, [0, 6]),
    ],
    ids=str,
)
def test_operations_per_token(strategy: Any, cached_layers: int, expected: list[int]) -> None:
    model = AutoModelForSequenceClassification.from_config(bert_config())
    layer = sum(p.numel() for p in model.bert.encoder.layer[0].parameters())
    prepare(model, parse_strategy(strategy), train_pooler=False)
    assert operations_per_token(model, cached_layers) == sum(expected) * layer


@pytest.mark.parametrize(
    ("strategy", "frozen"),
    [("full", False), ("houlsby m=4", False), ("houlsby m=4 layers=0-1", False), ("top_n n=2", False),
     ("houlsby m=4 layers=top-1", True), ("top_n n=1", True), ("head", True)],
)  # fmt: skip
def test_states_are_kept_of_what_leaves_the_lowest_layers_frozen(strategy: str, frozen: bool, backbone: str) -> None:
    name, *options = strategy.split()
    sets = [*(f"strategy.{option}" for option in options), "data.max_length=16"]
    flags = {"--task task": "rte", "--model model.id": backbone, "--strategy strategy.name": name}
    assert has_frozen_layers(compose(None, flags, sets)) == frozen


def test_a_model_on_the_bench_is_of_the_type_that_a_run_loads(backbone: str, tmp_path: Path, make_config: Any) -> None:
    shutil.copytree(backbone, tmp_path / "half")
    path = tmp_path / "half" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dtype": "float16"}))
    prepared = random_model(make_config(model=str(tmp_path / "half")))
    assert {p.dtype for p in prepared.model.parameters()} == {torch.float32}


def test_operations_of_adapters() -> None:
    """4 a frozen parameter (no gradient of weights), 6 a trained one."""
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(bert_config())
    layers = sum(p.numel() for p in model.bert.encoder.layer.parameters())
    norms = 2 * 2 * 2 * 32
    prepare(model, parse_strategy({"name": "houlsby", "m": 4}), train_pooler=False)
    adapters = 4 * (2 * 4 * 32 + 32 + 4)
    assert operations_per_token(model) == 4 * (layers - norms) + 6 * (adapters + norms)


@pytest.mark.parametrize("task", QUANTILES)
def test_lengths_are_drawn_as_they_occur(task: str) -> None:
    lengths = sample_lengths(task, 20_000, 512)
    points = QUANTILES[task]
    assert list(points) == sorted(points)
    assert lengths.min() >= points[0]
    assert lengths.max() <= points[-1]
    assert abs(np.median(lengths) - points[10]) <= 1
    assert sample_lengths(task, 100, 16).max() <= 16
    assert (sample_lengths(task, 100, 512) == lengths[:100]).all()


def test_a_number_is_every_rows_length() -> None:
    assert set(sample_lengths("32", 10, 128)) == {32}


@pytest.mark.parametrize(
    ("what", "message"), [("mrcp", "did you mean 'mrpc'"), ("1", "max_length"), ("300", "max_length=128")]
)
def test_other_lengths_are_refused(what: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sample_lengths(what, 10, 128)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strategy", "houlsby top-6"], "a name and options"),
        (["--strategy", ""], "a name and options"),
        (["--strategy", "hulsby"], "did you mean 'houlsby'"),
        (["--strategy", "houlsby rank=3"], "strategy.rank"),
        (["--lengths", "mrcp", "--set", "data.max_length=16"], "did you mean 'mrpc'"),
        (["--strategy", "houlsby layers=top-9", "--set", "data.max_length=16"], "layers"),
        (["--set", "training.shard_backbone=true", "--set", "data.max_length=16"], "needs several processes"),
    ],
)
def test_what_the_user_wrote_wrong_is_exit_code_2(
    words: list[str], message: str, backbone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--model", backbone, *words])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error


def test_a_failing_process_is_one_clear_error() -> None:
    class Broken:
        is_usage = False

        def recv(self) -> dict[str, Any]:
            return {"error": "no memory", "is_usage": self.is_usage}

    class Gone:
        def recv(self) -> None:
            raise EOFError

    with pytest.raises(RunError, match="full: no memory"):
        bench._receive("full", Broken())  # type: ignore[arg-type]
    Broken.is_usage = True
    with pytest.raises(UsageError, match="full: no memory"):
        bench._receive("full", Broken())  # type: ignore[arg-type]
    with pytest.raises(RunError, match="its process ended"):
        bench._receive("full", Gone())  # type: ignore[arg-type]


def test_the_table_has_bars(capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import asdict

    about = {"model": "x", "lengths": "32", "batch_size": 4, "precision": "bf16", "device": "cpu", "threads": 2,
             "products_per_second": 2e11}  # fmt: skip
    rows = [row("full", 1), replace(row("head", 0.5), step_ms=3)]
    show_bench([asdict(each) for each in rows], about)
    lines = capsys.readouterr().out.splitlines()
    assert "matmul rate 400 GFLOP/s" in lines[0]
    assert [line.count("#") for line in lines[-2:]] == [50, 25]
