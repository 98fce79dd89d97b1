"""The report: it reads only result files, needs no torch, and states the numbers of seeds and tasks."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.config.schema import parse_config
from adapter_tune.report.collect import collect
from adapter_tune.report.page import page_template, write_report
from adapter_tune.report.report_tables import table_1
from adapter_tune.report.table import Cell, Grid
from adapter_tune.run_files.ablation_result import Ablation, RangeScores
from adapter_tune.run_files.result import Result, read_result
from adapter_tune.strategies import parse_strategy

TASKS = ("cola", "mnli")
METHODS: dict[str, dict[str, Any]] = {
    "full": {"name": "full"},
    "small": {"name": "houlsby", "m": 8},
    "large": {"name": "houlsby", "m": 64},
    "top": {"name": "top_n", "n": 1},
    "norms": {"name": "layer_norm"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, backbone: str, glue: str) -> Result:
    """A real result, of which others are made."""
    folder = tmp_path_factory.mktemp("base")
    config = {"task": "mnli", "model": backbone, "strategy": {"name": "houlsby", "m": 4}, "output": str(folder),
              "data": {"source": glue, "max_length": 32}, "training": {"epochs": 2, "batch_size": 16}}  # fmt: skip
    return adapter_tune.run(parse_config(config))


def written(base: Result, folder: Path, task: str, strategy: dict[str, Any], seed: int, score: float) -> None:
    """A run folder with a made-up score in it."""
    metric = "matthews_correlation" if task == "cola" else "accuracy"
    split = "validation_matched" if task == "mnli" else "validation"
    splits = ["validation_matched", "validation_mismatched"] if task == "mnli" else ["validation"]
    trained = {"full": 1000, "houlsby": strategy.get("m", 1), "top_n": 300, "layer_norm": 2}[strategy["name"]]
    config = {**base.config, "task": task, "training": {**base.config["training"], "seed": seed}}
    changes = {
        "task": task,
        "strategy": strategy["name"],
        "seed": seed,
        "config": {**config, "strategy": parse_strategy(strategy).to_dict()},
        "scores": {name: {metric: score} for name in splits},
        "headline": base.headline.model_copy(update={"split": split, "metric": metric, "value": score}),
        "parameters": base.parameters.model_copy(update={"trained": trained, "trained_percent": trained / 10}),
        "history": [{"step": step, f"eval_{split}_{metric}": score / 2 * step} for step in (1, 2)],
    }
    name = "-".join(map(str, (task, *strategy.values(), seed)))
    (folder / name).mkdir(parents=True)
    base.model_copy(update=changes).save(folder / name)


@pytest.fixture
def study(base: Result, tmp_path: Path) -> Path:
    scores = {"full": 0.8, "small": 0.7, "large": 0.78, "top": 0.6, "norms": 0.65}
    for task in TASKS:
        for method, strategy in METHODS.items():
            for seed in (1, 2):
                value = scores[method] + seed / 100 - (task == "cola" and method == "large") * 0.2
                written(base, tmp_path / "runs", task, strategy, seed, value)
    for std in (1e-7, 1e-4, 1.0):
        written(base, tmp_path / "runs", "cola", {"name": "houlsby", "m": 64, "init_std": std}, 1, 0.5)
    return tmp_path / "runs"


def cells(grid: Grid, name: str) -> dict[str, str]:
    row = next(row for row in grid.rows if row[0].text == name)
    return dict(zip(grid.header, (cell.text for cell in row), strict=True))


def test_table_1(study: Path, tmp_path: Path) -> None:
    grid = table_1(collect([study]), tmp_path / "report")
    full, large, best = (cells(grid, name) for name in ("full", "houlsby m=64", "houlsby, best size for each task"))
    assert full["total parameters"] == "2.00x"  # one whole model a task
    assert large["total parameters"] == "1.13x"  # one for all, and 6.4 % for each of two
    assert large["trained per task"] == "6.40 %"
    assert full["mnli"] == "81.5 ± 0.5 (2)"
    assert full["mnli_mm"] == "81.5"
    assert full["mean"] == "81.5 (2 tasks)"
    assert (best["cola"], best["mnli"]) == ("71.5 ± 0.5 (2)", "79.5 ± 0.5 (2)")  # m=8, and m=64
    paper = cells(grid, "adapters 64 (paper)")
    assert (paper["cola"], paper["mnli_mm"], paper["mean"]) == ("56.9", "84.6", "")
    link = next(cell.link for row in grid.rows for cell in row if cell.link)
    assert (tmp_path / "report" / link / "result.json").resolve().is_file()


def test_seeds_are_one_group_and_settings_are_not(study: Path) -> None:
    groups = collect([study, study]).groups()  # a folder named twice counts once
    assert sorted(len(group.runs) for group in groups) == [1, 1, 1] + [2] * 10
    assert {group.first.label for group in groups} >= {"full", "houlsby m=8", "houlsby m=64 init_std=1e-07"}
    (pair,) = (group for group in groups if (group.first.label, group.first.task) == ("full", "mnli"))
    assert pair.sem == pytest.approx(0.5)


def test_a_run_from_before_an_option_was_there_is_of_the_same_group(base: Result, tmp_path: Path) -> None:
    training = {key: value for key, value in base.config["training"].items() if key != "shard_backbone"}
    before = base.model_copy(update={"config": {**base.config, "training": training}})
    written(before, tmp_path, "cola", {"name": "full"}, 1, 0.5)
    written(base, tmp_path, "cola", {"name": "full"}, 2, 0.7)
    gone = base.model_copy(update={"config": {**base.config, "training": {**training, "no_more": 1}}})
    written(gone, tmp_path, "cola", {"name": "full"}, 3, 0.9)
    assert sorted(len(group.runs) for group in collect([tmp_path]).groups()) == [1, 2]


@pytest.mark.usefixtures("not_drawn")
def test_every_run_is_a_row(study: Path, tmp_path: Path) -> None:
    page = write_report(collect([study]), tmp_path / "report")[0].read_text()
    with (tmp_path / "report" / "runs.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert len(rows) == 23
    row = rows["cola-houlsby-64-2"]
    assert [row[name] for name in ("task", "method", "seed", "score")] == ["cola", "houlsby m=64", "2", "60.00"]
    assert all(f">{name}</a>" in page for name in rows)


def test_means_over_other_tasks_say_so(base: Result, study: Path, tmp_path: Path) -> None:
    written(base, study, "mnli", {"name": "houlsby", "m": 2}, 1, 0.9)
    assert cells(table_1(collect([study]), tmp_path), "houlsby m=2")["mean"] == "90.0 (1 task)"


def test_everything_is_written(study: Path, tmp_path: Path) -> None:
    spans = [RangeScores(first=i, last=j, scores={"accuracy": 0.5}) for i in range(2) for j in range(i, 2)]
    ablation = Ablation(
        run="runs/x", task="cola", split="validation", layers=2, sub_layer=None, metric="accuracy",
        metrics=["accuracy"], whole={"accuracy": 0.8}, majority={"accuracy": 0.6}, spans=spans, config={}, versions={},
    )  # fmt: skip
    ablation.save(study / "x" / "ablation")
    files = write_report(collect([study]), tmp_path / "report")
    names = {file.name for file in files}
    assert all(file.stat().st_size for file in files)
    for name in ("over-tasks", "cola-parameters", "mnli-seconds", "mnli-memory", "mnli-curves", "initialisation",
                 "ablation-x"):  # fmt: skip
        assert {f"{name}.png", f"{name}.svg"} <= names
    for name in ("table-1", "best-sizes", "costs"):
        assert {f"{name}.md", f"{name}.tex", f"{name}.csv"} <= names
    page = files[0].read_text()
    assert page.count("data:image/png;base64,") == sum(name.endswith(".png") for name in names)
    assert 'src="http' not in page
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    with (tmp_path / "report" / "table-1.csv").open() as file:
        assert next(csv.reader(file))[:3] == ["", "total parameters", "trained per task"]


def test_names_are_text_and_never_markup(base: Result, tmp_path: Path) -> None:
    written(base, tmp_path / "runs", "mnli", {"name": "full"}, 1, 0.5)
    (folder,) = (tmp_path / "runs").iterdir()
    result = read_result(folder)
    result.model_copy(update={"warnings": ["<img src=x onerror=alert(1)>"]}).save(folder)
    page = write_report(collect([tmp_path / "runs"]), tmp_path / "report")[0].read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_formats_of_a_table() -> None:
    grid = Grid("t", "T", ["", "a_b"], [[Cell("50 %"), Cell("x|y", "runs/x")]], ["note"])
    assert "| 50 % | x/y |" in grid.to_markdown()
    assert r"50 \% & x|y \\" in grid.to_latex()
    assert r"a\_b" in grid.to_latex()
    assert grid.to_csv() == ",a_b\n50 %,x|y\n"
    assert '<a href="runs/x">x|y</a>' in page_template().render(about="", sections=[], runs=grid)


@pytest.mark.usefixtures("not_drawn")
def test_the_command(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(study), "--output", str(tmp_path / "r")])
    assert "runs: 23, ablations: 0" in capsys.readouterr().out
    assert json.loads((next(study.glob("*/result.json"))).read_text())["format"] == 1


@pytest.mark.parametrize(("folder", "message"), [("nowhere", "no such folder"), (".", "no finished run in")])
def test_nothing_to_report_is_said(
    folder: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(tmp_path / folder), "--output", str(tmp_path / "r")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_report_needs_no_torch() -> None:
    code = "import sys, adapter_tune.report.page; assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_adapters_larger_than_the_backbone_still_need_it(base: Result, tmp_path: Path) -> None:
    written(base, tmp_path, "cola", {"name": "houlsby", "m": 1060}, 1, 0.5)
    written(base, tmp_path, "cola", {"name": "full"}, 1, 0.5)
    rows = {str(row[0]): str(row[1]) for row in table_1(collect([tmp_path]), tmp_path).rows}
    assert (rows["houlsby m=1060"], rows["full"]) == ("2.06x", "1.00x")


def test_the_same_run_in_two_folders_counts_once(base: Result, tmp_path: Path) -> None:
    for sweep in ("a", "b"):
        written(base, tmp_path / sweep, "cola", {"name": "full"}, 1, 0.5)
    (group,) = collect([tmp_path]).groups()
    assert len(group.runs) == 1


@pytest.mark.usefixtures("not_drawn")
def test_other_numbers_of_rows_stand_in_sections_of_their_own(base: Result, tmp_path: Path) -> None:
    fewer = base.model_copy(update={"config": {**base.config, "data": {**base.config["data"], "max_train_samples": 8}}})
    written(base, tmp_path / "runs", "cola", {"name": "full"}, 1, 0.9)
    written(fewer, tmp_path / "runs", "cola", {"name": "houlsby", "m": 8}, 1, 0.5)
    page = write_report(collect([tmp_path]), tmp_path / "out")[0].read_text()
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert len(folders) == 2
    assert folders[1] == folders[0] + "-8-training-rows"
    for folder in folders:
        methods = {row.split(",")[0] for row in (tmp_path / "out" / folder / "table-1.csv").read_text().splitlines()}
        assert len({"full", "houlsby m=8"} & methods) == 1
    assert ", 8 training rows</h2>" in page
