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
    train_pooler: o.TrainPooler = False,
    set_: o.Set = None,
    as_json: o.Json = False,
) -> None:
    """Count trained parameters without loading weights.

    Counts by formula and from the model, and reports an error if the two counts differ.
    """
    from adapter_tune.config.compose import compose

    sizes: list[str | None] = [m]
    if m is not None and "[" not in m:  # a list in brackets is one size for each layer
        sizes = [*m.split(",")]
    configs = []
    for size in sizes:
        flags = {"--task task": "mnli", **model_flags(model, strategy, size, train_pooler)}
        configs.append(compose(None, flags, set_ or [], demo=demo))
    print_counts(configs, num_labels, as_json=as_json)
