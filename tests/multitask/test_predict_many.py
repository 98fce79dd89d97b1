"""Several runs predict one file together as each would alone, and what cannot be predicted together is refused."""

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import BertForPreTraining

from adapter_tune.adapters.model_parts import layers_of
from adapter_tune.cli import main
from adapter_tune.data.input_file import InputColumns
from adapter_tune.data.row_files import read_rows, write_rows
from adapter_tune.data.rows import Row
from adapter_tune.foundation.errors import UsageError
from adapter_tune.multitask import model as multitask_model
from adapter_tune.multitask import predict
from adapter_tune.multitask.model import LoadedTask
from adapter_tune.multitask.open_runs import adapter_folders
from adapter_tune.multitask.predict import MultiTaskPredictor, open_predictor, predict_file
from adapter_tune.run_files.result import read_result
from adapter_tune.runs import predict as single
from adapter_tune.runs.reload import predictor
from adapter_tune.runs.run import run
from adapter_tune.tasks.glue import TASKS
from tests.helpers import TOKENIZER, bert_config, rows_of, save_backbone, save_tokenizer

LABELS = [["a"], ["a", "b"], ["b"], []] * 6
RUNS: dict[str, dict[str, Any]] = {
    "rte": {"task": "rte", "strategy": {"name": "houlsby", "m": 4}},
    "mnli": {"task": "mnli", "strategy": {"name": "houlsby", "m": 3, "layers": "top-1"}},
    "qqp": {"task": "qqp", "strategy": {"name": "lora", "r": 2}},
    "mrpc": {"task": "mrpc", "strategy": "layer_norm", "data": {"max_length": 20}},
    "stsb": {"task": "stsb", "strategy": "head"},
    "topics": {"task": "custom", "strategy": {"name": "houlsby", "m": 5, "layers": "top-1"}},
    "sst2": {"task": "sst2", "strategy": {"name": "houlsby", "m": 4}},
    "cola": {"task": "cola", "strategy": "head"},
    "narrow": {"task": "rte", "strategy": {"name": "houlsby", "m": 6}, "precision": "bf16"},
    "full": {"task": "rte", "strategy": "full"},
}
PAIRS = ("rte", "mnli", "qqp", "mrpc", "stsb", "topics")
TOP = ("mnli", "stsb", "topics")


@pytest.fixture(scope="module")
def folders(glue: str, tmp_path_factory: pytest.TempPathFactory, make_configs: Any) -> dict[str, Path]:
    """A run of each kind in a folder of its name; their backbone's outputs differ much from row to row."""
    folder = tmp_path_factory.mktemp("many")
    torch.manual_seed(3)
    BertForPreTraining(bert_config(initializer_range=0.3)).save_pretrained(folder / "backbone")
    save_tokenizer(folder / "backbone")
    texts = rows_of("rte", len(LABELS))
    rows = [
        {"left": left, "right": right, "label": label}
        for left, right, label in zip(texts["sentence1"], texts["sentence2"], LABELS, strict=True)
    ]
    write_rows(folder / "topics.jsonl", iter(rows))
    columns = {"text_column": "left", "text_pair_column": "right"}
    custom = {
        "source": "demo",
        "custom": {"train_file": str(folder / "topics.jsonl"), "problem": "multi_label", **columns},
    }
    make = make_configs(str(folder / "backbone"), glue, folder / "trained")
    for name, options in RUNS.items():
        data = custom if options["task"] == "custom" else {}
        changes = {"max_steps": 2, "learning_rate": 0.05, "precision": "float32", "threads": 1}
        config = make(**{**changes, **options, "data": {**data, **options.get("data", {})}})
        run(config)
        config.folder.rename(folder / name)
    return {name: folder / name for name in RUNS}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of pairs of texts, with columns as rte has them and one that no task reads."""
    path = tmp_path_factory.mktemp("file") / "pairs.jsonl"
    texts = rows_of("rte", 40)
    pairs = zip(texts["sentence1"], texts["sentence2"], strict=True)
    write_rows(path, ({"id": number, "sentence1": a, "sentence2": b} for number, (a, b) in enumerate(pairs)))
    return path


@pytest.fixture(scope="module")
def alone(folders: dict[str, Path], file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """What each run of pairs predicts by itself."""
    folder = tmp_path_factory.mktemp("alone")
    rows = {}
    for name in PAIRS:
        loaded = predictor(folders[name])
        columns = InputColumns("sentence1", "sentence2")
        single.predict_file(loaded, str(file), folder / f"{name}.jsonl", columns)
        rows[name] = list(read_rows(str(folder / f"{name}.jsonl"), []))
    return rows


def opened(folders: dict[str, Path], *names: str, batch_size: int | None = None) -> MultiTaskPredictor:
    return open_predictor(adapter_folders([folders[name] for name in names]), batch_size=batch_size)


def no_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it an error to load a backbone's weights."""

    def load(*_: Any) -> None:
        raise AssertionError("the backbone was loaded before the check")

    monkeypatch.setattr(multitask_model, "load_backbone", load)


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[str, Any]:
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return capsys.readouterr().err.strip().splitlines()[-1], stopped.value.code


