"""What tasks and pretraining text are made of: pairs of clauses, questions, reviews, pronouns, broken sentences."""

from __future__ import annotations

from random import Random

from adapter_tune.demo.grammar import (
    Style,
    article,
    be,
    draw_style,
    noun_phrase,
    predicate,
    pronoun,
    sentence,
)
from adapter_tune.demo.lexicon import LEXICON, participle, past, senses, third
from adapter_tune.demo.meaning import Clause, Entity, Fit, compare, relation
from adapter_tune.demo.world import World

_POLARITIES = {
    "entailment": (((False, False), 10), ((True, True), 7), ((False, True), 3)),
    "contradiction": (((False, False), 7), ((False, True), 7), ((True, False), 6)),
    "neutral": (((False, False), 8), ((True, True), 4), ((False, True), 4), ((True, False), 4)),
}
"""How often premise and hypothesis are negated, by label; "not" alone says next to nothing of the label."""

_AUXILIARIES = ("was", "were", "is", "are", "did", "does", "do")
_BASES = {f(word): word for sense in LEXICON.values() if sense.part == "verb" for word in sense.words
          for f in (str, third, past, participle)}  # fmt: skip
"""Every form of a verb with its base form."""


def inference(world: World, label: str) -> tuple[Clause, Clause]:
    """A premise and a hypothesis of which ``relation`` says ``label``."""
    rng = world.rng
    negations, weights = zip(*_POLARITIES[label], strict=True)
    while True:
        premise = world.clause()
        if rng.random() < 0.15:
            premise = world.general(premise)
        negated, hypothesis_negated = rng.choices(negations, weights)[0]
        premise = premise.with_(negated=negated)
        hypothesis = world.near(premise, rng.choice((0, 1, 1, 2))).with_(negated=hypothesis_negated)
        # "The animal did not sleep" would have to be "no animal slept" to say something of the dog.
        if negated and compare(premise, hypothesis) in (Fit.ABOVE, Fit.BELOW):
            continue
        if relation(premise, hypothesis) == label:
            return premise, hypothesis


def paraphrase(world: World, same: bool, changes: int = 1) -> tuple[Clause, Clause]:
    """Two clauses with one meaning, or with two that are so many changes apart."""
    while True:
        first = world.swappable() if world.rng.random() < 0.5 else world.clause()
        first = first.with_(negated=world.rng.random() < 0.15)
        second = world.near(first, 0 if same else changes)
        if (compare(first, second) is Fit.SAME) == same:
            return first, second


def asking(world: World) -> tuple[Clause, str]:
    """A clause and the slot of it that is asked for."""
    while (clause := world.clause(states=0)).patient is None and clause.place is None:
        pass
    slots = [slot for slot in ("agent", "patient", "place") if getattr(clause, slot)]
    return clause, world.rng.choice(slots)


def questions(world: World, same: bool) -> tuple[tuple[Clause, str], tuple[Clause, str]]:
    """Two questions, each a clause and the slot that is asked for, with one meaning or with two."""
    rng = world.rng
    first, slot = asking(world)
    while not same:
        if rng.random() < 0.25:
            second, other = first, rng.choice([s for s in ("agent", "patient", "place") if getattr(first, s)])
            if other == slot:
                continue
            return (first, slot), (second, other)
        second = world.near(first)
        if getattr(second, slot) and not (answers(second, first, slot) or answers(first, second, slot)):
            return (first, slot), (second, slot)
    return (first, slot), (first, slot)


def answers(statement: Clause, asked_of: Clause, slot: str) -> bool:
    """True where the statement tells what a question for a slot of a clause asks."""
    if getattr(statement, slot) is None:
        return False
    return compare(statement.with_(**{slot: asked_of.agent}), asked_of.with_(**{slot: asked_of.agent})) in (
        Fit.SAME,
        Fit.BELOW,
    )


def double(world: World) -> tuple[list[Clause], str]:
    """Two clauses and one sentence that says both: joined by a conjunction, or one inside the other."""
    rng = world.rng
    first, second = world.clause(placed=0.2, states=0), world.clause(placed=0.2)
    if first.agent.noun.part != "name" and rng.random() < 0.5:
        second = world.said_of(first.agent)
        style, many = Style(), first.agent.plural
        both = (predicate(clause, rng, style, many) for clause in (first, second))
        return [first, second], " ".join([noun_phrase(first.agent, rng), "that", *both])
    text = rng.choice(("{} and {}", "after {} , {}", "{} while {}", "{} before {}"))
    return [first, second], text.format(*(sentence(clause, rng, draw_style(rng)) for clause in (first, second)))


