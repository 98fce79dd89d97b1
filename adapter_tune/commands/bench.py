"""``adapter-tune bench``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapter_tune.commands.common import as_yaml
from adapter_tune.commands.options import general, training
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries

if TYPE_CHECKING:
    from adapter_tune.config.schema import RunConfig

_CACHE_CASES = {
    "no dropout": ["training.backbone_dropout=off", "training.cache_frozen_prefix=off"],
    "frozen layers cached": ["training.backbone_dropout=off", "training.cache_frozen_prefix=on"],
}
"""Further cases of a strategy that leaves the lowest layers frozen: the cache needs a backbone without dropout."""


def bench(
    model: training.Model = None,
    strategy: training.BenchStrategies = None,
    m: training.Size = None,
    lengths: training.Lengths = "mnli",
    batch_size: training.BatchSize = None,
    steps: training.Steps = 20,
    frozen_layer_cache: training.FrozenLayerCache = False,
    set_: training.Set = None,
    as_json: general.Json = False,
) -> None:
    """Compare the speed and the memory of strategies.

    Trains and evaluates models with random weights on random rows.
    """
    import json
    from dataclasses import asdict

    from adapter_tune.adapters.published_sizes import published_size

    flags = {
        "--task task": "mnli",
        "--model model.id": model,
        "--batch-size training.batch_size": as_yaml("--batch-size", batch_size),
    }
    texts = strategy or ["full", "houlsby"]
    configs = {text: _compose(text, m, flags, set_ or []) for text in texts}
    cache_configs: dict[str, dict[str, RunConfig]] = {text: {} for text in texts}
    if frozen_layer_cache:
        for text in texts:
            for name, options in _CACHE_CASES.items():
                cache_configs[text][f"{text}, {name}"] = _compose(text, m, flags, [*options, *(set_ or [])])
    if published_size(configs[texts[0]].model.id) is None:
        prepare_libraries()
    from adapter_tune.bench.bench import bench as measure
    from adapter_tune.bench.worker import has_frozen_layers
    from adapter_tune.report.command_output import show_bench

    cases = {}
    for text, config in configs.items():
        cases[text] = config
        if frozen_layer_cache and has_frozen_layers(config):
            cases.update(cache_configs[text])
    measurements, about = measure(cases, lengths, steps)
    rows = [asdict(measurement) for measurement in measurements]
    if as_json:
        print(json.dumps({**about, "strategies": rows}, indent=2))
    else:
        show_bench(rows, about)


def _compose(text: str, m: str | None, flags: dict[str, Any], sets: list[str]) -> RunConfig:
    """Return the configuration of one strategy.

    Args:
        text: the strategy's name and its options, as in ``houlsby layers=top-6``.
        m: the bottleneck size, for strategies that have one.
        flags: further flags, each with the key that it sets.
        sets: further options, as in ``training.warmup=0.2``; the strategy's own options come before them.

    Raises:
        UsageError: the text or an option is wrong.
    """
    from adapter_tune.config.compose import compose
    from adapter_tune.strategies import REGISTRY, Injection

    name, *options = text.split() or [""]
    if not name or not all("=" in option for option in options):
        raise UsageError(f"--strategy: '{text}' should be a name and options, as in 'houlsby layers=top-6'")
    has_size = issubclass(REGISTRY.get(name, object), Injection)
    size = as_yaml("--m", m) if has_size else None
    strategy_flags = {**flags, "--strategy strategy.name": name, "--m strategy.m": size}
    config = compose(None, strategy_flags, [*(f"strategy.{option}" for option in options), *sets])
    if config.init_from.run is not None:
        raise UsageError(f"init_from.run={config.init_from.run}: bench measures random weights; remove it")
    if config.model.language_adapter is not None:
        raise UsageError("model.language_adapter: bench does not measure language adapters; remove it")
    return config
