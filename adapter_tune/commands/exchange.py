"""``adapter-tune export`` and ``adapter-tune import``."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.commands.common import check_only_for, moved_data, run_or_newest, with_language
from adapter_tune.commands.options import exchange, finished_runs
from adapter_tune.foundation.startup import prepare_libraries


def export(
    format_: exchange.ExportFormat,
    output: exchange.ExportFolder,
    run: finished_runs.RunFolder = None,
    safetensors: exchange.Safetensors = False,
    int8: exchange.Int8 = False,
    model: finished_runs.MovedModel = None,
    language_adapter: finished_runs.MovedLanguageAdapter = None,
    train_file: finished_runs.MovedTrainFile = None,
    validation_file: finished_runs.MovedValidationFile = None,
    data_source: finished_runs.MovedDataSource = None,
    runs: finished_runs.RunsFolder = Path("runs"),
) -> None:
    """Write a run in another format."""
    moved = moved_data(train_file, validation_file, None, data_source)
    if not int8:
        from adapter_tune.run_files.data_paths import FLAGS

        check_only_for("--int8", {FLAGS[option]: path for option, path in moved.items()})
    if format_ != "onnx":
        check_only_for("--format onnx", {"--language-adapter": language_adapter})
    folder = run_or_newest(run, runs, False)
    prepare_libraries(False)
    from adapter_tune.exchange.exporting import export_run
    from adapter_tune.exchange.formats import Export
    from adapter_tune.report.exchange_output import show_export

    export_ = Export(folder, model, safetensors, int8, with_language(moved, language_adapter))
    show_export(export_run(export_, output, format_), output)


def import_(
    folder: exchange.ForeignFolder,
    output: exchange.ImportFolder,
    model: exchange.ImportModel = None,
    language_adapter: exchange.ImportLanguageAdapter = None,
    task: exchange.ImportTask = None,
    text_column: exchange.ImportTextColumn = None,
    text_pair_column: exchange.ImportTextPairColumn = None,
    label_column: exchange.ImportLabelColumn = None,
    max_length: exchange.ImportMaxLength = None,
) -> None:
    """Make a run folder from an adapter that another library saved."""
    columns = {"--text-column": text_column, "--text-pair-column": text_pair_column, "--label-column": label_column}
    if task not in (None, "custom"):
        check_only_for("your own data", columns)
    prepare_libraries(False)
    from adapter_tune.exchange.importing import TaskChoice, import_adapter
    from adapter_tune.report.exchange_output import show_import

    choice = TaskChoice(task, text_column, text_pair_column, label_column, max_length)
    show_import(import_adapter(folder, output, model=model, language_adapter=language_adapter, choice=choice))
