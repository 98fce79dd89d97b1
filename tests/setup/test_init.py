"""The command init: from data of any kind to a configuration that trains."""

import io
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from adapter_tune.cli import main
from adapter_tune.config.compose import compose
from adapter_tune.config.json_schema import run_schema
from adapter_tune.config.schema import RunConfig
from adapter_tune.config.yaml_files import read_yaml
from adapter_tune.data import splits
from adapter_tune.demo.location import DEMO
from adapter_tune.runs.resolve import resolve_run
from adapter_tune.setup.columns import Guess
from adapter_tune.setup.questions import MOST_QUESTIONS, Interview

REVIEWS = ["a warm and funny film", "two hours that drag on", "the plot is thin but sweet", "no one laughs at all"]
Init = Callable[..., RunConfig]


def write_rows(name: str, rows: list[dict[str, Any]]) -> None:
    path = Path(name)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    separator = {".csv": ",", ".tsv": "\t"}[path.suffix]
    lines = [separator.join(map(str, cells)) for cells in (list(rows[0]), *(row.values() for row in rows))]
    path.write_text("\n".join(lines) + "\n")


def reviews(count: int = 40, **columns: Callable[[int], Any]) -> list[dict[str, Any]]:
    rows = []
    for number in range(count):
        row = {"text": f"{REVIEWS[number % 4]} {number}", "label": ("bad", "good")[number % 2]}
        rows.append({**row, **{name: value(number) for name, value in columns.items()}})
    return rows


