"""``adapter-tune count-params``."""

from __future__ import annotations

from adapter_tune.commands import options as o
from adapter_tune.commands.common import model_flags, print_counts


def count_params(
    model: o.Model = None,
    demo: o.Demo = False,
    strategy: o.StrategyName = None,
    m: o.Sizes = None,
    num_labels: o.NumLabels = 2,
    train_pooler: o.Pooler = False,
    set_: o.Set = None,
    as_json: o.Json = False,
) -> None:
    """Count parameters by the closed formula and from the model, without weights."""
    from adapter_tune.config.compose import compose

    sizes = [None] if m is None else [m] if "[" in m else m.split(",")
    flags = [{"--task task": "mnli", **model_flags(model, strategy, size, train_pooler)} for size in sizes]
    print_counts([compose(None, each, set_ or [], demo=demo) for each in flags], num_labels, as_json=as_json)
