"""``adapter-tune ablate``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from adapter_tune.commands import options as o
from adapter_tune.commands.common import newest_run
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries


def ablate(
    run: o.RunFolder = None,
    split: o.Split = None,
    attention_only: o.AttentionOnly = False,
    feed_forward_only: o.FeedForwardOnly = False,
    output: o.AblationFolder = None,
    batch_size: o.EvalBatchSize = None,
    model: o.Moved = None,
    demo: o.Demo = False,
    runs: o.NewestIn = Path("runs"),
    as_json: o.Json = False,
) -> None:
    """Take the adapters of every span of layers out of a trained run and score it again: the paper's Figure 6."""
    if attention_only and feed_forward_only:
        raise UsageError("--attention-only and --feed-forward-only: give one of them, or neither for both kinds")
    folder = newest_run(run, runs, demo)
    prepare_libraries(demo)
    from adapter_tune.report.command_output import show_ablation
    from adapter_tune.report.figures import heatmap, save
    from adapter_tune.runs.reload import ablate_run

    kind: Literal["attention", "feed_forward"] | None
    kind = "attention" if attention_only else "feed_forward" if feed_forward_only else None
    found = ablate_run(folder, split=split, sub_layer=kind, batch_size=batch_size, model=model, demo=demo)
    target = output or folder / "-".join(word for word in ("ablation", kind, split) if word)
    found.save(target)
    save(heatmap(found), target / "ablation")
    if as_json:
        print(found.model_dump_json(indent=2))
    else:
        show_ablation(found)
        print(f"in {target}: ablation.json, .csv, .png, .svg")