def stories() -> list[dict[str, Any]]:
    """Rows whose columns leave open what is read and what is learnt."""
    return [
        {"title": f"{REVIEWS[n % 4]} {n}", "story": row["text"], "mood": n % 3, "tone": row["label"]}
        for n, row in enumerate(reviews())
    ]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def init(capsys: pytest.CaptureFixture[str]) -> Init:
    """Run init without questions, check the file, and return what it gives."""

    def call(*words: str, file: str = "task.yaml") -> RunConfig:
        main(["init", "--model", DEMO, *words])
        text = Path(file).read_text()
        assert text.startswith("# yaml-language-server: $schema=/")
        values, _ = read_yaml(Path(file))
        Draft7Validator(run_schema()).validate(values)
        assert max(map(len, text.splitlines()[1:])) <= 120
        return compose(file)

    return call


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the input a terminal at which a person types these lines."""

    def typed(text: str) -> None:
        stream = io.StringIO(text)
        monkeypatch.setattr(stream, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", stream)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    return typed


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["init", *words])
    assert isinstance(stop.value.code, int)
    return stop.value.code, capsys.readouterr().err.splitlines()[-1]


def test_from_a_csv_to_predictions_in_four_commands(init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("my reviews.csv", reviews())
    config = init("my reviews.csv", "--output", "my task.yaml", file="my task.yaml")
    printed = capsys.readouterr()
    assert "this is no terminal, so nothing is asked (as with --yes)" in printed.err
    custom = config.data.custom
    assert (config.task, custom.train_file) == ("custom", "my reviews.csv")
    assert (custom.text_column, custom.label_column, custom.problem) == ("text", "label", "classification")
    assert custom.holdout == 0.2
    assert config.data.max_length == 24
    assert config.training.learning_rate_factor == 10
    assert "my reviews.csv: 32 train, 8 validation rows; 2 classes: bad 50.0 %, good 50.0 %" in printed.out
    assert "note: validation: 8 rows are few, so the score says little; add rows" in printed.out
    commands = printed.out.partition("is written. Next:\n")[2].splitlines()
    assert commands.pop() == "To predict other rows, give them with --input FILE in place of --split validation."
    assert commands == [
        "  adapter-tune train 'my task.yaml'",
        "  adapter-tune eval",
        "  adapter-tune predict --split validation --output predictions.csv",
    ]
    Path("my task.yaml").write_text(Path("my task.yaml").read_text().replace("epochs: 50", "epochs: 1"))
    config = compose("my task.yaml")
    for command in commands:
        _, *words = shlex.split(command)
        main(words)
    printed = capsys.readouterr()
    assert "to predict rows of a file: adapter-tune predict runs/custom-houlsby-m64-" in printed.err
    assert "prediction" in Path("predictions.csv").read_text().partition("\n")[0]
    assert {folder.name for folder in Path("runs").iterdir()} == {resolve_run(config).folder.name}


@pytest.mark.parametrize("where", [[], ["--yes"]])
def test_yes_says_nothing_about_the_terminal(
    where: list[str], init: Init, answers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows("rows.csv", reviews())
    answers("\n" * 9)
    init("rows.csv", *where)
    assert "no terminal" not in capsys.readouterr().err
    unread = sys.stdin.read()
    assert unread == "\n" * 9  # everything is clear: the model was given, and the columns have usual names


def test_each_reason_is_above_its_value(init: Init) -> None:
    write_rows("rows.csv", reviews())
    init("rows.csv")
    text = Path("task.yaml").read_text()
    assert "    # a usual name\n    label_column: label\n" in text
    assert "  # 95 % of the training rows have at most" in text
    for line, after in zip(text.splitlines(), text.splitlines()[1:], strict=False):
        if ": " in after and not after.lstrip().startswith(("#", "train_file")):
            assert line.lstrip().startswith("#"), after


def test_columns_by_their_values(init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    days = [f"2024-05-{day:02}" for day in range(1, 29)]
    rows = []
    for number, row in enumerate(reviews(60)):
        known = {"nr": number, "day": days[number % 28], "link": f"https://x.org/{number}"}
        rows.append({**known, "opinion": row["text"], "mood": row["label"], "stars": number % 5})
    write_rows("rows.csv", rows)
    custom = init("rows.csv").data.custom
    assert (custom.text_column, custom.label_column, custom.problem) == ("opinion", "mood", "classification")
    assert "mood: its values repeat; 'stars' may be labels, too" in " ".join(capsys.readouterr().out.split())


def test_a_regression(init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("rows.tsv", reviews(label=lambda number: number / 4))
    config = init("rows.tsv")
    assert config.data.custom.problem == "regression"
    assert "class_weights" not in Path("task.yaml").read_text()
    assert "numbers from 0 to 9.75" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (lambda number: number % 2, "classification"),
        (lambda number: number % 5, "classification"),
        (lambda number: number, "regression"),
        (lambda number: ["a;b", "a", "b", "b;c"][number % 4], "multi_label"),
    ],
)
def test_the_kind_of_problem(labels: Callable[[int], Any], problem: str, init: Init) -> None:
    write_rows("rows.csv", reviews(48, label=labels))
    assert init("rows.csv").data.custom.problem == problem


def test_several_labels_a_row_in_jsonl(init: Init) -> None:
    write_rows("rows.jsonl", reviews(label=lambda number: ["a", "b"][: number % 3]))
    assert init("rows.jsonl").data.custom.problem == "multi_label"


def test_columns_of_0_and_1_are_several_labels(init: Init) -> None:
    rows = [{"text": row["text"], "spam": n % 2, "urgent": (n // 2) % 2} for n, row in enumerate(reviews())]
    write_rows("rows.csv", rows)
    custom = init("rows.csv").data.custom
    assert (custom.label_column, custom.problem) == ("spam,urgent", "multi_label")


def test_a_pair_of_texts(init: Init) -> None:
    rows = [{"question": row["text"], "answer": row["text"][::-1], "label": row["label"]} for row in reviews()]
    write_rows("rows.csv", rows)
    custom = init("rows.csv").data.custom
    assert (custom.text_column, custom.text_pair_column) == ("question", "answer")


def test_a_pair_of_texts_with_other_names(init: Init) -> None:
    rows = [{"old": row["text"], "new": f"{row['text']} again", "same": row["label"]} for row in reviews()]
    write_rows("rows.csv", rows)
    custom = init("rows.csv").data.custom
    assert (custom.text_column, custom.text_pair_column, custom.label_column) == ("old", "new", "same")
    write_rows("rows.csv", [{**row, "old": row["old"][:9]} for row in rows])  # a title and its text
    custom = init("rows.csv", "--force").data.custom
    assert (custom.text_column, custom.text_pair_column) == ("new", None)


def test_classes_at_ten_to_one_are_weighted(init: Init) -> None:
    write_rows("rows.csv", reviews(210, label=lambda number: "rare" if number % 21 == 0 else "usual"))
    config = init("rows.csv")
    assert config.training.class_weights == "balanced"
    assert config.data.custom.metric == "f1_macro"


def test_what_is_wrong_with_the_data_is_named(init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    rows = reviews()
    write_rows("rows.csv", [*rows, rows[0], {**rows[1], "label": "bad"}])
    write_rows("dev.csv", [*rows[:2], {"text": "", "label": "bad"}])
    config = init("rows.csv", "--validation-file", "dev.csv")
    assert config.data.custom.validation_file == "dev.csv"
    assert "holdout" not in Path("task.yaml").read_text()
    out = " ".join(capsys.readouterr().out.split())
    assert "note: train: 2 rows repeat an earlier row, 1 of them with another label; keep one of each" in out
    assert "note: validation: 1 row has an empty text; fix or remove such rows" in out
    assert "note: validation: 2 rows are also in train, so the score is too high" in out


def test_a_folder_with_splits(init: Init) -> None:
    Path("set").mkdir()
    for split in ("train", "validation", "test"):
        write_rows(f"set/{split}.csv", reviews())
    config = init("set")
    assert config.data.source == "./set"
    assert "holdout" not in Path("task.yaml").read_text()
    assert resolve_run(config).data.custom.labels == ["bad", "good"]


def test_a_task_of_glue(
    init: Init, glue: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(splits, "located_data", lambda _: glue)  # fewer rows than the demo has
    config = init("mnli", "--demo")
    assert (config.task, config.data.source) == ("mnli", DEMO)
    out = capsys.readouterr().out
    assert "GLUE's mnli (inference): " in out
    assert "predict --split validation_matched" in out
    assert "data.custom" not in out
    main(["init", "mnli", "--demo", "--force"])
    assert f"model.id={DEMO}: given with --demo" in capsys.readouterr().out


def test_a_configuration_in_another_folder_trains_from_both(
    init: Init, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("project", "elsewhere"):
        Path(name).mkdir()
    write_rows("project/rows.csv", reviews())
    config = init("project/rows.csv", "--output", "project/task.yaml", file="project/task.yaml")
    assert config.data.custom.train_file == "project/rows.csv"
    assert "train_file: rows.csv\n" in Path("project/task.yaml").read_text()
    config = init("project/rows.csv", "--output", "elsewhere/task.yaml", file="elsewhere/task.yaml")
    assert config.data.custom.train_file == str(folder / "project" / "rows.csv")
    write_rows("rows.csv", reviews(20))  # another file of this name in the current directory
    config = init("project/rows.csv", "--output", "project/task.yaml", "--force", file="project/task.yaml")
    assert config.data.custom.train_file == str(folder / "project" / "rows.csv")
    monkeypatch.chdir("project")
    assert resolve_run(compose("task.yaml")).data.custom.labels == ["bad", "good"]


def test_an_existing_file_stays(init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("rows.csv", reviews())
    Path("task.yaml").write_text("mine")
    code, line = refused(capsys, "rows.csv", "--model", DEMO)
    assert (code, line) == (
        2,
        "error: task.yaml exists; give another path with --output, or --force to replace it",
    )
    assert Path("task.yaml").read_text() == "mine"
    Path("predictions.csv").write_text("mine, too")
    init("rows.csv", "--force")
    assert "--output predictions-2.csv" in capsys.readouterr().out


def test_the_questions(init: Init, answers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("rows.csv", stories())
    answers("nowhere.csv\nrows.csv\nmod\nmood\ntitle, story\nregression\n")
    custom = init().data.custom
    out = capsys.readouterr().out
    assert "Error: nowhere.csv: no such file or folder" in out
    assert "Error: unknown column 'mod'; did you mean 'mood'? Known: " in out
    assert (custom.text_column, custom.text_pair_column) == ("title", "story")
    assert (custom.label_column, custom.problem) == ("mood", "regression")
    assert "# your answer\n    label_column: mood\n" in Path("task.yaml").read_text()


@pytest.mark.parametrize("wrong", ["title, story, mood", "title, title", "tone"])
def test_text_columns_that_cannot_be_read_are_asked_again(
    init: Init, answers: Any, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    write_rows("rows.csv", stories())
    answers(f"tone\n{wrong}\ntitle,story\n\n")
    custom = init("rows.csv").data.custom
    assert (custom.text_column, custom.text_pair_column) == ("title", "story")
    assert "Error: give one column that is no label, or two different ones with a comma" in capsys.readouterr().out


def test_five_times_enter_is_a_good_file(init: Init, answers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("rows.csv", stories())
    answers("\n" * MOST_QUESTIONS)
    config = init("rows.csv")
    custom = config.data.custom
    assert (custom.text_column, custom.label_column, custom.problem) == ("title", "tone", "classification")
    assert sys.stdin.read() == "\n" * (MOST_QUESTIONS - 2)
    assert "title: usual name of texts; 'story' may be texts, too\n" in capsys.readouterr().out


def test_after_five_questions_the_guesses_are_taken(answers: Any) -> None:
    answers("b\n" * MOST_QUESTIONS)
    interview = Interview(asks=True)
    open_guess = Guess("a", "a reason", is_open=True)
    for _ in range(MOST_QUESTIONS):
        assert interview.choose("A question", open_guess, lambda _: None) == Guess("b", "your answer")
    assert interview.choose("A question", open_guess, lambda _: None) == open_guess


def test_a_backbone_is_suggested_and_a_wrong_one_is_typed_again(
    answers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows("rows.csv", reviews())
    answers("rows.csv\ndemo\n")
    main(["init", "rows.csv"])
    out = capsys.readouterr().out
    assert "small, because there is no GPU" in out
    assert "Error: model rows.csv: it is a file" in out
    assert compose("task.yaml").model.id == DEMO


def test_the_end_of_the_input_ends_in_one_line(answers: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("rows.csv", reviews())
    answers("")
    code, line = refused(capsys, "rows.csv")
    assert (code, line) == (130, "interrupted")
    assert not Path("task.yaml").exists()


def test_where_to_write_is_asked_if_the_file_exists(init: Init, answers: Any) -> None:
    write_rows("rows.csv", reviews())
    for name in ("task.yaml", "task-2.yaml"):
        Path(name).write_text("mine")
    answers("task-2.yaml\n\n")
    init("rows.csv", file="task-3.yaml")
    assert Path("task.yaml").read_text() == Path("task-2.yaml").read_text() == "mine"


HEADLESS = "".join(f"{row['text']},{row['label']}\n" for row in reviews())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "give the data: a file, a folder, ORG/NAME on the Hub or a GLUE task"),
        (["rows.cvs"], 2, "rows.cvs: no such file or folder; did you mean 'rows.csv'?"),
        (["nowhere/x.csv"], 2, "nowhere/x.csv: no such file or folder; give a CSV, TSV, JSONL or Parquet file"),
        (["mrcp"], 2, "and unknown task 'mrcp'; did you mean 'mrpc'?"),
        (["notes.txt"], 2, "notes.txt: unknown file extension '.txt'"),
        (["rte", "--label-column", "x"], 2, "--label-column is only for your own data; remove it"),
        (["rte", "--validation-file", "rows.csv"], 2, "rte is a task of GLUE with its own validation rows"),
        (["rows.csv", "--subset", "x"], 2, "--subset x is only for a data set on the Hub; remove it"),
        (["rows.csv", "--text-column", "txt"], 2, "--text-column: rows.csv: unknown column 'txt'"),
        (["rows.csv", "--problem", "ranking"], 2, "--problem: unknown problem 'ranking'; Known: classification, "),
        (["rows.csv", "--output", "no/task.yaml"], 2, "there is no folder no"),
        (["rows.csv", "--output", "."], 2, ". is a folder"),
        (["rows.csv", "--output", "task.json"], 2, "give a path that ends with .yaml"),
        (["run"], 2, "run is the folder of a run; give the data"),
        (["model"], 2, "model is the folder of a model; give the data, and the model with --model model"),
        (["latin.csv"], 1, "latin.csv, line 2: not UTF-8 (byte 0xe9)"),
        (
            ["headless.csv"],
            1,
            "headless.csv: the first line looks like a row ('bad'), not like names of columns; add a first line",
        ),
        (["empty.csv"], 1, "empty.csv: no rows"),
        (["numbers.csv"], 2, "no column looks like texts; name it with --text-column; the columns are label, x"),
        (["unlabelled.csv"], 2, "no column looks like labels; name it with --label-column; the columns are text"),
        (["constant.csv"], 1, "only one class ('a')"),
        (["no/where"], 1, "data set no/where: the Hub cannot be reached"),
    ],
)
def test_what_cannot_be_used(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows("rows.csv", reviews())
    Path("notes.txt").write_text("")
    Path("latin.csv").write_bytes("text,label\nun été,a\n".encode("latin-1"))
    Path("headless.csv").write_text(HEADLESS)
    Path("empty.csv").write_text("text,label\n")
    write_rows("numbers.csv", [{"label": "ab"[n % 2], "x": n} for n in range(9)])
    write_rows("unlabelled.csv", [{"text": f"a text {n}"} for n in range(9)])
    write_rows("constant.csv", reviews(label=lambda _: "a"))
    for folder, file in (("run", "result.json"), ("model", "config.json")):
        Path(folder).mkdir()
        Path(folder, file).write_text("{}")
    got, line = refused(capsys, *words, "--model", DEMO)
    assert line.startswith("error: ")
    assert message in line
    assert got == code
    assert not Path("task.yaml").exists()
