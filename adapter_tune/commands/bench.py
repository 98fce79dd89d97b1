"""``adapter-tune bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_tune.commands.common import as_yaml, check_only_for
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
    onnx: training.BenchOnnx = None,
    set_: training.Set = None,
    as_json: general.Json = False,
) -> None:
    """Compare the speed and the memory of strategies, or the speed of exported ONNX models.

    Trains and evaluates models with random weights on random rows.
    """
    import json
    from dataclasses import asdict

    if onnx is not None:
        given = {"--strategy": strategy, "--m": m, "--kept": frozen_layer_cache, "--set": set_}
        check_only_for("bench without --onnx", {flag: "" if value else None for flag, value in given.items()})
        _bench_onnx(onnx, lengths, steps, _batch_size(batch_size), model, as_json)
        return
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


def _bench_onnx(path: Path, lengths: str, turns: int, batch_size: int | None, model: str | None, as_json: bool) -> None:
    """Time exported models beside torch, and print the result."""
    import json
    from dataclasses import asdict

    prepare_libraries()
    from adapter_tune.bench.exported import bench_exported
    from adapter_tune.report.command_output import show_bench_exported

    measurements, about = bench_exported(path, lengths, turns, batch_size, model)
    rows = [asdict(measurement) for measurement in measurements]
    if as_json:
        print(json.dumps({**about, "models": rows}, indent=2))
    else:
        show_bench_exported(rows, about)


def _batch_size(text: str | None) -> int | None:
    size = as_yaml("--batch-size", text)
    if size is None or (type(size) is int and size > 0):
        return size
    raise UsageError(f"--batch-size: should be a whole number above 0, got {text}")


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
