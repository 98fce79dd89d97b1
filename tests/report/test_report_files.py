"""The report on result files of other versions and sources: its figures, sections, names and errors."""

import copy
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from adapter_tune.cli import main
from adapter_tune.foundation.errors import RunError
from adapter_tune.report.collect import collect
from adapter_tune.report.figures import initialisation, trade_off
from adapter_tune.report.page import write_report
from adapter_tune.report.report_tables import every_run, table_1
from adapter_tune.run_files.ablation_result import Ablation, RangeScores

PLAIN: dict[str, Any] = {
    "format": 1, "task": "rte", "strategy": "houlsby", "seed": 1, "config_hash": "0", "warnings": [], "versions": {},
    "model": {"id": "x/model", "revision": None, "fingerprint": "abcdef0123456789"},
    "config": {
        "task": "rte", "model": {"id": "x/model"}, "strategy": {"name": "houlsby", "m": 4, "init_std": 0.01},
        "data": {"source": "nyu-mll/glue", "max_train_samples": None},
        "training": {"epochs": 3.0, "max_steps": None, "learning_rate": 0.001, "seed": 1},
    },
    "scores": {"validation": {"accuracy": 0.5}},
    "headline": {"split": "validation", "metric": "accuracy", "value": 0.5},
    "parameters": {
        "backbone": 1000, "groups": {"adapters": 90, "layer_norm": 0, "head": 10, "pooler": 0, "other": 0},
        "trained": 100, "total": 1100, "trained_percent": 10.0, "trained_percent_encoder": 9.0, "per_adapter": 10,
        "adapter_count": 9, "formula": 90,
    },
    "speed": {
        "device": "cpu", "precision": "float32", "real_token_share": 1.0, "train_seconds": 1.0,
        "train_examples_per_second": 1.0, "train_tokens_per_second": 1.0, "eval_examples_per_second": 1.0,
        "peak_memory_bytes": 1000,
    },
    "storage": {"folder": "runs/x", "adapter_bytes": 1000},
    "history": [{"step": 1.0, "epoch": 1.0, "eval_validation_accuracy": 0.4},
                {"step": 2.0, "epoch": 2.0, "eval_validation_accuracy": 0.5}],
}  # fmt: skip
GONE = object()


def put(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """A run folder whose result is the plain one with other values at dotted paths."""
    values = copy.deepcopy(PLAIN)
    for path, value in (changes or {}).items():
        *way, last = path.split(".")
        part = values
        for key in way:
            part = part.setdefault(key, {})
        if value is GONE:
            del part[last]
        else:
            part[last] = value
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(values))
    return folder


def legend(figure: Any) -> set[str]:
    return set(figure.axes[0].get_legend_handles_labels()[1])


ELSEWHERE = {"name": "elsewhere", "init_std": 0.01, "reach": "far"}


@pytest.mark.parametrize("strategy", [{"name": "houlsby", "m": 4, "init_std": 0.001}, ELSEWHERE])
@pytest.mark.usefixtures("not_drawn")
def test_a_run_is_in_the_figures_whatever_its_initial_deviation(strategy: dict[str, Any], tmp_path: Path) -> None:
    put(tmp_path / "runs" / "a", {"config.strategy": strategy})
    collected = collect([tmp_path / "runs"])
    assert len(legend(trade_off(collected, "rte"))) == 1
    names = {file.name for file in write_report(collected, tmp_path / "report")}
    assert {"rte-parameters.png", "rte-curves.png"} <= names


def test_an_initialisation_study_is_left_out_of_the_trade_off(tmp_path: Path) -> None:
    for task, stds in (("rte", (0.01, 0.001, 0.1)), ("mrpc", (0.001, 0.1))):
        for std in stds:
            put(tmp_path / f"{task} {std}", {"task": task, "config.task": task, "config.strategy.init_std": std})
    collected = collect([tmp_path])
    assert legend(trade_off(collected, "rte")) == {"adapters"}
    assert legend(trade_off(collected, "mrpc")) == {"houlsby init_std=0.001", "houlsby init_std=0.1"}


def test_every_strategy_is_in_the_figure_of_initial_deviations(tmp_path: Path) -> None:
    for m in range(1, 10):
        for std in (0.01, 0.1, 1.0):
            strategy = {"name": "houlsby", "m": m, "init_std": std}
            put(tmp_path / f"{m} {std}", {"config.strategy": strategy})
    assert legend(initialisation(collect([tmp_path]))) == {f"rte, m={m}" for m in range(1, 10)}