def follows(clauses: list[Clause], hypothesis: Clause) -> bool:
    """True where one of the clauses entails the hypothesis."""
    return "entailment" in [relation(clause, hypothesis) for clause in clauses]


def broken(world: World) -> tuple[str, str]:
    """A sentence and the same sentence with one fault: agreement, form of a verb, or order of words."""
    rng = world.rng
    while True:
        clause = world.clause().with_(negated=rng.random() < 0.25)
        style = draw_style(rng, rng.choice(("past", "present")))
        state = rng.getstate()
        good = sentence(clause, rng, style)
        rng.setstate(state)
        fault = rng.choice(("agreement", "form", "order"))
        if fault == "agreement":
            bad = sentence(clause, rng, style, agrees=False)
        else:
            bad = " ".join((_wrong_form if fault == "form" else _wrong_order)(good.split(), rng))
        if bad != good:
            return good, bad


def _wrong_form(words: list[str], rng: Random) -> list[str]:
    """The verb after did, does or be in a form that does not go there."""
    for index, word in enumerate(words[1:], 1):
        base = _BASES.get(word)
        before = words[index - 1] if words[index - 1] != "not" else words[index - 2]
        if base is None or before not in _AUXILIARIES:
            continue
        forms = {f(base) for f in (str, third, past, participle)} - {word}
        allowed = {base} if before in ("did", "do", "does") else {participle(base)}
        return [*words[:index], rng.choice(sorted(forms - allowed)), *words[index + 1 :]]
    return words


def _wrong_order(words: list[str], rng: Random) -> list[str]:
    """A small word and the one after it the wrong way round."""
    index = rng.choice(
        [i for i, word in enumerate(words[:-1]) if word in ("the", "a", "an", "some", "in", "by")] or [0]
    )
    return [*words[:index], words[index + 1], words[index], *words[index + 2 :]]


def review(world: World, good: bool) -> str:
    """A sentence that praises or blames a work."""
    rng = world.rng

    def verdict(praise: bool) -> str:
        return rng.choice(senses("verdict", world.pools, ("praise" if praise else "blame",))).name

    first, second = rng.sample(senses("reviewed", world.pools), 2)
    it, also = rng.choice(first.words), rng.choice(second.words)
    very = rng.choice(("", "", "very ", "truly ", "really ", "quite ", "so "))
    word, opposite = verdict(good), verdict(not good)
    return rng.choice((
        f"the {it} was {very}{word}",
        f"the {it} was {very}{word} and the {also} was {verdict(good)}",
        f"it was {article((very + word).split()[0])} {very}{word} {it}",
        f"the {it} was not {opposite}",
        f"the {it} was never {opposite} and always {word}",
        f"the {it} was hardly {opposite}",
        f"it was by no means {article(opposite)} {opposite} {it}",
        f"the {it} was {word} , not {opposite}",
        f"although the {also} was {opposite} , the {it} was {very}{word}",
        f"the {it} was {very}{word} although the {also} was {opposite}",
    ))  # fmt: skip


def reference(world: World) -> tuple[str, str, str]:
    """A sentence with a pronoun, what it says of the one who is meant, and the same of the other.

    Gender and number alone tell who is meant (unlike in WNLI, where it takes knowledge of the world).
    """
    rng = world.rng
    first, second = _person(world), _person(world)
    while pronoun(first) == pronoun(second) or first.noun == second.noun:
        second = _person(world)
    action = world.swappable().with_(agent=first, patient=second, place=None)
    meant, other = rng.sample((first, second), 2)
    quality = rng.choice(senses("adjective", world.pools, ("being",)))
    reason = f"because {pronoun(meant)} {be('past', meant.plural)} {rng.choice(quality.words)}"
    texts = [sentence(Clause(who, quality), rng, Style()) for who in (meant, other)]
    return f"{sentence(action, rng, draw_style(rng))} {reason}", texts[0], texts[1]


def _person(world: World) -> Entity:
    rng = world.rng
    if rng.random() < 0.3:
        return Entity(world.noun("person", "animal"), plural=True)
    return Entity(rng.choice(world.people))
