"""The registry of strategies as one reads it: a table of all, and one in full."""

from __future__ import annotations

import textwrap

from adapter_tune.adapters.families import bert_shape
from adapter_tune.adapters.formula import Shape
from adapter_tune.adapters.published_sizes import published_size
from adapter_tune.foundation.errors import UsageError, unknown_name
from adapter_tune.foundation.validation_messages import meanings
from adapter_tune.report.terminal import show
from adapter_tune.strategies import REGISTRY, Strategy

_MODEL = "google-bert/bert-base-uncased"


def show_strategies() -> None:
    """Every strategy: what it is, its options with their defaults, its share of BERT-base, where it is from."""
    rows = [[s.name, s.summary(), _options(s), f"{share(s()):.2f}", s.paper] for s in REGISTRY.values()]
    show("strategies", ["name", "what", "options and defaults", "% of BERT-base", "source"], rows)


def show_strategy(name: str) -> None:
    """One strategy: where it sits, its options, its formula.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in REGISTRY:
        raise UsageError(f"list strategies: {unknown_name('strategy', name, REGISTRY)}")
    cls = REGISTRY[name]
    default = cls()
    formula = default.formula(_bert_base())
    print(f"{name}: {cls.summary()}\n{cls.paper}")
    print(textwrap.indent(textwrap.dedent(cls.drawing).strip("\n"), "  ") + "\n")
    texts = meanings(cls)
    options = [[key, _text(field.default), texts[key]] for key, field in cls.model_fields.items()]
    if options:
        show("options", ["name", "default", "what"], options)
    facts = [
        ["learning rate", f"{cls.learning_rate:g}"],
        ["formula", f"{formula.text} = {formula.filled}"],
        ["in BERT-base, backbone only", f"{trained(default):,} ({share(default):.2f} %)"],
    ]
    if formula.adapter_count:
        facts.insert(2, ["adapters in BERT-base", f"{formula.adapter_count}"])
    show("at the defaults", ["", ""], facts)


def trained(strategy: Strategy) -> int:
    """Parameters of BERT-base that a strategy trains or adds, the head aside; a pretrained pooler stays frozen."""
    shape = _bert_base()
    return strategy.formula(shape).trained + (shape.pooler if strategy.trains_pooler else 0)


def share(strategy: Strategy) -> float:
    """The same in percent of BERT-base."""
    return 100 * trained(strategy) / _bert_base().total


def _bert_base() -> Shape:
    return bert_shape(published_size(_MODEL))


def _options(cls: type[Strategy]) -> str:
    return " ".join(f"{name}={_text(field.default)}" for name, field in cls.model_fields.items())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
