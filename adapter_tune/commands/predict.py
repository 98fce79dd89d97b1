"""``adapter-tune predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapter_tune.commands import options as o
from adapter_tune.commands.common import newest_run
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries


def predict(
    run: o.RunFolder = None,
    split: o.AnySplit = None,
    input_: o.Input = None,
    output: o.Predictions = None,
    text: o.Text = None,
    text_pair: o.TextPair = None,
    text_column: o.TextColumn = None,
    text_pair_column: o.TextPairColumn = None,
    batch_size: o.EvalBatchSize = None,
    model: o.Moved = None,
    demo: o.Demo = False,
    runs: o.NewestIn = Path("runs"),
) -> None:
    """Predict with a trained run: a split of its task, a file of any size, or a text."""
    given = [name for name, value in (("--split", split), ("--input", input_), ("--text", text)) if value is not None]
    if len(given) != 1:
        raise UsageError(f"give one of --split, --input and --text{', not ' + ' and '.join(given) if given else ''}")
    if output is None and text is None:
        raise UsageError(f"{given[0]} needs --output: a CSV, TSV, JSONL or Parquet file")
    if text_pair is not None and text is None:
        raise UsageError("--text-pair goes with --text; leave it out")
    for flag, column in (("--text-column", text_column), ("--text-pair-column", text_pair_column)):
        if column is not None and input_ in (None, "-"):
            raise UsageError(f"{flag} goes with --input FILE; leave it out")
    from adapter_tune.data.row_files import check_target, write_rows

    if output is not None:
        check_target(output)
    folder = newest_run(run, runs, demo)
    prepare_libraries(demo)
    from adapter_tune.report.terminal import show
    from adapter_tune.runs.predict import predict_file, predict_split, predict_text
    from adapter_tune.runs.reload import predictor

    ready = predictor(folder, batch_size=batch_size, model=model, demo=demo)
    if text is not None:
        said = predict_text(ready, text, *([] if text_pair is None else [text_pair]))
        show("prediction", ["", ""], [[name, _shown(value)] for name, value in said.items()])
        count = 0 if output is None else write_rows(output, iter([said]))
    elif input_ is not None:
        assert output is not None
        count = predict_file(ready, input_, output, (text_column, text_pair_column))
    else:
        assert output is not None
        count = write_rows(output, predict_split(ready, split or ""))
    if output is not None:
        print(f"{count:,} prediction{'s' * (count != 1)} in {output}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
