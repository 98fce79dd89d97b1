"""What sentences of the demo language mean, and what follows from it: entailment, contradiction, likeness."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from adapter_tune.demo.lexicon import Sense


@dataclass(frozen=True)
class Entity:
    """A participant: what it is, what it is like, whether it is several."""

    noun: Sense
    adjective: Sense | None = None
    plural: bool = False


@dataclass(frozen=True)
class Clause:
    """Somebody does something (to somebody, somewhere), or somebody is of some quality; or it is not so."""

    agent: Entity
    verb: Sense
    """A verb, or the adjective of "the dog was big"."""
    patient: Entity | None = None
    place: Entity | None = None
    negated: bool = False

    @property
    def is_state(self) -> bool:
        """True for "the dog was big"."""
        return self.verb.part == "adjective"

    def with_(self, **slots: object) -> Clause:
        """The clause with other slots."""
        return replace(self, **slots)  # type: ignore[arg-type]


class Fit(Enum):
    """How one meaning lies to another (the basic relations of natural logic, MacCartney and Manning 2009)."""

    SAME = "="
    BELOW = "<"
    """The first says more: a dog is an animal."""
    ABOVE = ">"
    APART = "|"
    """Both can't be so."""
    OTHER = "#"


def relation(premise: Clause, hypothesis: Clause) -> str:
    """entailment, contradiction or neutral: what the premise says of the hypothesis."""
    entails, contradicts = _VERDICTS[premise.negated, hypothesis.negated]
    fit = compare(premise, hypothesis)
    return "entailment" if fit in entails else "contradiction" if fit in contradicts else "neutral"


_VERDICTS = {
    (False, False): ({Fit.SAME, Fit.BELOW}, {Fit.APART}),
    (False, True): ({Fit.APART}, {Fit.SAME, Fit.BELOW}),
    (True, False): (set(), {Fit.SAME, Fit.ABOVE}),
    (True, True): ({Fit.SAME, Fit.ABOVE}, set()),
}
"""By the two clauses' negation: which fits of the positive clauses entail and which contradict."""


def compare(first: Clause, second: Clause) -> Fit:
    """How the first clause lies to the second, negation aside.

    Clauses exclude each other where they agree in all else but say opposite things of it.
    """
    fits = _fits(first, second)
    if Fit.OTHER in fits:
        return Fit.OTHER
    if Fit.APART in fits:
        return Fit.OTHER if Fit.ABOVE in fits else Fit.APART
    strict = set(fits) - {Fit.SAME}
    if not strict:
        return Fit.SAME
    return strict.pop() if len(strict) == 1 else Fit.OTHER


def likeness(first: Clause, second: Clause) -> float:
    """Similarity from 0 to 5 as in STS-B: 5 for one meaning, less by every part that differs."""
    weights = {Fit.SAME: 1.0, Fit.BELOW: 0.6, Fit.ABOVE: 0.6, Fit.APART: 0.4, Fit.OTHER: 0.0}
    shared = [weights[fit] for fit in _fits(first, second)]
    if first.negated != second.negated:
        shared.append(0.0)
    return round(5 * sum(shared) / len(shared), 2)


def _fits(first: Clause, second: Clause) -> list[Fit]:
    """Of verb, agent, patient and place, as far as either clause has them."""
    pairs = [(first.agent, second.agent), (first.patient, second.patient), (first.place, second.place)]
    return [_fit_words(first.verb, second.verb), *(_fit_things(a, b) for a, b in pairs if a or b)]


def _fit_things(first: Entity | None, second: Entity | None) -> Fit:
    if first is None or second is None:
        return Fit.ABOVE if first is None else Fit.BELOW
    fits = {_fit_words(first.noun, second.noun), _fit_quality(first.adjective, second.adjective)} - {Fit.SAME}
    if first.plural != second.plural or len(fits) > 1:
        return Fit.OTHER
    return fits.pop() if fits else Fit.SAME


def _fit_quality(first: Sense | None, second: Sense | None) -> Fit:
    """Of what a noun is said to be like: a big dog is a dog; a small dog is another one."""
    if first == second:
        return Fit.SAME
    if first is None or second is None:
        return Fit.ABOVE if first is None else Fit.BELOW
    return Fit.OTHER


def _fit_words(first: Sense, second: Sense) -> Fit:
    if first == second:
        return Fit.SAME
    if first.opposite == second.name:
        return Fit.APART
    if second.is_category and first.hypernym == second.name:
        return Fit.BELOW
    if first.is_category and second.hypernym == first.name:
        return Fit.ABOVE
    return Fit.OTHER
