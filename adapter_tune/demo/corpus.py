"""The text that the demo backbone is pretrained on: statements about words, stories, arguments, questions, reviews.

Every document has two parts, as BERT's (Devlin et al. 2019, section 3.1); the second may be empty. No document
has a task's label, but link words say how its sentences are related ("so", "perhaps", "however"), as in real text.
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
from adapter_tune.demo.meaning import Clause, similarity
from adapter_tune.demo.world import World

Document = tuple[str, str]


def documents(count: int, seed: int = 0) -> Iterator[Document]:
    """Yield documents of all kinds with words of all pools; the same seed gives the same documents."""
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
"""Words that say how the parts of a document are related. The last word of each row goes before the first part, as a
heading; the others go before the second part."""
DEGREES = ("nothing", "little", "something", "much", "most", "everything")
"""How much two sentences have in common."""


def _linked(world: World, link: str, first: str, second: str) -> Document:
    """Return two parts with a word that says how they are related."""
    *inner, heading = LINKS[link]
    if not second or world.rng.random() < 0.5:
        return f"{heading} : {first}", second
    return first, f"{world.rng.choice(inner)} : {second}"


def _argument(world: World) -> Document:
    """A sentence, and another one that follows from it, contradicts it, or neither."""
    label = world.rng.choice(("entailment", "neutral", "contradiction"))
    premise, hypothesis = scenes.inference(world, label)
    return _linked(world, label, _statement(premise, world.rng), _statement(hypothesis, world.rng))


def _restatement(world: World) -> Document:
    """A sentence, and the same in other words or a similar sentence."""
    same = world.rng.random() < 0.5
    first, second = scenes.paraphrase(world, same, world.rng.choice((1, 1, 2, 4)))
    link = "same" if same else "other"
    return _linked(world, link, _statement(first, world.rng), _statement(second, world.rng))


def _comparison(world: World) -> Document:
    """Two sentences and how much they have in common."""
    rng = world.rng
    first = world.clause()
    is_near = rng.random() < 0.85
    second = world.near(first, rng.choice((0, 1, 1, 2, 2, 3))) if is_near else world.clause()
    if rng.random() < 0.12:
        second = second.with_(negated=True)
    comparison = f"{DEGREES[round(similarity(first, second))]} in common"
    if rng.random() < 0.5:
        return f"{comparison} : {_statement(first, rng)}", _statement(second, rng)
    return _statement(first, rng), f"{comparison} : {_statement(second, rng)}"


def _compound(world: World) -> Document:
    """A sentence of two clauses, and another one that follows from it or does not."""
    clauses, text = scenes.double(world)
    follows = world.rng.random() < 0.5
    link = "entailment" if follows else "neutral"
    while True:
        hypothesis = world.near(world.rng.choice(clauses), world.rng.choice((0, 1, 1)))
        if scenes.follows(clauses, hypothesis) == follows:
            return _linked(world, link, text + " .", _statement(hypothesis, world.rng))


def _answer(world: World) -> Document:
    """A question, and a sentence that answers it or does not; or a sentence, a question, and its short answer."""
    rng = world.rng
    is_answer = rng.random() < 0.5
    clause, slot, statement = scenes.question_and_statement(world, is_answer)
    question_text = question(clause, slot, rng, draw_style(rng)) + " ?"
    if rng.random() < 0.75:
        link = "answered" if is_answer else "unanswered"
        return _linked(world, link, question_text, _statement(statement, rng))
    short_answer = "we cannot tell ."
    if is_answer:
        preposition = "in " if slot == "place" else ""
        short_answer = f"{preposition}{noun_phrase(statement.entities()[slot], rng)} ."
    return _statement(statement, rng), f"{question_text} {short_answer}"


def _two_questions(world: World) -> Document:
    """Two questions with the same meaning or with different ones."""
    rng = world.rng
    same = rng.random() < 0.5
    pair = scenes.questions(world, same)
    first, second = [question(clause, slot, rng, draw_style(rng)) + " ?" for clause, slot in pair]
    return _linked(world, "same" if same else "other", first, second)


def _reason(world: World) -> Document:
    """A sentence with a pronoun, and the same about the right participant or about the other one."""
    text, true, false = scenes.reference(world)
    if world.rng.random() < 0.5:
        return _linked(world, "entailment", text + " .", true + " .")
    return _linked(world, "neutral", text + " .", false + " .")


def _lesson(world: World) -> Document:
    """As from a grammar book: a sentence, right or wrong, and the teacher's verdict."""
    good, bad = scenes.broken(world)
    if world.rng.random() < 0.5:
        return _linked(world, "right", good + " .", "")
    correction = good + " ." if world.rng.random() < 0.3 else ""
    return _linked(world, "wrong", bad + " .", correction)