def assert_same(together: list[Row], alone: dict[str, list[Row]], names: tuple[str, ...]) -> None:
    """Every column of every run alone is there, under the run's name: answers are equal, numbers nearly."""
    for name in names:
        assert len(together) == len(alone[name])
        predicted = [key for key in alone[name][0] if key == "prediction" or key.startswith("score_")]
        for row, expected in zip(together, alone[name], strict=True):
            for key in predicted:
                value = row[f"{name}_{key}"]
                if isinstance(value, float):
                    assert value == pytest.approx(expected[key], rel=0, abs=1e-5), (name, key)
                else:
                    assert value == expected[key], (name, key)


@pytest.mark.parametrize("names", [PAIRS, TOP, ("mrpc", "rte"), ("qqp",)], ids=" ".join)
def test_predictions_are_those_of_each_run_alone(
    folders: dict[str, Path],
    file: Path,
    alone: dict[str, list[Row]],
    names: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predict, "WINDOW", 15)
    target = tmp_path / "out.jsonl"
    assert predict_file(opened(folders, *names), str(file), target, ["sentence1", "sentence2"]) == 40
    together = list(read_rows(str(target), []))
    assert_same(together, alone, names)
    source = list(read_rows(str(file), []))
    assert [{key: row[key] for key in source[0]} for row in together] == source
    columns = [key for name in names for key in single.names_of_columns(_spec(alone[name][0], name), f"{name}_")]
    assert list(together[0]) == [*source[0], *columns]
    scores = [row[column] for row in together for column in columns if isinstance(row[column], float)]
    assert len(set(scores)) > 30  # the rows differ, so those of another row or task would be noticed


def _spec(row: Row, name: str) -> Any:
    """What the columns of a run's predictions are called after."""
    return TASKS.get(name) or SimpleNamespace(labels=("a", "b"))


def test_a_batch_has_as_many_rows_of_all_tasks_together_as_one_of_a_single_run(
    folders: dict[str, Path], file: Path, tmp_path: Path
) -> None:
    model = opened(folders, *TOP, "mrpc", batch_size=10)
    rows: dict[int, list[int]] = {0: [], 1: []}
    for index, layer in enumerate(layers_of(model.model.model)):
        layer.register_forward_hook(
            lambda m, a, out, index=index: rows[index].append(len(out[0] if isinstance(out, tuple) else out))
        )
    predict_file(model, str(file), tmp_path / "out.csv", ["sentence1", "sentence2"])
    # Three tasks with the same maximum length: 3 rows a batch, which the top layer computes for each task.
    assert rows[0] == [3] * 13 + [1] + [10] * 4
    assert rows[1] == [9] * 13 + [3] + [10] * 4


def test_a_batch_has_at_least_one_row(folders: dict[str, Path], file: Path, tmp_path: Path) -> None:
    model = opened(folders, *TOP, batch_size=2)
    assert predict_file(model, str(file), tmp_path / "out.csv", ["sentence1", "sentence2"]) == 40


