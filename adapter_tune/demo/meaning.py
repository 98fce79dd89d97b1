"""What sentences of the demo language mean, and what follows from it: entailment, contradiction, similarity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from adapter_tune.demo.lexicon import Sense


@dataclass(frozen=True)
class Entity:
    """A participant: its noun, perhaps an adjective, and its number."""

    noun: Sense
    adjective: Sense | None = None
    plural: bool = False


@dataclass(frozen=True)
class Clause:
    """Somebody does something (to somebody, somewhere), or somebody has a quality; or the negation of it."""

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

    def entities(self) -> dict[str, Entity]:
        """Return the participants by slot: agent, and patient and place if the clause has them."""
        slots = {"agent": self.agent, "patient": self.patient, "place": self.place}
        return {slot: entity for slot, entity in slots.items() if entity is not None}

    def with_(self, **slots: object) -> Clause:
        """Return the clause with some slots changed."""
        return replace(self, **slots)  # type: ignore[arg-type]


class Fit(Enum):
    """How one meaning relates to another (the basic relations of natural logic, MacCartney and Manning 2009)."""

    SAME = "="
    BELOW = "<"
    """The first is more specific: a dog is an animal."""
    ABOVE = ">"
    APART = "|"
    """They exclude each other."""
    OTHER = "#"


def relation(premise: Clause, hypothesis: Clause) -> str:
    """Return what the premise says about the hypothesis: entailment, contradiction or neutral."""
    entails, contradicts = _VERDICTS[premise.negated, hypothesis.negated]
    fit = compare(premise, hypothesis)
    if fit in entails:
        return "entailment"
    return "contradiction" if fit in contradicts else "neutral"


_VERDICTS = {
    (False, False): ({Fit.SAME, Fit.BELOW}, {Fit.APART}),
    (False, True): ({Fit.APART}, {Fit.SAME, Fit.BELOW}),
    (True, False): (set(), {Fit.SAME, Fit.ABOVE}),
    (True, True): ({Fit.SAME, Fit.ABOVE}, set()),
}
"""By the negation of the two clauses: which fits of the positive clauses entail, and which contradict."""


def compare(first: Clause, second: Clause) -> Fit:
    """Return how the first clause relates to the second; negation is ignored.

    Clauses exclude each other if they differ in nothing but opposite words.
    """
    fits = _fits(first, second)
    if Fit.OTHER in fits:
        return Fit.OTHER
    if Fit.APART in fits:
        return Fit.OTHER if Fit.ABOVE in fits else Fit.APART
    differences = set(fits) - {Fit.SAME}
    if not differences:
        return Fit.SAME
    return differences.pop() if len(differences) == 1 else Fit.OTHER


def similarity(first: Clause, second: Clause) -> float:
    """Return the similarity from 0 to 5 as in STS-B: 5 for the same meaning, less for every part that differs."""
    weights = {Fit.SAME: 1.0, Fit.BELOW: 0.6, Fit.ABOVE: 0.6, Fit.APART: 0.4, Fit.OTHER: 0.0}
    shared = [weights[fit] for fit in _fits(first, second)]
    if first.negated != second.negated:
        shared.append(0.0)
    return round(5 * sum(shared) / len(shared), 2)


def _fits(first: Clause, second: Clause) -> list[Fit]:
    """How verb, agent, patient and place relate, if at least one of the clauses has them."""
    pairs = [(first.agent, second.agent), (first.patient, second.patient), (first.place, second.place)]
    return [_fit_words(first.verb, second.verb), *(_fit_entities(a, b) for a, b in pairs if a or b)]


def _fit_entities(first: Entity | None, second: Entity | None) -> Fit:
    if first is None or second is None:
        return Fit.ABOVE if first is None else Fit.BELOW
    fits = {_fit_words(first.noun, second.noun), _fit_quality(first.adjective, second.adjective)}
    differences = fits - {Fit.SAME}
    if first.plural != second.plural or len(differences) > 1:
        return Fit.OTHER
    return differences.pop() if differences else Fit.SAME


def _fit_quality(first: Sense | None, second: Sense | None) -> Fit:
    """How two adjectives of a noun relate: a big dog is a dog; a small dog is another one."""
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
