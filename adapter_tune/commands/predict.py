"""``adapter-tune predict``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from adapter_tune.commands import options as o
from adapter_tune.commands.common import check_only_for, moved_data, run_or_newest
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries


def predict(
    run: o.RunFolder = None,
    split: o.PredictSplit = None,
    input_: o.Input = None,
    output: o.Predictions = None,
    text: o.Text = None,
    text_pair: o.TextPair = None,
    text_column: o.InputTextColumn = None,
    text_pair_column: o.InputTextPairColumn = None,
    batch_size: o.EvalBatchSize = None,
    model: o.MovedModel = None,
    train_file: o.MovedTrainFile = None,
    validation_file: o.MovedValidationFile = None,
    test_file: o.MovedTestFile = None,
    data_source: o.MovedDataSource = None,
    demo: o.Demo = False,
    runs: o.RunsFolder = Path("runs"),
) -> None:
    """Predict with a finished run.

    The input is a split of the run's task, a file of any size, or one text.
    """
    _check_source({"--split": split, "--input": input_, "--text": text}, output)
    from adapter_tune.run_files.data_paths import FLAGS

    moved = moved_data(train_file, validation_file, test_file, data_source)
    if text is None:
        check_only_for("--text", {"--text-pair": text_pair})
    if input_ in (None, "-"):
        check_only_for("--input FILE", {"--text-column": text_column, "--text-pair-column": text_pair_column})
    if split is None:
        check_only_for("--split", {FLAGS[option]: path for option, path in moved.items()})
    from adapter_tune.data.row_files import check_target, write_rows

    if output is not None:
        check_target(output)
    folder = run_or_newest(run, runs, demo)
    prepare_libraries(demo)
    from adapter_tune.data.input_file import InputColumns, has_labels
    from adapter_tune.report.terminal import show
    from adapter_tune.runs.predict import predict_file, predict_split, predict_text
    from adapter_tune.runs.reload import predictor

    needs_data = split is not None
    loaded = predictor(folder, needs_data=needs_data, batch_size=batch_size, model=model, moved=moved, demo=demo)
    count = 0
    if text is not None:
        texts = [text] if text_pair is None else [text, text_pair]
        prediction = predict_text(loaded, *texts)
        show("prediction", ["", ""], [[name, _value_text(value)] for name, value in prediction.items()])
        if output is not None:
            count = write_rows(output, iter([prediction]))
    elif input_ is not None:
        assert output is not None
        count = predict_file(loaded, input_, output, InputColumns(text_column, text_pair_column))
    else:
        assert output is not None
        count = write_rows(output, predict_split(loaded, split or ""))
    if output is not None:
        print(f"{count:,} prediction{'s' * (count != 1)} in {output}")
    if input_ not in (None, "-") and has_labels(loaded.config, input_ or ""):
        columns = {"--text-column": text_column, "--text-pair-column": text_pair_column}
        print(f"{input_} has labels; to score it: {_eval_command(folder, input_ or '', columns)}")


def _eval_command(folder: Path, file: str, columns: dict[str, str | None]) -> str:
    """Return the command that scores a file, quoted for a shell."""
    named = [word for flag, column in columns.items() if column is not None for word in (flag, column)]
    return shlex.join(["adapter-tune", "eval", str(folder), "--input", file, *named])


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
