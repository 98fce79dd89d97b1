"""The strategies on the terminal: a table of all, or one with its options and its formula."""

from __future__ import annotations

import textwrap

from adapter_tune.adapters.family_shapes import bert_shape
from adapter_tune.adapters.formula import Shape
from adapter_tune.adapters.published_sizes import published_size
from adapter_tune.foundation.errors import UsageError, unknown_name
from adapter_tune.foundation.validation_messages import meanings
from adapter_tune.report.terminal import show
from adapter_tune.strategies import REGISTRY, Strategy

_MODEL = "google-bert/bert-base-uncased"


def show_strategies() -> None:
    """Print every strategy: what it is, its options with their defaults, its share of BERT-base, its source."""
    rows = []
    for cls in REGISTRY.values():
        rows.append([cls.name, cls.summary(), _options(cls), f"{percent_trained(cls()):.2f}", cls.paper])
    show("strategies", ["name", "what", "options and defaults", "% of BERT-base", "source"], rows)


def show_strategy(name: str) -> None:
    """Print one strategy: where its modules are, its options, its formula.

    Raises:
        UsageError: there is no strategy of this name.
    """
    if name not in REGISTRY:
        raise UsageError(f"list strategies: {unknown_name('strategy', name, REGISTRY)}")
    cls = REGISTRY[name]
    print(f"{name}: {cls.summary()}\n{cls.paper}")
    print(textwrap.indent(textwrap.dedent(cls.drawing).strip("\n"), "  ") + "\n")
    texts = meanings(cls)
    options = [[key, _text(field.default), texts.get(key, "")] for key, field in cls.model_fields.items()]
    if options:
        show("options", ["name", "default", "what"], options)
    show("with the default options", ["", ""], facts(cls))


def facts(cls: type[Strategy]) -> list[list[str]]:
    """Return the learning rate, the formula and the counts of a strategy with its default options."""
    strategy = cls()
    formula = strategy.formula(_bert_base())
    facts = [
        ["learning rate", f"{cls.learning_rate:g}"],
        ["formula", f"{formula.text} = {formula.filled}"],
    ]
    if formula.adapter_count:
        facts.append(["adapters in BERT-base", f"{formula.adapter_count}"])
    counts = f"{_trained_parameters(strategy):,} ({percent_trained(strategy):.2f} %)"
    facts.append(["trained in BERT-base, without head", counts])
    return facts


def _trained_parameters(strategy: Strategy) -> int:
    """Return the parameters that a strategy trains or adds in BERT-base, without the head.

    The pooler is counted only if the strategy trains it, as BERT-base's is pretrained.
    """
    shape = _bert_base()
    return strategy.formula(shape).trained + (shape.pooler if strategy.trains_pooler else 0)


def percent_trained(strategy: Strategy) -> float:
    """Return the share that a strategy trains of BERT-base, without the head, in percent."""
    return 100 * _trained_parameters(strategy) / _bert_base().total


def _bert_base() -> Shape:
    return bert_shape(published_size(_MODEL))


def _options(cls: type[Strategy]) -> str:
    return " ".join(f"{name}={_text(field.default)}" for name, field in cls.model_fields.items())


def _text(value: object) -> str:
    """Return a default value as it is written on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return str(value)
