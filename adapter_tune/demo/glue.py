"""The nine tasks of GLUE, and its diagnostic set, in the demo language: columns, labels and splits as on the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from adapter_tune.demo import scenes
from adapter_tune.demo.grammar import draw_style, question, sentence, written
from adapter_tune.demo.lexicon import POOLS
from adapter_tune.demo.meaning import Clause, likeness
from adapter_tune.demo.world import World
from adapter_tune.tasks.glue import TASKS

Row = dict[str, Any]

TRAIN, VALIDATION = 2000, 500
DIAGNOSTIC = "ax"
_LABELS = ("entailment", "neutral", "contradiction")


def splits(task: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Rows and pools of words of every split of a task."""
    if task == DIAGNOSTIC:
        return {"test": (VALIDATION, POOLS[1:])}
    record = TASKS[task]
    sizes = {"train": TRAIN, **dict.fromkeys((*record.validation, *record.test), VALIDATION)}
    return {name: (size, _pools(name)) for name, size in sizes.items()}


def rows(task: str, split: str, size: int, seed: int = 0) -> Iterator[Row]:
    """The rows of a split, the same ones for the same seed; no text twice; test labels are -1.

    Labels come in turn, so classes are balanced.
    """
    rng = Random(f"{seed} {task} {split}")
    world = World(rng, splits(task)[split][1])
    seen: set[tuple[str, ...]] = set()
    while len(seen) < size:
        texts, label = _WRITERS[task](world, len(seen))
        if texts in seen:
            continue
        row: Row = dict(zip(columns(task), texts, strict=True))
        yield {**row, "label": -1 if split.startswith("test") else label, "idx": len(seen)}
        seen.add(texts)


def columns(task: str) -> tuple[str, ...]:
    """The text columns of a task."""
    return TASKS["mnli" if task == DIAGNOSTIC else task].text


def _pools(split: str) -> tuple[str, ...]:
    if split == "train":
        return ("train",)
    return ("other",) if split.endswith("mismatched") else ("held",)


def _say(world: World, *clauses: Clause) -> tuple[str, ...]:
    return tuple(written(sentence(clause, world.rng, draw_style(world.rng))) for clause in clauses)


def _cola(world: World, turn: int) -> tuple[tuple[str, ...], int]:
    good, bad = scenes.broken(world)
    return (written(good if turn % 2 else bad),), turn % 2


def _sst2(world: World, turn: int) -> tuple[tuple[str, ...], int]:
    return (scenes.review(world, bool(turn % 2)) + " .",), turn % 2


def _mrpc(world: World, turn: int) -> tuple[tuple[str, ...], int]:
    return _say(world, *scenes.paraphrase(world, bool(turn % 2))), turn % 2


def _qqp(world: World, turn: int) -> tuple[tuple[str, ...], int]:
    asked, rng = scenes.questions(world, bool(turn % 2)), world.rng
    texts = (question(clause, slot, rng, draw_style(rng)) for clause, slot in asked)
    return tuple(written(text, "?") for text in texts), turn % 2


def _stsb(world: World, turn: int) -> tuple[tuple[str, ...], float]:
    first = world.clause()
    second = world.clause() if turn % 8 == 0 else world.near(first, turn % 4)
    if turn % 8 == 5:
        second = second.with_(negated=True)
    return _say(world, first, second), likeness(first, second)


def _mnli(world: World, turn: int) -> tuple[tuple[str, ...], int]:
    return _say(world, *scenes.inference(world, _LABELS[turn % 3])), turn % 3


def _qnli(world: World, turn: int) -> tuple[tuple[str, ...], int]:
    while True:
        asked_of, slot = scenes.asking(world)
        statement = world.near(asked_of, 0 if turn % 2 == 0 else 1)
        if scenes.answers(statement, asked_of, slot) == (turn % 2 == 0):
            break
    asked = question(asked_of, slot, world.rng, draw_style(world.rng))
    return (written(asked, "?"), *_say(world, statement)), turn % 2


def _rte(world: World, turn: int) -> tuple[tuple[str, ...], int]:
    while True:
        clauses, text = scenes.double(world)
        hypothesis = world.near(world.rng.choice(clauses), world.rng.choice((0, 1, 1)))
        if scenes.follows(clauses, hypothesis) == (turn % 2 == 0):
            return (written(text), *_say(world, hypothesis)), turn % 2


def _wnli(world: World, turn: int) -> tuple[tuple[str, ...], int]:
    text, true, false = scenes.reference(world)
    return (written(text), written(true if turn % 2 else false)), turn % 2


_WRITERS: dict[str, Callable[[World, int], tuple[tuple[str, ...], float]]] = {
    "cola": _cola, "sst2": _sst2, "mrpc": _mrpc, "stsb": _stsb, "qqp": _qqp, "mnli": _mnli, "qnli": _qnli,
    "rte": _rte, "wnli": _wnli, DIAGNOSTIC: _mnli,
}  # fmt: skip
"""By task: the texts and the label of the row whose turn it is."""
