"""``adapter-tune eval``."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.commands import options as o
from adapter_tune.commands.common import run_or_newest
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries


def evaluate(
    run: o.RunFolder = None,
    split: o.EvalSplit = None,
    batch_size: o.EvalBatchSize = None,
    model: o.MovedModel = None,
    demo: o.Demo = False,
    output: o.EvalRunsFolder = Path("runs"),
    output_json: o.OutputJson = None,
) -> None:
    """Load a finished run from its folder and evaluate it again."""
    from adapter_tune.report.command_output import show_result

    if output_json is not None and (output_json.is_dir() or not output_json.parent.is_dir()):
        raise UsageError(f"--output-json: {output_json} cannot be written; choose a file in an existing folder")
    folder = run_or_newest(run, output, demo)
    prepare_libraries(demo)
    from adapter_tune.runs.reload import evaluate_run

    result = evaluate_run(folder, split=split, batch_size=batch_size, model=model, demo=demo)
    if output_json is not None:
        from adapter_tune.foundation import atomic_files

        atomic_files.write_text(output_json, result.model_dump_json(indent=2) + "\n")
    show_result(result)
