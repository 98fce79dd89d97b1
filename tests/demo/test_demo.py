"""The embedded demo data: labels follow from meaning, splits share no content words, a seed decides the rows."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import datasets
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForMaskedLM, AutoTokenizer

from adapter_tune.cli import main
from adapter_tune.config.compose import compose
from adapter_tune.config.resolved import resolved
from adapter_tune.demo import scenes
from adapter_tune.demo.corpus import documents
from adapter_tune.demo.dataset import located_data, write_data
from adapter_tune.demo.glue import DEMO_TASKS, DIAGNOSTIC, columns, rows, splits
from adapter_tune.demo.grammar import Style, question, sentence, written
from adapter_tune.demo.lexicon import LEXICON, POOLS, participle, past, plural, senses, third
from adapter_tune.demo.location import BACKBONE, DEMO
from adapter_tune.demo.meaning import Clause, Entity, relation, similarity
from adapter_tune.demo.world import World
from adapter_tune.foundation.errors import UsageError
from adapter_tune.tasks.glue import TASKS

ALL = (*DEMO_TASKS, DIAGNOSTIC)
POOL = {form: sense.pool for sense in LEXICON.values() for form in sense.forms()}


def words_of(task: str, split: str, size: int) -> set[str]:
    texts = (row[column] for row in rows(task, split, size) for column in columns(task))
    return set(re.findall(r"\w+", " ".join(texts).lower()))


def test_no_word_has_two_meanings() -> None:
    assert len(POOL) == sum(len(sense.forms()) for sense in LEXICON.values())


def test_opposites_and_categories_are_mutual_and_of_one_pool() -> None:
    for sense in LEXICON.values():
        if sense.opposite:
            assert LEXICON[sense.opposite].opposite == sense.name
            assert LEXICON[sense.opposite].pool == sense.pool
        if sense.hypernym:
            assert LEXICON[sense.hypernym].is_category
            assert LEXICON[sense.hypernym].pool == sense.pool


@pytest.mark.parametrize("task", ALL)
def test_training_rows_and_the_others_share_no_content_word(task: str) -> None:
    for split, (size, pools) in splits(task).items():
        used = {POOL[word] for word in words_of(task, split, size) if word in POOL}
        assert used == set(pools), split


@pytest.mark.parametrize("task", DEMO_TASKS)
def test_training_and_validation_share_function_words_only(task: str) -> None:
    """About forty small words, and no content word."""
    shared = words_of(task, "train", 300) & words_of(task, TASKS[task].validation[0], 300)
    assert not shared & set(POOL)
    assert len(shared) < 60


DIGEST = """
import hashlib, json
from adapter_tune.demo.glue import DEMO_TASKS, DIAGNOSTIC, rows, splits
digest = hashlib.sha256()
for task in (*DEMO_TASKS, DIAGNOSTIC):
    for split in splits(task):
        digest.update(json.dumps(list(rows(task, split, 60, seed=3))).encode())
