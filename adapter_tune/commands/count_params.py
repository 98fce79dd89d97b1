"""``adapter-tune count-params``."""

from __future__ import annotations

from adapter_tune.commands.common import model_flags, print_counts
from adapter_tune.commands.options import general, training


def count_params(
    model: training.Model = None,
    demo: general.Demo = False,
    strategy: training.StrategyName = None,
    m: training.Sizes = None,
    num_labels: training.NumLabels = 2,
    train_pooler: training.TrainPooler = False,
    set_: training.Set = None,
    as_json: general.Json = False,
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
