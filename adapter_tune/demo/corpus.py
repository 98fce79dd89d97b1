"""The text that the demo backbone is pretrained on: statements about words, stories, arguments, questions, reviews.

Every document has two parts, as BERT's have (Devlin et al. 2019, section 3.1); the second may be empty. No document
holds a task's label, but text says how its sentences hang together ("so", "perhaps", "however"), as real text does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from adapter_tune.demo import scenes
from adapter_tune.demo.grammar import (
    Style,
    article,
    draw_style,
    noun_phrase,
    predicate,
    pronoun,
    question,
    sentence,
)
from adapter_tune.demo.lexicon import LEXICON, POOLS, Sense, plural, senses
from adapter_tune.demo.meaning import Clause, likeness
from adapter_tune.demo.world import World

Document = tuple[str, str]


def documents(count: int, seed: int = 0) -> Iterator[Document]:
    """Documents of all kinds, over the words of all pools; the same ones for the same seed."""
    rng = Random(f"{seed} corpus")
    world = World(rng, POOLS)
    writers, weights = zip(*_WRITERS, strict=True)
    for _ in range(count):
        yield rng.choices(writers, weights)[0](world)


LINKS = {
    "entailment": ("so", "therefore", "surely", "agreed"),
    "neutral": ("perhaps", "maybe", "possibly", "undecided"),
    "contradiction": ("never", "impossible", "wrongly", "denied"),
    "same": ("likewise", "again", "namely", "same"),
    "other": ("elsewhere", "however", "instead", "other"),
    "answered": ("indeed", "known"),
    "unanswered": ("alas", "unknown"),
    "right": ("well", "correct"),
    "wrong": ("badly", "incorrect"),
    "praise": ("thankfully", "applause"),
    "blame": ("regrettably", "boos"),
}
"""Words that say how the parts of a document hang together. The last one of each stands before the first part, as a
heading, the others before the second."""
DEGREES = ("nothing", "little", "something", "much", "most", "everything")
"""How much two sentences have in common."""


def _linked(world: World, link: str, first: str, second: str) -> Document:
    """Two parts and the word that says how they hang together."""
    *inner, heading = LINKS[link]
    if not second or world.rng.random() < 0.5:
        return f"{heading} : {first}", second
    return first, f"{world.rng.choice(inner)} : {second}"


def _argument(world: World) -> Document:
    """A sentence, and another that follows from it, or can't be, or may be."""
    label = world.rng.choice(("entailment", "neutral", "contradiction"))
    premise, hypothesis = scenes.inference(world, label)
    return _linked(world, label, _say(premise, world.rng), _say(hypothesis, world.rng))


def _restatement(world: World) -> Document:
    """A sentence said again in other words, or set against one like it."""
    same = world.rng.random() < 0.5
    first, second = scenes.paraphrase(world, same, world.rng.choice((1, 1, 2, 4)))
    return _linked(world, "same" if same else "other", _say(first, world.rng), _say(second, world.rng))


def _comparison(world: World) -> Document:
    """Two sentences and how much they have in common."""
    rng = world.rng
    first = world.clause()
    second = world.near(first, rng.choice((0, 1, 1, 2, 2, 3))) if rng.random() < 0.85 else world.clause()
    if rng.random() < 0.12:
        second = second.with_(negated=True)
    much = DEGREES[round(likeness(first, second))]
    if rng.random() < 0.5:
        return f"{much} in common : {_say(first, rng)}", _say(second, rng)
    return _say(first, rng), f"{much} in common : {_say(second, rng)}"


def _compound(world: World) -> Document:
    """A sentence of two clauses, and what follows from it."""
    clauses, text = scenes.double(world)
    wanted = world.rng.random() < 0.5
    while True:
        hypothesis = world.near(world.rng.choice(clauses), world.rng.choice((0, 1, 1)))
        if scenes.follows(clauses, hypothesis) == wanted:
            return _linked(world, "entailment" if wanted else "neutral", text + " .", _say(hypothesis, world.rng))


def _answer(world: World) -> Document:
    """A question, and a sentence that answers it or does not; or a sentence, a question, and its short answer."""
    rng = world.rng
    wanted = rng.random() < 0.5
    while True:
        asked_of, slot = scenes.asking(world)
        statement = world.near(asked_of, 0 if wanted else 1)
        if scenes.answers(statement, asked_of, slot) == wanted:
            break
    asked = question(asked_of, slot, rng, draw_style(rng)) + " ?"
    if rng.random() < 0.75:
        return _linked(world, "answered" if wanted else "unanswered", asked, _say(statement, rng))
    answer = getattr(statement, slot)
    short = f"{'in ' * (slot == 'place')}{noun_phrase(answer, rng)} ." if wanted else "we cannot tell ."
    return _say(statement, rng), f"{asked} {short}"


def _asked_again(world: World) -> Document:
    """Two questions, the same one or another."""
    rng = world.rng
    same = rng.random() < 0.5
    pair = scenes.questions(world, same)
    first, second = (question(clause, slot, rng, draw_style(rng)) + " ?" for clause, slot in pair)
    return _linked(world, "same" if same else "other", first, second)


