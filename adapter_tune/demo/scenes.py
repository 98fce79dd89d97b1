"""What tasks and pretraining text consist of: pairs of clauses, questions, reviews, pronouns, faulty sentences."""

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
"""How often premise and hypothesis are negated, by label; "not" alone says next to nothing about the label."""

_AUXILIARIES = ("was", "were", "is", "are", "did", "does", "do")


def _base_forms() -> dict[str, str]:
    """Return every form of every verb with its base form."""
    bases = {}
    for sense in LEXICON.values():
        if sense.part == "verb":
            for word in sense.words:
                for inflect in (str, third, past, participle):
                    bases[inflect(word)] = word
    return bases


_BASES = _base_forms()


def inference(world: World, label: str) -> tuple[Clause, Clause]:
    """Draw a premise and a hypothesis for which ``relation`` returns ``label``."""
    rng = world.rng
    negations, weights = zip(*_POLARITIES[label], strict=True)
    while True:
        premise = world.clause()
        if rng.random() < 0.15:
            premise = world.general(premise)
        negated, hypothesis_negated = rng.choices(negations, weights)[0]
        premise = premise.with_(negated=negated)
        hypothesis = world.near(premise, rng.choice((0, 1, 1, 2))).with_(negated=hypothesis_negated)
        # "The animal did not sleep" says nothing about the dog; only "no animal slept" would.
        if negated and compare(premise, hypothesis) in (Fit.ABOVE, Fit.BELOW):
            continue
        if relation(premise, hypothesis) == label:
            return premise, hypothesis


def paraphrase(world: World, same: bool, changes: int = 1) -> tuple[Clause, Clause]:
    """Draw two clauses with the same meaning, or with meanings that are some changes apart."""
    while True:
        first = world.swappable() if world.rng.random() < 0.5 else world.clause()
        first = first.with_(negated=world.rng.random() < 0.15)
        second = world.near(first, 0 if same else changes)
        if (compare(first, second) is Fit.SAME) == same:
            return first, second


def asking(world: World) -> tuple[Clause, str]:
    """Draw a clause with at least two participants, and the slot that a question asks for."""
    while True:
        clause = world.clause(p_state=0)
        if clause.patient is not None or clause.place is not None:
            return clause, world.slot(clause)


def questions(world: World, same: bool) -> tuple[tuple[Clause, str], tuple[Clause, str]]:
    """Draw two questions, each a clause and the slot that it asks for, with the same meaning or with different ones."""
    rng = world.rng
    first, slot = asking(world)
    if same:
        return (first, slot), (first, slot)
    while True:
        if rng.random() < 0.25:
            other_slot = world.slot(first)
            if other_slot != slot:
                return (first, slot), (first, other_slot)
            continue
        second = world.near(first)
        if slot not in second.entities():
            continue
        if not answers(second, first, slot) and not answers(first, second, slot):
            return (first, slot), (second, slot)


def question_and_statement(world: World, is_answer: bool) -> tuple[Clause, str, Clause]:
    """Draw a question (a clause and the slot that it asks for), and a statement that answers it or does not."""
    while True:
        clause, slot = asking(world)
        statement = world.near(clause, 0 if is_answer else 1)
        if answers(statement, clause, slot) == is_answer:
            return clause, slot, statement


def answers(statement: Clause, clause: Clause, slot: str) -> bool:
    """Whether a statement answers the question for a slot of a clause: it says the same or more in all other slots."""
    if slot not in statement.entities():
        return False
    any_entity = clause.agent
    fit = compare(statement.with_(**{slot: any_entity}), clause.with_(**{slot: any_entity}))
    return fit in (Fit.SAME, Fit.BELOW)


