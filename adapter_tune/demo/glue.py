"""The nine tasks of GLUE, and its diagnostic set, in the demo language: columns, labels and splits as on the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from adapter_tune.demo import scenes
from adapter_tune.demo.grammar import draw_style, question, sentence, written
from adapter_tune.demo.lexicon import POOLS
from adapter_tune.demo.meaning import Clause, similarity
from adapter_tune.demo.world import World
from adapter_tune.tasks.glue import TASKS, Task

Row = dict[str, Any]

TRAIN = 2000
VALIDATION = 500
DIAGNOSTIC = "ax"
_LABELS = ("entailment", "neutral", "contradiction")


def splits(task: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Return the splits of a task: for each, the number of rows and the pools that its words come from."""
    if task == DIAGNOSTIC:
        return {"test": (VALIDATION, POOLS[1:])}
    sizes = {"train": TRAIN}
    for split in (*TASKS[task].validation, *TASKS[task].test):
        sizes[split] = VALIDATION
    return {split: (size, _pools(split)) for split, size in sizes.items()}


def rows(task: str, split: str, size: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of a split; the same seed gives the same rows, and no row occurs twice.

    Labels alternate, so classes are balanced. Labels of test rows are -1.
    """
    rng = Random(f"{seed} {task} {split}")
    _, pools = splits(task)[split]
    world = World(rng, pools)
    is_test = split.startswith("test")
    used: set[tuple[str, ...]] = set()
    while len(used) < size:
        index = len(used)
        texts, label = _WRITERS[task](world, index)
        if texts in used:
            continue
        row: Row = dict(zip(columns(task), texts, strict=True))
        yield {**row, "label": -1 if is_test else label, "idx": index}
        used.add(texts)


def columns(task: str) -> tuple[str, ...]:
    """Return the text columns of a task."""
    return glue_task(task).text


def glue_task(task: str) -> Task:
    """Return the task that decides columns and labels: the diagnostic set has those of MNLI."""
    return TASKS["mnli" if task == DIAGNOSTIC else task]


def _pools(split: str) -> tuple[str, ...]:
    if split == "train":
        return ("train",)
    return ("other",) if split.endswith("mismatched") else ("held",)


def _sentences(world: World, *clauses: Clause) -> tuple[str, ...]:
    return tuple(written(sentence(clause, world.rng, draw_style(world.rng))) for clause in clauses)


# A row's index decides its label, and how its texts are drawn.


def _cola(world: World, index: int) -> tuple[tuple[str, ...], int]:
    good, bad = scenes.broken(world)
    return (written(good if index % 2 else bad),), index % 2


def _sst2(world: World, index: int) -> tuple[tuple[str, ...], int]:
    return (scenes.review(world, bool(index % 2)) + " .",), index % 2


def _mrpc(world: World, index: int) -> tuple[tuple[str, ...], int]:
    return _sentences(world, *scenes.paraphrase(world, bool(index % 2))), index % 2


def _qqp(world: World, index: int) -> tuple[tuple[str, ...], int]:
    rng = world.rng
    pair = scenes.questions(world, bool(index % 2))
    texts = (question(clause, slot, rng, draw_style(rng)) for clause, slot in pair)
    return tuple(written(text, "?") for text in texts), index % 2


def _stsb(world: World, index: int) -> tuple[tuple[str, ...], float]:
    first = world.clause()
    second = world.clause() if index % 8 == 0 else world.near(first, index % 4)
    if index % 8 == 5:
        second = second.with_(negated=True)
    return _sentences(world, first, second), similarity(first, second)


def _mnli(world: World, index: int) -> tuple[tuple[str, ...], int]:
    return _sentences(world, *scenes.inference(world, _LABELS[index % 3])), index % 3


def _qnli(world: World, index: int) -> tuple[tuple[str, ...], int]:
    label = index % 2
    clause, slot, statement = scenes.question_and_statement(world, is_answer=label == 0)
    text = question(clause, slot, world.rng, draw_style(world.rng))
    return (written(text, "?"), *_sentences(world, statement)), label


def _rte(world: World, index: int) -> tuple[tuple[str, ...], int]:
    label = index % 2
    while True:
        clauses, text = scenes.double(world)
        hypothesis = world.near(world.rng.choice(clauses), world.rng.choice((0, 1, 1)))
        if scenes.follows(clauses, hypothesis) == (label == 0):
            return (written(text), *_sentences(world, hypothesis)), label


def _wnli(world: World, index: int) -> tuple[tuple[str, ...], int]:
    text, true, false = scenes.reference(world)
    return (written(text), written(true if index % 2 else false)), index % 2


_WRITERS: dict[str, Callable[[World, int], tuple[tuple[str, ...], float]]] = {
    "cola": _cola,
    "sst2": _sst2,
    "mrpc": _mrpc,
    "stsb": _stsb,
    "qqp": _qqp,
    "mnli": _mnli,
    "qnli": _qnli,
    "rte": _rte,
    "wnli": _wnli,
    DIAGNOSTIC: _mnli,
}
"""By task: what draws the texts and the label of the row with an index."""

DEMO_TASKS: tuple[str, ...] = tuple(task for task in TASKS if task in _WRITERS)
"""The tasks that have rows in the demo language; any other task needs data from the Hub or a local copy."""
