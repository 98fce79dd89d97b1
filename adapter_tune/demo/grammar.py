"""Sentences from meanings: number, tense, negation, active and passive voice, questions."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from adapter_tune.demo.lexicon import LEXICON, participle, past, plural, third
from adapter_tune.demo.meaning import Clause, Entity

_NAMES = {sense.name for sense in LEXICON.values() if sense.part == "name"}


@dataclass(frozen=True)
class Style:
    """The choices that do not change the meaning."""

    tense: str = "past"
    """past or present."""
    passive: bool = False
    definite: bool = True


def draw_style(rng: Random, tense: str = "past") -> Style:
    """Draw voice and article."""
    return Style(tense, rng.random() < 0.35, rng.random() < 0.75)


def article(word: str) -> str:
    """Return the indefinite article for a word."""
    return "an" if word[0] in "aeiou" and not word.startswith("uni") else "a"


def noun_phrase(entity: Entity, rng: Random, definite: bool = True) -> str:
    """Return a noun phrase: ``the big dog``, ``a hound``, ``some dogs``, ``tom``; synonyms are drawn."""
    word = rng.choice(entity.noun.words)
    if entity.noun.part == "name":
        return word
    words = [rng.choice(entity.adjective.words)] if entity.adjective else []
    words.append(plural(word) if entity.plural else word)
    if definite or entity.noun.part == "person":
        determiner = "the"
    elif entity.plural:
        determiner = "some"
    else:
        determiner = article(words[0])
    return " ".join([determiner, *words])


def sentence(clause: Clause, rng: Random, style: Style, *, agrees: bool = True) -> str:
    """Return the words of a statement, in lower case and without the full stop.

    Args:
        clause: the meaning.
        rng: draws synonyms.
        style: decides the form.
        agrees: False gives subject and verb different numbers.
    """
    agent = noun_phrase(clause.agent, rng, style.definite)
    if clause.patient is None or not style.passive:
        return _join(agent, predicate(clause, rng, style, clause.agent.plural == agrees))
    patient = noun_phrase(clause.patient, rng, style.definite)
    auxiliary = be(style.tense, clause.patient.plural == agrees)
    verb = participle(rng.choice(clause.verb.words))
    return _join(patient, auxiliary, _negation(clause), verb, "by", agent, _place(clause, rng))


def predicate(clause: Clause, rng: Random, style: Style, plural_subject: bool) -> str:
    """Return what a clause says about its agent, in the active voice: verb, patient, place."""
    word = rng.choice(clause.verb.words)
    if clause.is_state:
        return _join(be(style.tense, plural_subject), _negation(clause), word)
    verb = finite(word, style.tense, plural_subject, clause.negated)
    patient = noun_phrase(clause.patient, rng, style.definite) if clause.patient else ""
    return _join(verb, patient, _place(clause, rng))


def question(clause: Clause, slot: str, rng: Random, style: Style) -> str:
    """Return a question for the agent (``who chased the cat``), the patient or the place, without question mark."""
    verb = rng.choice(clause.verb.words)
    place = "" if slot == "place" else _place(clause, rng)
    patient = noun_phrase(clause.patient, rng, style.definite) if clause.patient else ""
    agent = noun_phrase(clause.agent, rng, style.definite)
    if slot == "agent":
        return _agent_question(clause, verb, patient, place, style)
    if slot == "place":
        word = "where"
        plural_subject = clause.patient is not None and clause.patient.plural
    else:
        word = _who_or_what(clause.patient)
        patient = ""
        plural_subject = False
    if style.passive and clause.patient:
        return _join(word, be(style.tense, plural_subject), patient, participle(verb), "by", agent, place)
    return _join(word, do(style.tense, clause.agent.plural), agent, verb, patient, place)


def _agent_question(clause: Clause, verb: str, patient: str, place: str, style: Style) -> str:
    word = _who_or_what(clause.agent)
    if style.passive and clause.patient:
        by_word = "what" if word == "what" else "whom"
        return _join("by", by_word, be(style.tense, clause.patient.plural), patient, participle(verb), place)
    return _join(word, finite(verb, style.tense, False), patient, place)


def _who_or_what(entity: Entity | None) -> str:
    assert entity is not None
    return "what" if entity.noun.kind in ("thing", "animal") else "who"


def finite(verb: str, tense: str, plural_subject: bool, negated: bool = False) -> str:
    """Return the finite form: chased, chases, chase, did not chase."""
    if negated:
        return f"{do(tense, plural_subject)} not {verb}"
    if tense == "past":
        return past(verb)
    return verb if plural_subject else third(verb)


def do(tense: str, plural_subject: bool) -> str:
    """Return did, do or does."""
    if tense == "past":
        return "did"
    return "do" if plural_subject else "does"


def be(tense: str, plural_subject: bool) -> str:
    """Return was, were, is or are."""
    if tense == "past":
        return "were" if plural_subject else "was"
    return "are" if plural_subject else "is"


def pronoun(entity: Entity) -> str:
    """Return he, she, they or it."""
    if entity.plural:
        return "they"
    return entity.noun.kind if entity.noun.kind in ("he", "she") else "it"


def written(words: str, end: str = ".") -> str:
    """Return the words as written text: capitals, punctuation, no space before a comma."""
    names = (word.capitalize() if word in _NAMES else word for word in words.split())
    text = " ".join(names).replace(" ,", ",")
    return text[:1].upper() + text[1:] + end


def _negation(clause: Clause) -> str:
    return "not" if clause.negated else ""


def _place(clause: Clause, rng: Random) -> str:
    return f"in {noun_phrase(clause.place, rng)}" if clause.place else ""


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)
