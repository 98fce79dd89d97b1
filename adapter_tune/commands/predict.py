"""``adapter-tune predict``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_tune.commands.common import (
    are_several,
    check_only_for,
    moved_data,
    moved_model,
    run_or_newest,
    with_language,
)
from adapter_tune.commands.options import finished_runs, general, scoring
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries

if TYPE_CHECKING:
    from adapter_tune.data.rows import Row
    from adapter_tune.runs.predict import Predictor, TextPredictor


def predict(
    run: finished_runs.OneOrMoreRuns = None,
    split: scoring.PredictSplit = None,
    input_: scoring.Input = None,
    output: scoring.Predictions = None,
    text: scoring.Text = None,
    text_pair: scoring.TextPair = None,
    text_column: scoring.InputTextColumn = None,
    text_pair_column: scoring.InputTextPairColumn = None,
    onnx: scoring.OnnxModel = None,
    batch_size: finished_runs.EvalBatchSize = None,
    model: finished_runs.MovedModel = None,
    language_adapter: finished_runs.MovedLanguageAdapter = None,
    train_file: finished_runs.MovedTrainFile = None,
    validation_file: finished_runs.MovedValidationFile = None,
    test_file: finished_runs.MovedTestFile = None,
    data_source: finished_runs.MovedDataSource = None,
    demo: general.Demo = False,
    runs: finished_runs.RunsFolder = Path("runs"),
) -> None:
    """Predict with a finished run, with several runs on one backbone, or with an exported ONNX model.

    The input is a split of the run's task, a file of any size, or one text. With several runs or an ONNX model it is a
    file or a text; with several runs each row gets the prediction of every run.
    """
    _check_source({"--split": split, "--input": input_, "--text": text}, output)
    from adapter_tune.run_files.data_paths import FLAGS

    moved = moved_data(train_file, validation_file, test_file, data_source)
    columns = {"--text-column": text_column, "--text-pair-column": text_pair_column}
    if text is None:
        check_only_for("--text", {"--text-pair": text_pair})
    if input_ in (None, "-"):
        check_only_for("--input FILE", columns)
    if split is None:
        check_only_for("--split", {FLAGS[option]: path for option, path in moved.items()})
    from adapter_tune.data.row_files import check_target

    if output is not None:
        check_target(output)
    texts = [given for given in (text, text_pair) if given is not None]
    if onnx is not None:
        _check_onnx(run, demo, {"--split": split, "--model": model, "--language-adapter": language_adapter})
        prepare_libraries(True)
        from adapter_tune.exchange.onnx_predict import onnx_predictor

        _predict_with_one(onnx_predictor(onnx, batch_size), None, input_, texts, output, columns)
        return
    folders = run or [run_or_newest(None, runs, demo)]
    prepare_libraries(demo)
    if are_several(folders):
        if split is not None:
            raise UsageError("--split: several runs have no split in common; give --input FILE or --text")
        check_only_for("one run", {"--language-adapter": language_adapter})
        _predict_with_several(folders, input_, texts, output, columns, batch_size, moved_model(model, demo))
        return
    from adapter_tune.runs.reload import predictor

    (folder,) = folders
    needs_data = split is not None
    moved = with_language(moved, language_adapter)
    loaded = predictor(folder, needs_data=needs_data, batch_size=batch_size, model=model, moved=moved, demo=demo)
    _predict_with_one(loaded, split, input_, texts, output, columns)
    _print_eval_hint(loaded, folder, input_, columns)


def _predict_with_one(
    predictor: TextPredictor,
    split: str | None,
    input_: str | None,
    texts: Sequence[str],
    output: Path | None,
    columns: dict[str, str | None],
) -> None:
    """Predict a split, a file or a text with one run; write it, and show what is predicted for a text."""
    from adapter_tune.data.input_file import InputColumns
    from adapter_tune.data.row_files import write_rows
    from adapter_tune.runs.predict import predict_file, predict_split, predict_text

    if texts:
        count = _show_and_write(predict_text(predictor, *texts), output)
    elif input_ is not None:
        assert output is not None
        count = predict_file(predictor, input_, output, InputColumns(*columns.values()))
    else:
        assert output is not None
        count = write_rows(output, predict_split(predictor, split or ""))
    if output is not None:
        print(f"{count:,} prediction{'s' * (count != 1)} in {output}")


def _predict_with_several(
    runs: Sequence[Path],
    input_: str | None,
    texts: Sequence[str],
    output: Path | None,
    columns: dict[str, str | None],
    batch_size: int | None,
    model: str | None,
) -> None:
    """Predict a file or a text with several runs; write it, and show what is predicted for a text."""
    from adapter_tune.data.input_file import InputColumns
    from adapter_tune.multitask.open_runs import adapter_folders
    from adapter_tune.multitask.predict import open_predictor, predict_file, predict_text
    from adapter_tune.multitask.shared_texts import tasks_of, text_columns, text_row

    folders = adapter_folders(runs)
    tasks = tasks_of(folders)
    row: Row = {}
    names: list[str] = []
    if input_ is None:
        row = text_row(tasks, texts)
    else:
        names = text_columns(tasks, input_, InputColumns(*columns.values()))
    predictor = open_predictor(folders, model=model, batch_size=batch_size)
    if input_ is None:
        count = _show_and_write(predict_text(predictor, row), output)
    else:
        assert output is not None
        count = predict_file(predictor, input_, output, names)
    if output is not None:
        rows = f"{count:,} row{'s' * (count != 1)}"
        print(f"{rows} with the predictions of {len(tasks)} task{'s' * (len(tasks) != 1)} in {output}")


def _show_and_write(prediction: Row, output: Path | None) -> int:
    """Print the prediction for a text, write it if there is an output file, and return the number of rows."""
    from adapter_tune.data.row_files import write_rows
    from adapter_tune.report.terminal import show

    show("prediction", ["", ""], [[name, _value_text(value)] for name, value in prediction.items()])
    return 1 if output is None else write_rows(output, iter([prediction]))


def _check_onnx(runs: Sequence[Path] | None, demo: bool, flags: dict[str, str | None]) -> None:
    """Refuse what a model without its run and its backbone would ignore.

    Raises:
        UsageError: something was given.
    """
    if runs:
        raise UsageError(f"--onnx: give no run beside it; remove {runs[0]}")
    check_only_for("runs", {**flags, "--demo": "" if demo else None})


def _print_eval_hint(predictor: Predictor, run: Path, file: str | None, columns: dict[str, str | None]) -> None:
    """Print the command that scores a file, quoted for a shell, if the file has labels."""
    from adapter_tune.data.input_file import has_labels

    if file in (None, "-") or not has_labels(predictor.config, file or ""):
        return
    named = [word for flag, column in columns.items() if column is not None for word in (flag, column)]
    command = shlex.join(["adapter-tune", "eval", str(run), "--input", file or "", *named])
    print(f"{file} has labels; to score it: {command}")


def _check_source(sources: dict[str, str | None], output: Path | None) -> None:
    """Check that there is one source of texts, and an output file if it is not --text.

    Raises:
        UsageError: there is no source, or more than one, or no output file.
    """
    given = [flag for flag, value in sources.items() if value is not None]
    if not given:
        raise UsageError("give one of --split, --input and --text")
    if len(given) > 1:
        raise UsageError(f"give one of --split, --input and --text, not {' and '.join(given)}")
    if output is None and given[0] != "--text":
        raise UsageError(f"{given[0]} needs --output: a CSV, TSV, JSONL or Parquet file")


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
