"""``adapter-tune bench``."""

from __future__ import annotations

from adapter_tune.commands import options as o
from adapter_tune.commands.common import as_yaml
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries

_HELD = [["training.backbone_dropout=off", f"training.cache_frozen_prefix={value}"] for value in ("off", "on")]


def bench(
    model: o.Model = None,
    strategy: o.BenchStrategies = None,
    m: o.Size = None,
    lengths: o.Lengths = "mnli",
    batch_size: o.BatchSize = None,
    steps: o.Steps = 20,
    kept: o.Kept = False,
    set_: o.Set = None,
    as_json: o.Json = False,
) -> None:
    """Measure strategies side by side on random weights and rows: speed, memory, ratio to full fine-tuning."""
    import json
    from dataclasses import asdict

    from adapter_tune.adapters.published_sizes import published_size
    from adapter_tune.config.compose import compose
    from adapter_tune.strategies import REGISTRY, Injection

    flags = {
        "--task task": "mnli",
        "--model model.id": model,
        "--batch-size training.batch_size": as_yaml("--batch-size", batch_size),
    }
    sets = set_ or []
    composed = {}
    for text in strategy or ["full", "houlsby"]:
        name, *words = text.split() or [""]
        if not name or not all("=" in word for word in words):
            raise UsageError(f"--strategy: '{text}' should be a name and options, as in 'houlsby layers=top-6'")
        own = [f"strategy.{word}" for word in words]
        size = as_yaml("--m", m) if issubclass(REGISTRY.get(name, object), Injection) else None
        given = {**flags, "--strategy strategy.name": name, "--m strategy.m": size}
        composed[text] = [compose(None, given, [*own, *more, *sets]) for more in ([], *(_HELD if kept else ()))]
    first = next(iter(composed.values()))[0]
    if published_size(first.model.id) is None:
        prepare_libraries()
    from adapter_tune.bench.bench import bench as measure
    from adapter_tune.bench.worker import has_frozen_layers
    from adapter_tune.report.command_output import show_bench

    cases = {}
    for text, (plain, *held) in composed.items():
        cases[text] = plain
        if held and has_frozen_layers(plain):
            cases[f"{text}, no dropout"], cases[f"{text}, states kept"] = held
    rows, about = measure(cases, lengths, steps)
    if as_json:
        print(json.dumps({**about, "strategies": [asdict(row) for row in rows]}, indent=2))
    else:
        show_bench([asdict(row) for row in rows], about)
