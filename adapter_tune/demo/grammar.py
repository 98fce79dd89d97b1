"""Sentences from meanings: number, tense, negation, active and passive voice, questions."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from adapter_tune.demo.lexicon import LEXICON, participle, past, plural, third
from adapter_tune.demo.meaning import Clause, Entity

_NAMES = {sense.name for sense in LEXICON.values() if sense.part == "name"}


@dataclass(frozen=True)
class Style:
    """The choices that leave the meaning as it is."""

    tense: str = "past"
    """past or present."""
    passive: bool = False
    definite: bool = True


def draw_style(rng: Random, tense: str = "past") -> Style:
    """Voice and article at random."""
    return Style(tense, rng.random() < 0.35, rng.random() < 0.75)


def article(word: str) -> str:
    """The indefinite article that a word takes."""
    return "an" if word[0] in "aeiou" and not word.startswith("uni") else "a"


def noun_phrase(thing: Entity, rng: Random, definite: bool = True) -> str:
    """``the big dog``, ``a hound``, ``the dogs``, ``two dogs``, ``tom``; any word of the meaning."""
    word = rng.choice(thing.noun.words)
    if thing.noun.part == "name":
        return word
    words = [rng.choice(thing.adjective.words)] if thing.adjective else []
    words.append(plural(word) if thing.plural else word)
    if definite or thing.noun.part == "person":
        return " ".join(["the", *words])
    return " ".join(["some" if thing.plural else article(words[0]), *words])


def sentence(clause: Clause, rng: Random, style: Style, *, agrees: bool = True) -> str:
    """The words of a statement, in lower case and without the full stop.

    Args:
        clause: what it says.
        rng: picks among words of one meaning.
        style: picks among forms of one meaning.
        agrees: False gives subject and verb different numbers.
    """
    agent = noun_phrase(clause.agent, rng, style.definite)
    if clause.patient is None or not style.passive:
        return _join(agent, predicate(clause, rng, style, clause.agent.plural == agrees))
    patient = noun_phrase(clause.patient, rng, style.definite)
    auxiliary = be(style.tense, clause.patient.plural == agrees)
    done = participle(rng.choice(clause.verb.words))
    return _join(patient, auxiliary, "not" * clause.negated, done, "by", agent, _place(clause, rng))


def predicate(clause: Clause, rng: Random, style: Style, many: bool) -> str:
    """What is said of the agent, in the active voice: verb, patient, place."""
    word = rng.choice(clause.verb.words)
    if clause.is_state:
        return _join(be(style.tense, many), "not" * clause.negated, word)
    patient = noun_phrase(clause.patient, rng, style.definite) if clause.patient else ""
    return _join(finite(word, style.tense, many, clause.negated), patient, _place(clause, rng))


def question(clause: Clause, asked: str, rng: Random, style: Style) -> str:
    """A question for the agent (``who chased the cat``), the patient, or the place; without the question mark."""
    verb = rng.choice(clause.verb.words)
    who = "what" if asked != "place" and _asked(clause, asked).noun.kind in ("thing", "animal") else "who"
    place = "" if asked == "place" else _place(clause, rng)
    patient = noun_phrase(clause.patient, rng, style.definite) if clause.patient else ""
    agent = noun_phrase(clause.agent, rng, style.definite)
    if asked == "agent":
        if style.passive and clause.patient:
            return _join("by", "what" if who == "what" else "whom", be(style.tense, clause.patient.plural), patient,
                         participle(verb), place)  # fmt: skip
        return _join(who, finite(verb, style.tense, False), patient, place)
    word = "where" if asked == "place" else who
    object_ = patient if asked == "place" else ""
    if style.passive and clause.patient:
        subject = patient if asked == "place" else ""
        many = clause.patient.plural and asked == "place"
        return _join(word, be(style.tense, many), subject, participle(verb), "by", agent, place)
    do = "did" if style.tense == "past" else "do" if clause.agent.plural else "does"
    return _join(word, do, agent, verb, object_, place)


def finite(verb: str, tense: str, many: bool, negated: bool = False) -> str:
    """The finite form: chased, chases, chase, did not chase."""
    if negated:
        return ("did" if tense == "past" else "do" if many else "does") + " not " + verb
    return past(verb) if tense == "past" else verb if many else third(verb)


def be(tense: str, many: bool) -> str:
    """Was, were, is, are."""
    return {"past": ("was", "were"), "present": ("is", "are")}[tense][many]


def pronoun(thing: Entity) -> str:
    """he, she, they, or it."""
    if thing.plural:
        return "they"
    return thing.noun.kind if thing.noun.kind in ("he", "she") else "it"


def written(words: str, end: str = ".") -> str:
    """As one writes it: a capital, the end, no space before a comma."""
    names = (word.capitalize() if word in _NAMES else word for word in words.split())
    text = " ".join(names).replace(" ,", ",")
    return text[:1].upper() + text[1:] + end


def _asked(clause: Clause, asked: str) -> Entity:
    thing = clause.agent if asked == "agent" else clause.patient
    assert thing is not None
    return thing


def _place(clause: Clause, rng: Random) -> str:
    return f"in {noun_phrase(clause.place, rng)}" if clause.place else ""


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)