print(digest.hexdigest())
"""


def test_the_same_seed_gives_the_same_rows_in_every_process() -> None:
    def digest(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert digest("1") == digest("2")
    first, second = (hashlib.sha256(json.dumps(list(rows("rte", "train", 40, s))).encode()).digest() for s in (0, 1))
    assert first != second


@pytest.mark.parametrize("task", DEMO_TASKS)
def test_labels_are_balanced_and_no_row_occurs_twice(task: str) -> None:
    drawn = list(rows(task, "train", 300))
    texts = [tuple(row[column] for column in columns(task)) for row in drawn]
    assert len(set(texts)) == len(texts)
    if TASKS[task].labels:
        counts = [sum(row["label"] == label for row in drawn) for label in range(TASKS[task].num_labels)]
        assert max(counts) - min(counts) <= 1
    else:
        low, high = TASKS[task].bounds
        values = [row["label"] for row in drawn]
        assert min(values) < 1.5
        assert max(values) == high
        assert all(low <= value <= high for value in values)


@pytest.mark.parametrize("task", ALL)
def test_the_written_data_has_glues_columns_labels_and_splits(task: str, demo_rows: str) -> None:
    loaded = datasets.load_dataset(demo_rows, task)
    assert set(loaded) == set(splits(task))
    for name, split in loaded.items():
        assert split.column_names == [*columns(task), "label", "idx"]
        labels = TASKS["mnli" if task == DIAGNOSTIC else task].labels
        assert tuple(getattr(split.features["label"], "names", ())) == labels
        assert (set(split["label"]) == {-1}) == name.startswith("test")
        assert split["idx"] == list(range(len(split)))


@pytest.fixture(scope="session")
def demo_rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("demo") / "rows"
    write_data(folder, train=20, validation=12)
    return str(folder)


def test_a_task_without_rows_here_leaves_the_demo_as_it_is(
    tmp_path: Path, demo_rows: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "anli", replace(TASKS["mnli"], name="anli", validation=("validation",)))
    write_data(tmp_path / "rows", train=2, validation=2)
    assert {path.name for path in (tmp_path / "rows").iterdir() if path.is_dir()} == set(ALL)
    with pytest.raises(SystemExit):
        main(["inspect-data", "--model", DEMO, "--task", "anli", "--set", f"data.source={demo_rows}"])
    assert "the data set has no such task" in capsys.readouterr().err


DOG, CAT, ANIMAL = LEXICON["dog"], LEXICON["cat"], LEXICON["animal"]
HELP, HINDER = LEXICON["help"], LEXICON["hinder"]
BIG, SMALL, STRONG = LEXICON["big"], LEXICON["small"], LEXICON["strong"]
HELPS = Clause(Entity(DOG), HELP, Entity(CAT))
HALL = Entity(LEXICON["hall"])


@pytest.mark.parametrize(
    ("premise", "hypothesis", "expected"),
    [
        (HELPS, HELPS, "entailment"),
        (HELPS, HELPS.with_(agent=Entity(ANIMAL)), "entailment"),
        (HELPS.with_(agent=Entity(ANIMAL)), HELPS, "neutral"),
        (HELPS, HELPS.with_(agent=Entity(CAT), patient=Entity(DOG)), "neutral"),
        (HELPS, HELPS.with_(verb=HINDER), "contradiction"),
        (HELPS, HELPS.with_(verb=HINDER, negated=True), "entailment"),
        (HELPS, HELPS.with_(negated=True), "contradiction"),
        (HELPS.with_(negated=True), HELPS, "contradiction"),
        (HELPS.with_(negated=True), HELPS.with_(negated=True), "entailment"),
        (HELPS.with_(negated=True), HELPS.with_(verb=HINDER), "neutral"),
        (HELPS.with_(place=HALL), HELPS, "entailment"),
        (HELPS, HELPS.with_(place=HALL), "neutral"),
        (HELPS.with_(agent=Entity(DOG, STRONG)), HELPS, "entailment"),
        (HELPS, HELPS.with_(agent=Entity(DOG, STRONG)), "neutral"),
        (HELPS, HELPS.with_(agent=Entity(DOG, plural=True)), "neutral"),
        (Clause(Entity(DOG), BIG), Clause(Entity(DOG), SMALL), "contradiction"),
        (Clause(Entity(DOG), BIG), Clause(Entity(ANIMAL), SMALL), "contradiction"),
        (Clause(Entity(ANIMAL), BIG), Clause(Entity(DOG), SMALL), "neutral"),
    ],
)
def test_labels_follow_from_meaning(premise: Clause, hypothesis: Clause, expected: str) -> None:
    assert relation(premise, hypothesis) == expected


def test_similarity_falls_from_five_with_every_difference() -> None:
    chain = [HELPS, HELPS.with_(verb=HINDER), HELPS.with_(verb=HINDER, agent=Entity(CAT), patient=Entity(DOG))]
    values = [similarity(HELPS, other) for other in chain]
    assert values[0] == 5
    assert values == sorted(values, reverse=True)
    assert similarity(HELPS, HELPS.with_(negated=True)) < 5


def test_sentences_are_english() -> None:
    rng = Random(0)
    plain, passive = Style(), Style(passive=True)
    clause = Clause(Entity(LEXICON["fox"]), LEXICON["visit"], Entity(LEXICON["owl"], plural=True), HALL)
    assert sentence(clause, rng, plain) == "the fox visited the owls in the hall"
    assert sentence(clause, rng, passive) == "the owls were visited by the fox in the hall"
    assert sentence(clause.with_(negated=True), rng, Style("present")) == "the fox does not visit the owls in the hall"
    assert sentence(clause, rng, Style("present"), agrees=False) == "the fox visit the owls in the hall"
    assert sentence(clause, rng, Style(definite=False)) == "a fox visited some owls in the hall"
    assert question(clause, "agent", rng, plain) == "what visited the owls in the hall"
    assert question(clause, "agent", rng, passive) == "by what were the owls visited in the hall"
    assert question(clause, "patient", rng, plain) == "what did the fox visit in the hall"
    assert question(clause, "place", rng, plain) == "where did the fox visit the owls"
    assert written("after anna slept , tom woke") == "After Anna slept, Tom woke."
    assert (third("carry"), third("buy")) == ("carries", "buys")
    assert (past("carry"), participle("steal")) == ("carried", "stolen")
    assert (plural("wolf"), plural("box")) == ("wolves", "boxes")


@pytest.mark.parametrize("slot", ["agent", "patient", "place"])
def test_a_statement_answers_a_question_for_any_slot(slot: str) -> None:
    clause = HELPS.with_(place=HALL)
    other = Entity(LEXICON["kitchen"] if slot == "place" else LEXICON["fox"])
    assert scenes.answers(clause.with_(**{slot: other}), clause, slot)
    assert not scenes.answers(clause.with_(verb=HINDER), clause, slot)
    assert not scenes.answers(clause.with_(**{slot: None}), clause, slot)


def test_a_faulty_sentence_differs_from_the_right_one() -> None:
    world = World(Random(0), ("train",))
    for _ in range(200):
        good, bad = scenes.broken(world)
        assert good != bad
        assert abs(len(good.split()) - len(bad.split())) <= 1


def test_praise_does_not_read_as_blame() -> None:
    world = World(Random(0), POOLS)
    praise = {sense.name for sense in senses("verdict", POOLS, ("praise",))}
    for _ in range(200):
        text = scenes.review(world, good=True).split()
        plain = [w for w in text if w in praise]
        if not plain:
            assert {"not", "hardly", "no"} & set(text)


def without_link(document: tuple[str, ...]) -> tuple[str, ...]:
    """The parts without the word that links them, and as a row writes them."""
    return tuple(re.sub(r"^(\w+|\w+ in common) : ", "", part).replace(" .", ".") for part in document)


def test_pretraining_text_holds_every_word_and_no_validation_row() -> None:
    texts = list(documents(6_000))
    assert texts[:50] == list(documents(50))
    words = {word for pair in texts for part in pair for word in part.split()}
    assert [sense.name for sense in LEXICON.values() if not sense.forms() & words] == []
    first, second = columns("mnli")
    pairs = {(row[first].lower(), row[second].lower()) for row in rows("mnli", "validation_matched", 500)}
    assert without_link(("much in common : the dog slept .", "so : it dozed .")) == ("the dog slept.", "it dozed.")
    assert not pairs & {without_link(pair) for pair in texts}


def test_the_backbone_is_small_finite_and_knows_its_words() -> None:
    weights = BACKBONE / "model.safetensors"
    assert weights.stat().st_size < 5_000_000
    with safe_open(weights, "pt") as file:
        assert all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118
    tokenizer = AutoTokenizer.from_pretrained(BACKBONE)
    assert [word for word in POOL if tokenizer.tokenize(word) != [word]] == []
    model = AutoModelForMaskedLM.from_pretrained(BACKBONE, dtype=torch.float32).eval()
    row = tokenizer("every hound is a kind of [MASK] .", return_tensors="pt")
    with torch.inference_mode():
        scores = model(**row).logits[0, row["input_ids"][0].tolist().index(tokenizer.mask_token_id)]
    assert tokenizer.decode(scores.argmax()) == "animal"
    assert (BACKBONE / "README.md").read_text().startswith("---")


def test_flags_and_yaml_override_demo() -> None:
    config = compose(None, {"--task task": "rte"}, demo=True)
    assert (config.model.id, config.data.source, config.data.max_length) == (DEMO, DEMO, 64)
    assert resolved(config).learning_rate == pytest.approx(10 * config.strategy.learning_rate)
    assert compose(None, {"--lr training.learning_rate": 1e-4}, demo=True).training.learning_rate == 1e-4
    shipped = compose("glue/rte", demo=True)
    assert (shipped.task, shipped.model.id, shipped.data.max_length) == ("rte", DEMO, 64)
    assert compose(None, {"--model model.id": "./mine"}, demo=True).model.id == "./mine"
    other = compose(None, {"--strategy strategy.name": "full"}, demo=True)
    assert resolved(other).learning_rate == pytest.approx(10 * other.strategy.learning_rate)
    with pytest.raises(UsageError, match="epoch"):
        compose(None, {}, ["training.epoch=3"], demo=True)


def test_every_command_takes_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Train, evaluate and count on the embedded demo; scores on unseen words are better than chance."""
    words = ["--output", str(tmp_path), "--demo"]
    main(["train", "--task", "cola", "--epochs", "1", *words])
    trained = capsys.readouterr().out
    main(["eval", *words, "--split", "validation"])
    evaluated = capsys.readouterr().out
    main(["count-params", "--demo", "--m", "8", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["model"] == DEMO
    scores = [[line for line in out.splitlines() if "(validation)" in line] for out in (trained, evaluated)]
    assert scores[0]
    assert scores[0] == scores[1]
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text())["model"]["id"] == DEMO
    assert json.loads((folder / "result.json").read_text())["headline"]["value"] > 0.5


def test_eval_demo_skips_runs_on_other_data(tmp_path: Path, small_world: list[str]) -> None:
    main(["train", "--task", "rte", *small_world])
    with pytest.raises(SystemExit) as caught:
        main(["eval", "--demo", "--output", small_world[3]])
    assert caught.value.code == 2


def test_the_embedded_data_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(located_data(DEMO))
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(ALL)
    monkeypatch.setattr("adapter_tune.demo.dataset.write_data", lambda *_: pytest.fail("written again"))
    assert located_data(DEMO) == str(folder)
    assert located_data("elsewhere") == "elsewhere"


def test_first_uses_at_once_write_the_data_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders_written: list[Path] = []

    def write(folder: Path) -> None:
        folders_written.append(folder)
        time.sleep(0.05)
        write_data(folder, train=2, validation=1)

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("adapter_tune.demo.dataset.write_data", write)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: located_data(DEMO), range(4)))
    assert len(folders_written) == 1
    assert folders == {str(folders_written[0])}
    assert (folders_written[0] / "README.md").is_file()
