"""A labelled file of any origin can be scored, and the data of a run are found from any directory."""

import json
import logging
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import accuracy_score, f1_score, r2_score

import adapter_tune
from adapter_tune.cli import main
from adapter_tune.data.row_files import read_rows, write_rows
from adapter_tune.data.rows import Row
from adapter_tune.data.splits import raw_split
from adapter_tune.foundation.errors import UsageError
from adapter_tune.run_files.result import FILE, read_result
from adapter_tune.runs.reload import evaluate_run


def test_the_adapter_folder_of_a_run_gets_the_run_folder_as_a_hint(
    trained_runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["eval", f"{trained_runs['rte']}/adapter"])
    assert end.value.code == 2
    assert f"no result.json in it; give the run folder, which is {trained_runs['rte']}" in capsys.readouterr().err


LABELS: dict[str, list[Any]] = {
    "classification": ["ham", "spam"] * 10,
    "regression": [n / 7 for n in range(20)],
    "multi_label": [["a"], ["b"], ["a", "b"], []] * 5,
}


def rows_of(problem: str) -> list[Row]:
    return [{"text": f"the dog {n}", "label": label} for n, label in enumerate(LABELS[problem])]


@pytest.fixture
def trained(make_config: Any, tmp_path: Path) -> Any:
    def train(problem: str = "classification", model: Any = None, **files: str) -> Path:
        file = tmp_path / "rows.jsonl"
        write_rows(file, iter(rows_of(problem)))
        custom = {"train_file": str(file), "problem": problem, **files}
        config = make_config("custom", model=model, data={"source": "demo", "custom": custom}, max_steps=1)
        return Path(adapter_tune.run(config).storage.folder)

    return train


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[str, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return capsys.readouterr().err.strip().splitlines()[-1], stopped.value.code


@pytest.mark.parametrize("problem", LABELS)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_the_score_of_a_file_is_that_of_its_predictions(
    trained: Any, tmp_path: Path, problem: str, ending: str
) -> None:
    folder, source, target = trained(problem), tmp_path / f"new.{ending}", tmp_path / "out.jsonl"
    rows = [
        row for row in rows_of(problem) if row["label"] != []
    ]  # a list without labels is no value in Parquet's first
    write_rows(source, iter([{"mine": row["label"], "body": row["text"]} for row in rows]))
    columns = ["--text-column", "body"]
    main(["predict", str(folder), "--input", str(source), "--output", str(target), *columns])
    said = [row["prediction"] for row in read_rows(str(target), [])]
    result_file = tmp_path / "result.json"
    words = ["eval", str(folder), "--input", str(source), "--output-json", str(result_file), "--label-column", "mine"]
    main([*words, *columns])
    scores = json.loads(result_file.read_text())["scores"]
    assert list(scores) == [str(source)]
    truth = [row["label"] for row in rows]
    if problem == "classification":
        assert scores[str(source)]["accuracy"] == accuracy_score(truth, said)
    elif problem == "regression":
        assert scores[str(source)]["r2"] == pytest.approx(r2_score(truth, said), abs=1e-5)
    else:
        held = [[[name in row for name in "ab"] for row in labels] for labels in (truth, said)]
        assert scores[str(source)]["f1_micro"] == pytest.approx(f1_score(*held, average="micro", zero_division=0))


@pytest.mark.parametrize("task", ["mnli", "stsb", "mrpc"])
def test_a_copy_of_a_split_has_the_scores_of_the_split(
    trained_runs: dict[str, str], make_config: Any, tmp_path: Path, task: str
) -> None:
    rows = [dict(row) for row in raw_split(make_config(task), make_config(task).task_spec.validation[0])]
    names = make_config(task).task_spec.labels
    stored = read_result(Path(trained_runs[task]))
    for by_name in (False, True) if names else (False,):
        file = tmp_path / "rows.csv"
        write_rows(file, iter([{**row, "label": names[row["label"]] if by_name else row["label"]} for row in rows]))
        scores = evaluate_run(Path(trained_runs[task]), input_file=str(file)).scores[str(file)]
        assert scores == pytest.approx(stored.scores[stored.headline.split], abs=1e-6)


def test_a_class_without_a_row_in_the_file_is_named_before_it_is_scored(
    trained: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trained()
    write_rows(tmp_path / "ham.csv", iter([{"text": "the dog", "label": "ham"}] * 3))
    monkeypatch.setattr("adapter_tune.runs.reload.evaluate", lambda *_: pytest.fail("scored"))
    with caplog.at_level(logging.WARNING, "adapter_tune"), pytest.raises(pytest.fail.Exception, match="scored"):
        evaluate_run(folder, input_file=str(tmp_path / "ham.csv"))
    assert f"{tmp_path / 'ham.csv'}: no row of class 'spam', so its score is not measured" in caplog.text


def test_all_rows_of_a_file_are_scored_whatever_the_runs_limit(
    make_config: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="adapter_tune")
    config = make_config("sst2", data={"max_eval_samples": 8}, max_steps=1)
    adapter_tune.run(config)
    rows = [dict(row) for row in raw_split(config, "validation")]
    write_rows(tmp_path / "rows.jsonl", iter(rows))
    score = evaluate_run(config.folder, input_file=str(tmp_path / "rows.jsonl")).headline.value
    assert f"validation: 8 of {len(rows)} rows are used (data.max_eval_samples)" in caplog.text
    assert len(rows) == 24
    assert (score * 24) == pytest.approx(round(score * 24))
    assert evaluate_run(config.folder).headline.value != score


@pytest.mark.parametrize("problem", LABELS)
def test_a_labelled_test_file_is_scored(trained: Any, tmp_path: Path, problem: str) -> None:
    test = tmp_path / "test.jsonl"
    write_rows(test, iter(rows_of(problem)[:8]))
    folder = trained(problem, test_file=str(test))
    by_split = evaluate_run(folder, split="test").scores["test"]
    assert by_split == evaluate_run(folder, input_file=str(test)).scores[str(test)]


BAD_TESTS: list[tuple[str, str]] = [
    (
        "text\na\nb\n",
        "test.csv, line 2: no label in column 'label', so the test split cannot be scored; add the labels",
    ),
    ("text,label\na,ham\nb,\n", "test.csv, line 3: column 'label' is empty; fix or remove the row"),
    ("text,label\na,ham\nb,egg\n", "test.csv, line 3: unknown label 'egg'"),
]


def test_test_rows_without_a_usable_label_are_predicted_and_not_scored(
    trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = tmp_path / "test.csv"
    for content, message in BAD_TESTS:
        test.write_text(content)
        folder = trained(test_file=str(test))
        error, code = refused(capsys, "eval", folder, "--split", "test")
        assert message in error
        assert code == 1
        main(["predict", str(folder), "--split", "test", "--output", str(tmp_path / "out.csv")])
    error, _ = refused(capsys, "eval", trained(), "--split", "test")
    assert "no split test; it has train, validation; score a file of your own: eval --input FILE" in error


BAD_INPUTS: list[tuple[str, str, str, int]] = [
    ("--input none.csv", "", "none.csv: no such file", 2),
    ("--input new.csv", "text\na\n", "unknown column 'label'; Known: text; give the column of the labels", 2),
    ("--input new.csv", "txt,label\na,ham\n", "unknown column 'text'; did you mean 'txt'?", 2),
    ("--input new.csv", "text,label\na,egg\n", "new.csv, line 2: unknown label 'egg'", 1),
    ("--input new.csv", "text,label\na,\n", "new.csv, line 2: column 'label' is empty", 1),
    ("--input new.csv", "text,label\n", "new.csv: no rows", 1),
    ("--input new.csv --split test", "", "give one of --split and --input, not both", 2),
    ("--input -", "", "--input -: standard input has no labels; give a file", 2),
    ("--label-column label", "", "--label-column is only for --input FILE; remove it", 2),
    ("--text-column text", "", "--text-column is only for --input FILE; remove it", 2),
    ("--input new.csv --train-file x.csv", "", "--train-file is only for the run's own splits, not for --input", 2),
    (
        "--input new.csv --text-pair-column b",
        "text,label\na,ham\n",
        "task custom reads one text, text; remove the option",
        2,
    ),
]


def test_what_is_wrong_with_a_file_is_one_line(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained()
    monkeypatch.chdir(tmp_path)
    for words, content, message, code in BAD_INPUTS:
        Path("new.csv").write_text(content)
        error, stopped = refused(capsys, "eval", folder, *words.split())
        assert message in error, (words, error)
        assert stopped == code, (words, error)


def test_predicting_a_labelled_file_says_how_to_score_it(
    trained: Any, trained_runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases: list[tuple[Any, Row, Row, Row]] = [
        (trained(), {"text": "a"}, {"label": "ham"}, {"label": "egg"}),
        (trained_runs["cola"], {"sentence": "a"}, {"label": 1}, {"label": -1}),  # GLUE's test sets have -1
        (trained_runs["cola"], {"sentence": "a"}, {"label": "acceptable"}, {}),
    ]
    source = tmp_path / "new.jsonl"
    for folder, row, labelled, unlabelled in cases:
        for more, is_said in ((labelled, True), (unlabelled, False)):
            write_rows(source, iter([{**row, **more}]))
            main(["predict", str(folder), "--input", str(source), "--output", str(tmp_path / "out.jsonl")])
            hint = f"{source} has labels; to score it: adapter-tune eval {folder} --input {source}"
            assert (hint in capsys.readouterr().out) == is_said


def test_the_printed_command_can_be_pasted(trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, source = trained(), tmp_path / "my new.csv"
    source.write_text("my text,label\nthe dog,ham\n")
    main(
        [
            "predict",
            str(folder),
            "--input",
            str(source),
            "--output",
            str(tmp_path / "o.csv"),
            "--text-column",
            "my text",
        ]
    )
    printed = capsys.readouterr().out.partition("to score it: adapter-tune ")[2]
    main(shlex.split(printed))
    assert f"accuracy ({source})" in capsys.readouterr().out


# Where the data are -------------------------------------------------------------------------------------------------


@pytest.fixture
def run_elsewhere(
    trained: Any, make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone: str
) -> Path:
    """A run whose files were written as relative paths; the working directory is another one now."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    for name in ("train", "dev", "test"):
        write_rows(Path(f"{name}.jsonl"), iter(rows_of("classification")))
    custom = {"train_file": "train.jsonl", "validation_file": "dev.jsonl", "test_file": "test.jsonl"}
    config = make_config("custom", data={"source": "demo", "custom": custom}, max_steps=1)
    folder = Path(adapter_tune.run(config).storage.folder).resolve()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def test_a_run_is_scored_from_another_directory(run_elsewhere: Path, tmp_path: Path) -> None:
    stored = read_result(run_elsewhere)
    assert stored.config["data"]["custom"]["train_file"] == "train.jsonl"  # as written: the hash comes from it
    assert stored.data_paths["data.custom.train_file"] == str(tmp_path / "project" / "train.jsonl")
    for split in (None, "train", "test"):
        assert evaluate_run(run_elsewhere, split=split).headline.value >= 0
    assert evaluate_run(run_elsewhere).scores == stored.scores
    main(["predict", str(run_elsewhere), "--split", "test", "--output", "out.jsonl"])
    main(["ablate", str(run_elsewhere)])


def test_files_that_moved_are_named_by_flags(
    run_elsewhere: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(tmp_path / "project", tmp_path / "moved")
    error, code = refused(capsys, "eval", run_elsewhere)
    old = tmp_path / "project" / "train.jsonl"
    assert f"{old}: no such file or folder (data.custom.train_file); say where it is now with --train-file" in error
    assert code == 2
    flags = [word for name, file in (("train", "train"), ("validation", "dev"), ("test", "test"))
             for word in (f"--{name}-file", str(tmp_path / "moved" / f"{file}.jsonl"))]  # fmt: skip
    for words in (
        ["eval"],
        ["eval", "--split", "test"],
        ["ablate"],
        ["predict", "--split", "test", "--output", "o.csv"],
    ):
        main([words[0], str(run_elsewhere), *words[1:], *flags])
    other = tmp_path / "other.jsonl"
    write_rows(other, iter(rows_of("classification")[:-1]))
    error, code = refused(capsys, "eval", run_elsewhere, *flags[2:], "--train-file", other)
    assert "the data changed since training" in error
    main(["predict", str(run_elsewhere), "--text", "the dog"])  # needs no data
    main(["eval", str(run_elsewhere), "--input", str(other)])


def test_flags_for_files_that_the_run_does_not_have_are_refused(
    trained: Any, trained_runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [
        (trained(), "--test-file x.csv", "--test-file x.csv: the run was trained without data.custom.test_file"),
        (trained(), "--data-source x", "--data-source x: the run was trained without data.source; remove the option"),
        (
            trained_runs["rte"],
            "--train-file x.csv",
            "the run was trained without data.custom.train_file; remove the option",
        ),
        (trained_runs["rte"], "--data-source nowhere", "nowhere"),
    ]
    for folder, words, message in cases:
        error, _ = refused(capsys, "eval", folder, *words.split())
        assert message in error
    error, code = refused(capsys, "predict", trained(), "--text", "a", "--train-file", "x.csv")
    assert "--train-file is only for --split; remove it" in error
    assert code == 2


def test_files_in_the_run_folder_move_with_it(
    make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = rows_of("classification")
    write_rows(Path("first.jsonl"), iter(rows))
    data: dict[str, Any] = {"source": "demo", "custom": {"train_file": "first.jsonl"}}
    first = Path(adapter_tune.run(make_config("custom", data=data, max_steps=1)).storage.folder)
    (first / "rows").mkdir()
    write_rows(first / "rows" / "train.jsonl", iter(rows))
    stored = json.loads((first / FILE).read_text())
    stored["data_paths"] = {"data.custom.train_file": "rows/train.jsonl"}
    (first / FILE).write_text(json.dumps(stored))
    Path("first.jsonl").unlink()
    shutil.move(first, tmp_path / "moved")
    assert evaluate_run(tmp_path / "moved").scores == stored["scores"]
    stored["data_paths"] = {"data.custom.train_file": "../first.jsonl"}
    (tmp_path / "moved" / FILE).write_text(json.dumps(stored))
    with pytest.raises(adapter_tune.AdapterTuneError, match="leads out of its folder; give --train-file"):
        evaluate_run(tmp_path / "moved")


def test_a_run_of_an_older_version_reads_its_files_as_written(
    run_elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = json.loads((run_elsewhere / FILE).read_text())
    del stored["data_paths"]
    (run_elsewhere / FILE).write_text(json.dumps(stored))
    with pytest.raises(UsageError, match="say where it is now with --train-file"):
        evaluate_run(run_elsewhere)
    monkeypatch.chdir(tmp_path / "project")
    assert evaluate_run(run_elsewhere).scores == stored["scores"]


def test_a_local_copy_of_glue_is_found_again_and_may_move(
    make_config: Any, glue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(glue, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    config = make_config("sst2", data={"source": "copy"}, max_steps=1)
    scores = adapter_tune.run(config).scores
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert evaluate_run(config.folder).scores == scores
    shutil.move(tmp_path / "copy", tmp_path / "moved")
    error, _ = refused(capsys, "eval", config.folder)
    assert "copy: no such file or folder (data.source); say where it is now with --data-source" in error
    assert evaluate_run(config.folder, moved={"data.source": "../moved"}).scores == scores