@pytest.mark.usefixtures("not_drawn")
def test_a_figure_of_nothing_is_not_drawn(tmp_path: Path) -> None:
    put(tmp_path / "a", {"speed.train_seconds": None})
    collected = collect([tmp_path])
    assert trade_off(collected, "rte", "training, s") is None
    assert "rte-seconds.png" not in {file.name for file in write_report(collected, tmp_path / "report")}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("config", {}, "config.strategy is missing"),
        ("config.data", None, "config.data should be"),
        ("config.strategy", {}, "config.strategy.name is missing"),
        ("config.strategy", "houlsby", "config.strategy should be"),
        ("config.strategy.name", 3, "config.strategy.name should be a valid string, got 3"),
        ("config.training.learning_rate", "x", "config.training.learning_rate should be a valid number, got 'x'"),
        ("config.training.epochs", None, "config.training.epochs should be a valid number, got None"),
        ("config.training.seed", GONE, "config.training.seed is missing"),
        ("config.data.max_train_samples", "many", "config.data.max_train_samples should be a valid integer"),
        ("config.data.source", 3, "config.data.source should be a valid string, got 3"),
        ("headline.value", float("nan"), "headline.value should be a finite number, got nan"),
        ("headline.value", float("-inf"), "headline.value should be a finite number, got -inf"),
        ("history", [{"step": float("inf")}], "history.0.step should be a finite number, got inf"),
        ("task", "../../evil", "unknown task '../../evil'"),
    ],
)
def test_a_value_that_cannot_be_reported_is_named(
    path: str, value: object, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = put(tmp_path / "runs" / "a", {path: value}) / "result.json"
    with pytest.raises(SystemExit, match="1"):
        main(["report", str(tmp_path / "runs"), "--output", str(tmp_path / "report")])
    message = capsys.readouterr().err
    assert message.startswith(f"error: {file}: ")
    assert expected in message
    assert message.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_a_number_too_large_is_not_finite(tmp_path: Path) -> None:
    file = put(tmp_path / "a", {"headline.value": 0.123}) / "result.json"
    file.write_text(file.read_text().replace("0.123", "1e999"))
    with pytest.raises(RunError, match=r"headline\.value should be a finite number, got inf"):
        collect([tmp_path])


@pytest.mark.usefixtures("not_drawn")
def test_runs_of_other_versions_are_reported(tmp_path: Path) -> None:
    put(tmp_path / "older", {"config.data": {}, "config.strategy": {"name": "houlsby", "m": 4}})
    put(tmp_path / "newer", {"config.data.later": [1], "config.training.later": {}, "config.strategy.init_std": "auto",
                             "config.later": 1})  # fmt: skip
    put(tmp_path / "elsewhere", {"config.strategy": {"name": "elsewhere", "m": {"top": 3}, "init_std": None}})
    collected = collect([tmp_path])
    write_report(collected, tmp_path / "report")
    assert {run.label for run in collected.runs} == {
        "houlsby m=4", "houlsby m=4 init_std=auto", "elsewhere m={'top': 3}"
    }  # fmt: skip


def sections(folder: Path) -> dict[str, list[str]]:
    """By setting the labels of its runs."""
    return {name: [run.label for run in part.runs] for name, part in collect([folder]).settings().items()}


ID, PRINT = "model.id", "model.fingerprint"


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ({}, {}, {"model"}),
        ({}, {ID: "y/other"}, {"model", "other"}),
        ({}, {ID: "y/model"}, {"x/model", "y/model"}),
        ({}, {PRINT: "0123456789"}, {"x/model abcdef01", "x/model 01234567"}),
        ({}, {"config.data.source": "demo"}, {"model, glue data", "model, demo data"}),
        ({}, {"config.data.source": "mine/glue"}, {"model, nyu-mll/glue data", "model, mine/glue data"}),
        ({"config.data.source": "demo"}, {"config.data.source": "demo"}, {"model"}),
        ({}, {ID: "y/model", "config.data.max_eval_samples": 9}, {"x/model", "y/model, 9 validation rows"}),
    ],
)
@pytest.mark.usefixtures("not_drawn")
def test_what_cannot_be_compared_stands_in_sections_of_its_own(
    one: dict[str, Any], other: dict[str, Any], names: set[str], tmp_path: Path
) -> None:
    put(tmp_path / "one", one)
    put(tmp_path / "other", {"headline.value": 0.9, "config.training.seed": 2, "seed": 2, **other})
    assert set(sections(tmp_path)) == names
    assert sorted(len(group.runs) for group in collect([tmp_path]).groups()) == [1, 1] if len(names) > 1 else [2]
    with (write_report(collect([tmp_path]), tmp_path / "report")[0].parent / "runs.csv").open() as file:
        assert {row["setting"] for row in csv.DictReader(file)} == names