def double(world: World) -> tuple[list[Clause], str]:
    """Draw two clauses and one sentence that says both: joined by a conjunction, or one inside the other."""
    rng = world.rng
    first = world.clause(p_place=0.2, p_state=0)
    second = world.clause(p_place=0.2)
    if first.agent.noun.part != "name" and rng.random() < 0.5:
        second = world.clause_about(first.agent)
        subject = noun_phrase(first.agent, rng)
        relative_clause = predicate(first, rng, Style(), first.agent.plural)
        main_clause = predicate(second, rng, Style(), first.agent.plural)
        return [first, second], f"{subject} that {relative_clause} {main_clause}"
    pattern = rng.choice(("{} and {}", "after {} , {}", "{} while {}", "{} before {}"))
    texts = [sentence(clause, rng, draw_style(rng)) for clause in (first, second)]
    return [first, second], pattern.format(*texts)


def follows(clauses: list[Clause], hypothesis: Clause) -> bool:
    """Whether one of the clauses entails the hypothesis."""
    return any(relation(clause, hypothesis) == "entailment" for clause in clauses)


def broken(world: World) -> tuple[str, str]:
    """Draw a sentence, and the same sentence with one fault: agreement, form of a verb, or word order."""
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
        elif fault == "form":
            bad = " ".join(_wrong_form(good.split(), rng))
        else:
            bad = " ".join(_wrong_order(good.split(), rng))
        if bad != good:
            return good, bad


def _wrong_form(words: list[str], rng: Random) -> list[str]:
    """Replace the form of a verb after did, do, does or be by one that is wrong there."""
    for index, word in enumerate(words[1:], 1):
        base = _BASES.get(word)
        auxiliary = words[index - 1] if words[index - 1] != "not" else words[index - 2]
        if base is None or auxiliary not in _AUXILIARIES:
            continue
        right = base if auxiliary in ("did", "do", "does") else participle(base)
        wrong = {inflect(base) for inflect in (str, third, past, participle)} - {word, right}
        return [*words[:index], rng.choice(sorted(wrong)), *words[index + 1 :]]
    return words


def _wrong_order(words: list[str], rng: Random) -> list[str]:
    """Swap a small word with the word after it; the first two words if there is no small one."""
    small_words = [i for i, word in enumerate(words[:-1]) if word in ("the", "a", "an", "some", "in", "by")]
    index = rng.choice(small_words or [0])
    return [*words[:index], words[index + 1], words[index], *words[index + 2 :]]


def review(world: World, good: bool) -> str:
    """Draw a sentence that praises or blames a work."""
    rng = world.rng

    def verdict(praise: bool) -> str:
        return rng.choice(senses("verdict", world.pools, ("praise" if praise else "blame",))).name

    first, second = rng.sample(senses("reviewed", world.pools), 2)
    it = rng.choice(first.words)
    also = rng.choice(second.words)
    very = rng.choice(("", "", "very ", "truly ", "really ", "quite ", "so "))
    word = verdict(good)
    opposite = verdict(not good)
    sentences = (
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
    )
    return rng.choice(sentences)


def reference(world: World) -> tuple[str, str, str]:
    """Draw a sentence with a pronoun, what it says about the right participant, and the same about the other one.

    Gender and number alone decide who is meant (unlike in WNLI, where that needs knowledge of the world).
    """
    rng = world.rng
    first = _person(world)
    second = _person(world)
    while pronoun(first) == pronoun(second) or first.noun == second.noun:
        second = _person(world)
    action = world.swappable().with_(agent=first, patient=second, place=None)
    meant, other = rng.sample((first, second), 2)
    quality = rng.choice(senses("adjective", world.pools, ("being",)))
    reason = f"because {pronoun(meant)} {be('past', meant.plural)} {rng.choice(quality.words)}"
    true = sentence(Clause(meant, quality), rng, Style())
    false = sentence(Clause(other, quality), rng, Style())
    return f"{sentence(action, rng, draw_style(rng))} {reason}", true, false


def _person(world: World) -> Entity:
    rng = world.rng
    if rng.random() < 0.3:
        return Entity(world.noun("person", "animal"), plural=True)
    return Entity(rng.choice(world.people))