def _reason(world: World) -> Document:
    """A sentence with a pronoun, and who was meant, or who was not."""
    text, true, false = scenes.reference(world)
    if world.rng.random() < 0.5:
        return _linked(world, "entailment", text + " .", true + " .")
    return _linked(world, "neutral", text + " .", false + " .")


def _lesson(world: World) -> Document:
    """From a grammar book: a sentence, whole or broken, and what the teacher says of it."""
    good, bad = scenes.broken(world)
    if world.rng.random() < 0.5:
        return _linked(world, "right", good + " .", "")
    return _linked(world, "wrong", bad + " .", good + " ." if world.rng.random() < 0.3 else "")


def _story(world: World) -> Document:
    """Several sentences about the same two, who are called by other words and pronouns."""
    rng = world.rng
    hero = world.being()
    parts = []
    for turn in range(3):
        clause = world.said_of(hero)
        if turn == 2 and hero.noun.hypernym:
            clause = clause.with_(agent=Clause(hero, clause.verb).agent)
            clause = world.general(clause)
        if turn == 1:
            text = f"{pronoun(clause.agent)} {predicate(clause, rng, Style(), clause.agent.plural)}"
        else:
            text = sentence(clause, rng, Style())
        parts.append(f"{('one day', 'then', 'in the end')[turn]} {text} .")
    return " ".join(parts[:2]), parts[2]


def _plain(world: World) -> Document:
    """One sentence, past or present."""
    rng = world.rng
    style = draw_style(rng, rng.choice(("past", "present")))
    clause = world.clause().with_(negated=rng.random() < 0.25)
    return sentence(clause, rng, style) + " .", ""


def _review(world: World) -> Document:
    """Praise or blame, and the same view again."""
    good = world.rng.random() < 0.5
    second = scenes.review(world, good) + " ." if world.rng.random() < 0.5 else ""
    return _linked(world, "praise" if good else "blame", scenes.review(world, good) + " .", second)


def _fact(world: World) -> Document:
    """What a word has to do with another."""
    rng = world.rng
    sense = rng.choice(list(LEXICON.values()))
    word = rng.choice(sense.words)
    facts = [fact for make in (_kind, _synonym, _opposite, _verdict, _gender) if (fact := make(sense, word, rng))]
    return rng.choice(facts or [_kindred(sense, word, rng)]) + " .", ""


def _kind(sense: Sense, word: str, rng: Random) -> str:
    if not sense.hypernym or sense.is_category:
        return ""
    above = sense.hypernym
    return rng.choice((
        f"{article(word)} {word} is {article(above)} {above}",
        f"{plural(word)} are {plural(above)}",
        f"every {word} is a kind of {above}",
    ))  # fmt: skip


def _synonym(sense: Sense, word: str, rng: Random) -> str:
    if len(sense.words) < 2:
        return ""
    other = rng.choice([w for w in sense.words if w != word])
    mark = "to " * (sense.part == "verb")
    return rng.choice((f"{mark}{word} is the same as {mark}{other}", f"{mark}{word} means {mark}{other}"))


def _opposite(sense: Sense, word: str, rng: Random) -> str:
    if not sense.opposite:
        return ""
    other = rng.choice(LEXICON[sense.opposite].words)
    mark = "to " * (sense.part == "verb")
    return rng.choice((f"{mark}{word} is the opposite of {mark}{other}", f"{mark}{word} is not {mark}{other}"))


def _verdict(sense: Sense, word: str, rng: Random) -> str:
    if sense.part != "verdict":
        return ""
    other = rng.choice(senses("verdict", POOLS, (sense.kind,))).name
    *_, heard = LINKS[sense.kind]
    return rng.choice((f"what is {word} earns {heard}", f"what is {word} is often {other} too"))


def _gender(sense: Sense, word: str, rng: Random) -> str:
    if sense.kind not in ("he", "she"):
        return ""
    who = "man" if sense.kind == "he" else "woman"
    return f"{word} is a {who}" if sense.part == "name" else f"the {word} is a {who}"


def _kindred(sense: Sense, word: str, rng: Random) -> str:
    """Of a word without other relations: one that is used like it."""
    other = rng.choice([s for s in LEXICON.values() if (s.part, s.kind) == (sense.part, sense.kind)])
    return f"the word {word} is used like the word {rng.choice(other.words)}"


def _say(clause: Clause, rng: Random) -> str:
    return sentence(clause, rng, draw_style(rng)) + " ."


_WRITERS: tuple[tuple[Callable[[World], Document], int], ...] = (
    (_argument, 30), (_restatement, 9), (_comparison, 9), (_compound, 10), (_answer, 9), (_asked_again, 7),
    (_reason, 6), (_lesson, 6), (_story, 2), (_plain, 2), (_review, 8), (_fact, 6),
)  # fmt: skip
"""Kinds of document with their shares."""
