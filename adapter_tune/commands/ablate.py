"""``adapter-tune ablate``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from adapter_tune.commands.common import moved_data, run_or_newest, with_language
from adapter_tune.commands.options import finished_runs, general, scoring
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries


def ablate(
    run: finished_runs.RunFolder = None,
    split: scoring.AblationSplit = None,
    attention_only: scoring.AttentionOnly = False,
    feed_forward_only: scoring.FeedForwardOnly = False,
    output: scoring.AblationFolder = None,
    batch_size: finished_runs.EvalBatchSize = None,
    model: finished_runs.MovedModel = None,
    language_adapter: finished_runs.MovedLanguageAdapter = None,
    train_file: finished_runs.MovedTrainFile = None,
    validation_file: finished_runs.MovedValidationFile = None,
    test_file: finished_runs.MovedTestFile = None,
    data_source: finished_runs.MovedDataSource = None,
    demo: general.Demo = False,
    runs: finished_runs.RunsFolder = Path("runs"),
    as_json: general.Json = False,
) -> None:
    """Evaluate a finished run without some of its adapters.

    Evaluates once for each range of layers, without the adapters of that range (Figure 6 of the paper). Nothing is
    trained.
    """
    if attention_only and feed_forward_only:
        raise UsageError(
            "--attention-only and --feed-forward-only: give only one; without them, both kinds are removed"
        )
    folder = run_or_newest(run, runs, demo)
    prepare_libraries(demo)
    from adapter_tune.report.command_output import show_ablation
    from adapter_tune.report.figures import heatmap, save
    from adapter_tune.runs.reload import ablate_run

    sub_layer: Literal["attention", "feed_forward"] | None = None
    if attention_only:
        sub_layer = "attention"
    elif feed_forward_only:
        sub_layer = "feed_forward"
    moved = with_language(moved_data(train_file, validation_file, test_file, data_source), language_adapter)
    ablation = ablate_run(
        folder, split=split, sub_layer=sub_layer, batch_size=batch_size, model=model, moved=moved, demo=demo
    )
    target = output or _default_output(folder, "-".join(part for part in ("ablation", sub_layer, split) if part))
    ablation.save(target)
    save(heatmap(ablation), target / "ablation")
    if as_json:
        print(ablation.model_dump_json(indent=2))
    else:
        show_ablation(ablation)
        print(f"written to {target}: ablation.json, .csv, .png, .svg")


def _default_output(run: Path, name: str) -> Path:
    """The folder to write to: in the run folder, or for a run on the Hub in a folder named like its repository."""
    from adapter_tune.foundation.hub_calls import parse_hub_name

    pushed = None if run.exists() else parse_hub_name(run.as_posix())
    return run / name if pushed is None else Path(pushed.repository.replace("/", "--")) / name