def _story(world: World) -> Document:
    """Three sentences about the same hero, who is named by synonyms, a pronoun and a category."""
    rng = world.rng
    hero = world.being()
    first = sentence(world.clause_about(hero), rng, Style())
    second = f"{pronoun(hero)} {predicate(world.clause_about(hero), rng, Style(), hero.plural)}"
    last_clause = world.clause_about(hero)
    if hero.noun.hypernym:
        last_clause = world.general(last_clause)
    last = sentence(last_clause, rng, Style())
    return f"one day {first} . then {second} .", f"in the end {last} ."


def _plain(world: World) -> Document:
    """One sentence, in past or present tense."""
    rng = world.rng
    style = draw_style(rng, rng.choice(("past", "present")))
    clause = world.clause().with_(negated=rng.random() < 0.25)
    return sentence(clause, rng, style) + " .", ""


def _review(world: World) -> Document:
    """Praise or blame, perhaps followed by more of the same."""
    good = world.rng.random() < 0.5
    second = ""
    if world.rng.random() < 0.5:
        second = scenes.review(world, good) + " ."
    return _linked(world, "praise" if good else "blame", scenes.review(world, good) + " .", second)


def _fact(world: World) -> Document:
    """How a word is related to another word."""
    rng = world.rng
    sense = rng.choice(list(LEXICON.values()))
    word = rng.choice(sense.words)
    facts = []
    for write_fact in (_kind, _synonym, _opposite, _verdict, _gender):
        fact = write_fact(sense, word, rng)
        if fact:  # an empty one does not apply to the word
            facts.append(fact)
    if not facts:
        facts.append(_similar_use(sense, word, rng))
    return rng.choice(facts) + " .", ""


def _kind(sense: Sense, word: str, rng: Random) -> str:
    if not sense.hypernym or sense.is_category:
        return ""
    category = sense.hypernym
    sentences = (
        f"{article(word)} {word} is {article(category)} {category}",
        f"{plural(word)} are {plural(category)}",
        f"every {word} is a kind of {category}",
    )
    return rng.choice(sentences)


def _synonym(sense: Sense, word: str, rng: Random) -> str:
    if len(sense.words) < 2:
        return ""
    other = rng.choice([w for w in sense.words if w != word])
    to = "to " if sense.part == "verb" else ""
    return rng.choice((f"{to}{word} is the same as {to}{other}", f"{to}{word} means {to}{other}"))


def _opposite(sense: Sense, word: str, rng: Random) -> str:
    if not sense.opposite:
        return ""
    other = rng.choice(LEXICON[sense.opposite].words)
    to = "to " if sense.part == "verb" else ""
    return rng.choice((f"{to}{word} is the opposite of {to}{other}", f"{to}{word} is not {to}{other}"))


def _verdict(sense: Sense, word: str, rng: Random) -> str:
    if sense.part != "verdict":
        return ""
    other = rng.choice(senses("verdict", POOLS, (sense.kind,))).name
    reaction = LINKS[sense.kind][-1]
    return rng.choice((f"what is {word} earns {reaction}", f"what is {word} is often {other} too"))


def _gender(sense: Sense, word: str, rng: Random) -> str:
    if sense.kind not in ("he", "she"):
        return ""
    who = "man" if sense.kind == "he" else "woman"
    return f"{word} is a {who}" if sense.part == "name" else f"the {word} is a {who}"


def _similar_use(sense: Sense, word: str, rng: Random) -> str:
    """For a word without other relations: a word that is used like it."""
    other = rng.choice([s for s in LEXICON.values() if (s.part, s.kind) == (sense.part, sense.kind)])
    return f"the word {word} is used like the word {rng.choice(other.words)}"


def _statement(clause: Clause, rng: Random) -> str:
    return sentence(clause, rng, draw_style(rng)) + " ."


_WRITERS: tuple[tuple[Callable[[World], Document], int], ...] = (
    (_argument, 30),
    (_restatement, 9),
    (_comparison, 9),
    (_compound, 10),
    (_answer, 9),
    (_two_questions, 7),
    (_reason, 6),
    (_lesson, 6),
    (_story, 2),
    (_plain, 2),
    (_review, 8),
    (_fact, 6),
)
"""Kinds of document, and how often each is written."""