DATA = "config.data.custom."  # the keys of own data in a stored result
OWN = {"task": "custom", "config.task": "custom", f"{DATA}train_file": "a/train.csv", f"{DATA}digest": "d1",
       f"{DATA}label_column": "mark", f"{DATA}metric": "accuracy"}  # fmt: skip


@pytest.mark.parametrize(
    ("other", "tasks"),
    [
        ({}, ["custom"]),
        ({f"{DATA}train_file": "elsewhere/train.csv"}, ["custom"]),  # the same rows, moved
        ({f"{DATA}train_file": "b/dev.csv", f"{DATA}digest": "d2"}, ["custom dev.csv", "custom train.csv"]),
        ({f"{DATA}train_file": "b/train.csv", f"{DATA}digest": "d2"},
         ["custom a/train.csv", "custom b/train.csv"]),
        ({f"{DATA}label_column": "tone"}, ["custom a/train.csv, mark", "custom a/train.csv, tone"]),
        ({f"{DATA}train_file": None, "config.data.source": "x/reviews", f"{DATA}subset": "en"},
         ["custom reviews en", "custom train.csv"]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("not_drawn")
def test_own_data_have_a_column_each(other: dict[str, Any], tasks: list[str], tmp_path: Path) -> None:
    put(tmp_path / "glue")
    put(tmp_path / "one", OWN)
    put(tmp_path / "other", {**OWN, "headline.value": 0.9, **other})
    collected = collect([tmp_path])
    assert collected.tasks == ["rte", *tasks]
    assert list(collected.settings()) == ["model"]
    assert table_1(collected, tmp_path).header[3:-1] == ["rte", *tasks]
    pictures = [file for file in write_report(collected, tmp_path / "report") if file.name.endswith("-parameters.png")]
    assert len({file for file in pictures if file.parent == tmp_path / "report"}) == 1 + len(tasks)


def test_own_data_that_have_changed_are_other_data(tmp_path: Path) -> None:
    put(tmp_path / "before", OWN)
    put(tmp_path / "after", {**OWN, f"{DATA}digest": "d2"})
    one, other = collect([tmp_path]).tasks
    assert one != other
    assert {one[:-8], other[:-8]} == {"custom a/train.csv "}


def test_own_data_and_two_sources_of_glue(tmp_path: Path) -> None:
    put(tmp_path / "own", OWN)
    put(tmp_path / "glue")
    put(tmp_path / "demo", {"config.data.source": "demo"})
    assert set(sections(tmp_path)) == {"model", "model, demo data", "model, glue data"}


def ablation(folder: Path, run: str, split: str = "validation", sub_layer: str | None = None) -> None:
    spans = [RangeScores(first=0, last=0, scores={"accuracy": 0.5})]
    Ablation(
        run=run, task="rte", split=split, layers=1, sub_layer=sub_layer, metric="accuracy", metrics=["accuracy"],
        whole={"accuracy": 0.8}, majority=None, spans=spans, config={}, versions={},
    ).save(folder)  # fmt: skip


def report(folder: Path) -> set[str]:
    """The written files below the report's folder; none is written twice, none elsewhere."""
    before = {file for file in folder.rglob("*") if file.is_file()}
    files = write_report(collect([folder]), folder / "report")
    assert len({str(file.resolve()).casefold() for file in files}) == len(files)
    assert {file for file in folder.rglob("*") if file.is_file()} - before == set(files)
    return {file.relative_to(folder / "report").as_posix() for file in files}


@pytest.mark.parametrize(
    ("ids", "folders"),
    [
        (("x/my_model", "x/my model", "x/My-Model"), {"My-Model", "my-model-2", "my-model-3"}),
        (("x/my_model", "x/other"), {"my-model", "other"}),
        (("../..", "x/.."), {"-..", "x-.."}),
        (("...", "."), {"unnamed", "unnamed-2"}),
        (("x/" + "a" * 400, "x/b"), {"a" * 200, "b"}),
    ],
)
@pytest.mark.usefixtures("not_drawn")
def test_every_section_has_a_folder_of_its_own(ids: tuple[str, ...], folders: set[str], tmp_path: Path) -> None:
    for number, name in enumerate(ids):
        put(tmp_path / str(number), {"model.id": name})
    names = report(tmp_path)
    assert {name.partition("/")[0] for name in names if "/" in name} == folders
    assert len([name for name in names if name.endswith("/table-1.csv")]) == len(ids)


@pytest.mark.parametrize(
    ("made", "names"),
    [
        ([("a/run_1", "validation", "feed_forward")], {"run_1-feed_forward"}),
        ([("a/run", "validation", None), ("a/run", "validation", "attention")], {"run", "run-attention"}),
        ([("a/run", "validation", None), ("a/run", "train", None)], {"run-validation", "run-train"}),
        ([("a/run", "validation", None), ("b/run", "validation", None)], {"a-run", "b-run"}),
        ([("a/run", "validation", None)] * 2, {"a-run-validation", "a-run-validation-2"}),
        ([("a/run.1", "validation", None), ("a/run.2", "validation", None)], {"run.1", "run.2"}),
        ([("a/..", "../../x", None), ("a/..", "train", None)], {"..-..-..-x", "..-train"}),
    ],
)
@pytest.mark.usefixtures("not_drawn")
def test_every_ablation_has_a_picture_of_its_own(
    made: list[tuple[str, str, str | None]], names: set[str], tmp_path: Path
) -> None:
    put(tmp_path / "run")
    for number, values in enumerate(made):
        ablation(tmp_path / str(number), *values)
    assert {name for name in report(tmp_path) if "ablation" in name and name.endswith("png")} == {
        f"ablation-{name}.png" for name in names
    }


@pytest.mark.usefixtures("not_drawn")
def test_pictures_of_own_data_whose_names_are_alike(tmp_path: Path) -> None:
    for number, file in enumerate(("a/b.csv", "a-b.csv", "../a b.csv")):
        put(tmp_path / str(number), {**OWN, f"{DATA}train_file": file, f"{DATA}digest": file})
    curves = {name for name in report(tmp_path) if name.endswith("-curves.svg")}
    assert curves == {"custom-b.csv-curves.svg", "custom-a-b.csv-curves.svg", "custom-a-b.csv-2-curves.svg"}


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({}, "2"),  # stopped early, of 3
        ({"config.training.max_steps": 4, "history": [{"step": 3, "epoch": 0.75}, {"step": 4, "epoch": 1.0}]}, "1"),
        ({"history": [{"step": 3, "epoch": 1.5}]}, "1.5"),
        ({"history": []}, "3"),
        ({"history": [{"step": 3}], "config.training.early_stopping": 2}, "-"),
        ({"history": [], "config.training.max_steps": 4}, "-"),
    ],
)
def test_the_list_of_runs_says_how_long_was_trained(changes: dict[str, Any], epochs: str, tmp_path: Path) -> None:
    put(tmp_path / "a", changes)
    grid = every_run(collect([tmp_path]), tmp_path)
    assert dict(zip(grid.header, map(str, grid.rows[0]), strict=True))["epochs"] == epochs


def test_dollars_in_names_are_no_formulas(tmp_path: Path) -> None:
    put(tmp_path / "glue", {"config.strategy": {"name": "$\\no$", "m": "$\\no$"}, "headline.metric": "$\\no$"})
    for file in ("a$\\no$.csv", "b.csv"):
        put(tmp_path / file, {**OWN, f"{DATA}train_file": file, f"{DATA}digest": file})
    for std in (0.01, 0.1, 1.0):
        put(tmp_path / f"{std}", {"config.strategy.init_std": std, "config.strategy.m": "$\\no$"})
    ablation(tmp_path / "ablation", "run", split="$\\no$")
    assert {"initialisation.svg", "custom-b.csv-curves.svg"} <= report(tmp_path)
