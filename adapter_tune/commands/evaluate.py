"""``adapter-tune eval``."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.commands import options as o
from adapter_tune.commands.common import newest_run
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries


def evaluate(
    run: o.RunFolder = None,
    split: o.Split = None,
    batch_size: o.EvalBatchSize = None,
    model: o.Moved = None,
    demo: o.Demo = False,
    output: o.Newest = Path("runs"),
    output_json: o.OutputJson = None,
) -> None:
    """Rebuild backbone and adapter from disk and score them again."""
    from adapter_tune.report.command_output import show_result

    if output_json is not None and (output_json.is_dir() or not output_json.parent.is_dir()):
        raise UsageError(f"--output-json: {output_json} cannot be written; name a file in a folder that is there")
    folder = newest_run(run, output, demo)
    prepare_libraries(demo)
    from adapter_tune.runs.reload import evaluate_run

    result = evaluate_run(folder, split=split, batch_size=batch_size, model=model, demo=demo)
    if output_json is not None:
        from adapter_tune.foundation import atomic_files

        atomic_files.write_text(output_json, result.model_dump_json(indent=2) + "\n")
    show_result(result)