def test_truncated_rows_are_logged_for_each_maximum_length(
    folders: dict[str, Path], file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = opened(folders, "rte", "mrpc", "mnli")
    rows = list(read_rows(str(file), []))
    tokens = TOKENIZER([row["sentence1"] for row in rows], [row["sentence2"] for row in rows])["input_ids"]
    cut = {limit: sum(len(row) > limit for row in tokens) for limit in (20, 32)}
    assert 0 < cut[32] < cut[20] < 40
    with caplog.at_level("INFO", logger="adapter_tune"):
        predict_file(model, str(file), tmp_path / "out.csv", ["sentence1", "sentence2"])
    assert [record.getMessage() for record in caplog.records] == [
        f"{file} ({names}): {cut[limit]} of 40 rows are longer than data.max_length={limit} tokens and are truncated"
        for names, limit in (("rte, mnli", 32), ("mrpc", 20))
    ]


def test_the_command_line_predicts_with_several_runs(
    folders: dict[str, Path],
    file: Path,
    alone: dict[str, list[Row]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "out.jsonl"
    runs = [str(folders["rte"]), str(folders["mnli"] / "adapter"), str(folders["stsb"])]
    main(["predict", *runs, "--input", str(file), "--output", str(target)])
    output = capsys.readouterr()
    assert f"40 rows with the predictions of 3 tasks in {target}" in output.out
    assert f"{file}: all tasks read sentence1 and sentence2" in output.err
    assert_same(list(read_rows(str(target), [])), alone, ("rte", "mnli", "stsb"))
    main(["predict", *runs, "--text", "the dog sleeps .", "--text-pair", "the cat runs .", "--output", str(target)])
    shown = capsys.readouterr().out
    (row,) = read_rows(str(target), [])
    assert (row["text"], row["text_pair"]) == ("the dog sleeps .", "the cat runs .")
    assert f"rte_score_entailment      {row['rte_score_entailment']:.4f}" in shown
    assert f"{row['stsb_prediction']:.4f}" in shown


def test_a_folder_of_runs_and_adapter_folders_alone(
    folders: dict[str, Path],
    file: Path,
    alone: dict[str, list[Row]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("rte", "stsb"):
        shutil.copytree(folders[name] / "adapter", tmp_path / "adapters" / name)
    monkeypatch.setattr("adapter_tune.modeling.precision.has_bf16", lambda device: False)
    target = tmp_path / "out.jsonl"
    main(["predict", str(tmp_path / "adapters"), "--input", str(file), "--output", str(target)])
    assert_same(list(read_rows(str(target), [])), alone, ("rte", "stsb"))
    shutil.rmtree(tmp_path / "adapters" / "stsb")
    main(["predict", str(tmp_path / "adapters"), "--input", str(file), "--output", str(target)])
    assert_same(list(read_rows(str(target), [])), alone, ("rte",))
    assert f"40 rows with the predictions of 1 task in {target}" in capsys.readouterr().out


def test_texts_of_standard_input(
    folders: dict[str, Path], file: Path, alone: dict[str, list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(read_rows(str(file), []))
    lines = "".join(f"{row['sentence1']}\t{row['sentence2']}\n" for row in rows)
    target = tmp_path / "out.jsonl"
    for names, columns in ((("rte", "stsb"), TASKS["rte"].text), (("rte", "mnli"), ("text", "text_pair"))):
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        main(["predict", *(str(folders[name]) for name in names), "--input", "-", "--output", str(target)])
        together = list(read_rows(str(target), []))
        assert list(together[0])[:2] == list(columns)
        assert_same(together, alone, names)


COLUMNS: list[tuple[tuple[str, ...], list[str], list[str], str]] = [
    (("rte", "mnli"), ["premise", "hypothesis"], [], ""),
    (("rte", "mnli"), ["sentence1", "hypothesis"], ["--text-column", "sentence1"], ""),
    (("rte", "mnli"), ["a", "b"], ["--text-column", "a", "--text-pair-column", "b"], ""),
    (
        ("rte", "stsb", "mnli"),
        ["a", "b"],
        [],
        "the tasks read different columns (rte, stsb: sentence1 and sentence2; mnli: premise and hypothesis), and the "
        "file has none of them; say which with --text-column and --text-pair-column",
    ),
    (("rte", "mnli"), ["sentence1", "sentence2", "premise", "hypothesis"], [], "the file has several of them"),
    (("rte", "stsb"), ["sentence1", "sentence"], [], "unknown column 'sentence2'; did you mean 'sentence'?"),
    (("sst2", "cola"), ["a"], ["--text-pair-column", "a"], "--text-pair-column: task sst2 reads one text"),
]


@pytest.mark.parametrize(("names", "columns", "words", "message"), COLUMNS)
def test_the_columns_with_the_texts(
    folders: dict[str, Path],
    names: tuple[str, ...],
    columns: list[str],
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = tmp_path / "in.csv"
    target = tmp_path / "out.csv"
    write_rows(source, iter([dict.fromkeys(columns, "the dog sleeps .")]))
    command = ["predict", *(str(folders[name]) for name in names), "--input", str(source), "--output", str(target)]
    if message:
        no_backbone(monkeypatch)
        error, code = refused(capsys, *command, *words)
        assert message in error
        assert code == 2
        assert not target.exists()
    else:
        main([*command, *words])
        assert target.exists()


def test_what_several_runs_cannot_do_is_refused_before_the_backbone_is_loaded(
    folders: dict[str, Path],
    file: Path,
    tmp_path: Path,
    make_config: Any,
    bare_backbone: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = make_config("mnli", model=bare_backbone, max_steps=1)
    run(other)
    no_backbone(monkeypatch)
    target = tmp_path / "out.csv"
    rte = folders["rte"]
    into = ["--output", target]
    texts = ["--input", file, *into]
    cases: list[tuple[list[object], str, int]] = [
        ([folders["cola"], *texts], "different numbers of texts: one (cola), two (rte)", 2),
        ([folders["full"], *texts], f"{folders['full']}: strategy full trains", 2),
        ([other.folder, *texts], f"{other.folder}: trained on another backbone", 1),
        ([rte, *texts], "this run was given twice; remove one", 2),
        ([tmp_path, *texts], f"{tmp_path}: contains no finished run", 2),
        ([folders["stsb"], "--split", "test", *into], "--split: several runs have no split in common", 2),
        ([folders["stsb"], "--train-file", file, *texts], "--train-file is only for --split", 2),
        ([folders["stsb"], "--text", "a"], "the tasks read sentence1 and sentence2; give --text and --text-pair", 2),
        ([folders["stsb"], "--input", "none.csv", *into], "none.csv: no such file", 2),
    ]
    for words, message, expected_code in cases:
        error, code = refused(capsys, "predict", rte, *words)
        assert message in error
        assert code == expected_code, error
        assert not target.exists()
    error, code = refused(capsys, "predict", rte.parent, "--split", "test", *into)
    assert (error, code) == ("error: --split: several runs have no split in common; give --input FILE or --text", 2)


def test_a_column_that_a_prediction_would_take_is_refused(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [folders["rte"], folders["stsb"]]
    source = tmp_path / "in.csv"
    texts = {"sentence1": "a", "sentence2": "b"}
    for column in ("rte_score_entailment", "stsb_prediction"):
        write_rows(source, iter([{**texts, column: "c"}]))
        error, code = refused(capsys, "predict", *runs, "--input", source, "--output", tmp_path / "out.csv")
        assert f"the input has a column '{column}' already; rename it" in error
        assert code == 2
        assert not (tmp_path / "out.csv").exists()
    write_rows(source, iter([{**texts, "prediction": "c"}]))  # that of a run alone
    main(["predict", *map(str, runs), "--input", str(source), "--output", str(tmp_path / "out.csv")])


def test_two_tasks_with_a_column_of_the_same_name_are_refused() -> None:
    labels = {"a": ("prediction", "x"), "a_score": ("x", "y")}
    tasks = {name: LoadedTask(SimpleNamespace(labels=of), 8, Path(), "") for name, of in labels.items()}  # type: ignore[arg-type]
    model: Any = SimpleNamespace(tasks=tasks)
    with pytest.raises(UsageError, match="two tasks predict a column 'a_score_prediction'; rename the folder of one"):
        _ = MultiTaskPredictor(model, SimpleNamespace()).added  # type: ignore[arg-type]


def test_runs_in_different_precisions_are_computed_in_float32(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert read_result(folders["narrow"]).speed.precision == "bf16"
    with caplog.at_level("INFO", logger="adapter_tune"):
        assert opened(folders, "rte", "stsb").model.compute.precision == "float32"
        assert opened(folders, "narrow").model.compute.precision == "bf16"
        assert not caplog.records
        assert opened(folders, "mnli", "narrow", "stsb").model.compute.precision == "float32"
    expected = (
        "the runs were computed differently (cpu, float32: mnli, stsb; cpu, bf16: rte); now all are in float32 on "
        "device cpu"
    )
    assert [record.getMessage() for record in caplog.records] == [expected]


def test_threads_and_batch_size_are_those_of_the_runs(folders: dict[str, Path], tmp_path: Path) -> None:
    for name, values in {"rte": {"threads": 1, "eval_batch_size": 48}, "stsb": {"threads": 3}}.items():
        shutil.copytree(folders[name], tmp_path / name)
        path = tmp_path / name / "result.json"
        stored = json.loads(path.read_text())
        stored["config"]["training"].update(values)
        path.write_text(json.dumps(stored))
    training = open_predictor(adapter_folders([tmp_path / "rte", tmp_path / "stsb"])).training
    assert (training.threads, training.eval_batch_size) == (3, 32)
    training = open_predictor(adapter_folders([tmp_path / "rte"])).training
    assert (training.threads, training.eval_batch_size) == (1, 48)


def test_a_backbone_that_has_moved_is_loaded_from_its_path(
    folders: dict[str, Path], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folders["rte"].parent / "backbone", tmp_path / "moved")
    words = ["predict", folders["rte"], folders["stsb"], "--input", file, "--output", tmp_path / "out.csv"]
    main([*map(str, words), "--model", str(tmp_path / "moved")])
    other = save_backbone(tmp_path / "other", BertForPreTraining, seed=8)
    error, code = refused(capsys, *words, "--model", other)
    assert "the adapter was trained on another backbone" in error
    assert code == 1
