"""``adapter-tune eval``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adapter_tune.commands.common import check_only_for, moved_data, run_or_newest, with_language
from adapter_tune.commands.options import finished_runs, general, scoring
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries


def evaluate(
    run: finished_runs.RunFolder = None,
    split: scoring.EvalSplit = None,
    input_: scoring.EvalInput = None,
    text_column: scoring.InputTextColumn = None,
    text_pair_column: scoring.InputTextPairColumn = None,
    label_column: scoring.InputLabelColumn = None,
    batch_size: finished_runs.EvalBatchSize = None,
    model: finished_runs.MovedModel = None,
    language_adapter: finished_runs.MovedLanguageAdapter = None,
    train_file: finished_runs.MovedTrainFile = None,
    validation_file: finished_runs.MovedValidationFile = None,
    test_file: finished_runs.MovedTestFile = None,
    data_source: finished_runs.MovedDataSource = None,
    demo: general.Demo = False,
    output: finished_runs.EvalRunsFolder = Path("runs"),
    output_json: scoring.OutputJson = None,
) -> None:
    """Load a finished run from its folder and evaluate it again, on a split of its data or on a file with labels."""
    from adapter_tune.report.command_output import show_result

    if output_json is not None and (output_json.is_dir() or not output_json.parent.is_dir()):
        raise UsageError(f"--output-json: {output_json} cannot be written; choose a file in an existing folder")
    columns = {"--text-column": text_column, "--text-pair-column": text_pair_column, "--label-column": label_column}
    moved = moved_data(train_file, validation_file, test_file, data_source)
    _check_source(split, input_, columns, moved)
    folder = run_or_newest(run, output, demo)
    prepare_libraries(demo)
    from adapter_tune.data.input_file import InputColumns
    from adapter_tune.runs.reload import evaluate_run

    result = evaluate_run(
        folder,
        split=split,
        input_file=input_,
        columns=InputColumns(text_column, text_pair_column, label_column),
        batch_size=batch_size,
        model=model,
        moved=with_language(moved, language_adapter),
        demo=demo,
    )
    if output_json is not None:
        from adapter_tune.foundation import atomic_files

        atomic_files.write_text(output_json, result.model_dump_json(indent=2) + "\n")
    show_result(result)


def _check_source(
    split: str | None, input_: str | None, columns: Mapping[str, str | None], moved: Mapping[str, str]
) -> None:
    """Refuse options of which one would be ignored.

    Raises:
        UsageError: there are two sources of rows, or an option belongs to the other one.
    """
    from adapter_tune.run_files.data_paths import FLAGS

    if input_ is None:
        check_only_for("--input FILE", columns)
        return
    if split is not None:
        raise UsageError("give one of --split and --input, not both")
    if input_ == "-":
        raise UsageError("--input -: standard input has no labels; give a file")
    check_only_for("the run's own splits, not for --input", {FLAGS[option]: path for option, path in moved.items()})
