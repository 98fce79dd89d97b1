"""The cached states of the frozen layers: the same numbers, computed once."""

import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from torch import nn
from transformers import AutoModelForSequenceClassification, DebertaV2Config

import adapter_tune
from adapter_tune.adapters.model_parts import disable_dropout, frozen_layers, layers_of
from adapter_tune.cli import main
from adapter_tune.data.splits import load_splits
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.threads import cpu_threads
from adapter_tune.modeling import frozen_layer_cache, frozen_layer_outputs, state_store
from adapter_tune.modeling.backbone import load_tokenizer
from adapter_tune.modeling.build import build_model, prepare
from adapter_tune.modeling.fast_paths import prepare_to_compute
from adapter_tune.modeling.state_store import StateLayout, StateStore
from adapter_tune.runs.reload import evaluate_run
from adapter_tune.strategies import parse_strategy
from adapter_tune.training.loop import train
from tests.helpers import CONFIGS, SHAPE, save_tokenizer

TOP = {"name": "houlsby", "m": 4, "layers": "top-1"}
FROZEN = [TOP, {"name": "top_n", "n": 1}, "head"]


def losses(result: Any) -> list[float]:
    return [entry["loss"] for entry in result.history if "loss" in entry]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("strategy", FROZEN, ids=str)
def test_a_cached_run_is_the_uncached_one(make_config: Any, strategy: Any, precision: str) -> None:
    def run(cache: str) -> Any:
        config = make_config("stsb", strategy, backbone_dropout="off", cache_frozen_prefix=cache, precision=precision)
        result = adapter_tune.run(config)
        assert evaluate_run(config.folder).scores == result.scores
        return result

    plain = run("off")
    cached = run("on")
    near = {"float32": 1e-5, "bf16": 0.02}[precision]
    assert losses(plain) == pytest.approx(losses(cached), rel=near)
    if precision == "float32":
        assert plain.scores["validation"] == pytest.approx(cached.scores["validation"], abs=1e-4)


@pytest.mark.parametrize("family", [*CONFIGS, "deberta-v2"])
@pytest.mark.parametrize("strategy", [TOP, "head"], ids=str)
def test_every_family_takes_its_states_back(family: str, strategy: Any, make_config: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = CONFIGS.get(family) or DebertaV2Config(
        **SHAPE, vocab_size=60, relative_attention=True, pos_att_type=["c2p"], conv_kernel_size=3, conv_act="gelu"
    )
    config = type(config)(**{**config.to_dict(), "vocab_size": 4000, "max_position_embeddings": 70})
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / family)
    save_tokenizer(tmp_path / family)
    results = []
    for cache in ("off", "on"):
        options = {"backbone_dropout": "off", "precision": "float32", "epochs": 1, "cache_frozen_prefix": cache}
        results.append(adapter_tune.run(make_config("stsb", strategy, model=str(tmp_path / family), **options)))
    assert losses(results[0]) == pytest.approx(losses(results[1]), rel=1e-4)


def test_frozen_layers_run_once_for_all_runs_that_share_them(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    computed = frozen_layer_outputs.frozen_layer_outputs

    def counting(*args: Any) -> Any:
        for numbers, output in computed(*args):
            rows.extend(numbers)
            yield numbers, output

    monkeypatch.setattr(frozen_layer_cache, "frozen_layer_outputs", counting)
    for seed, rate in ((1, 1e-3), (2, 1e-3), (1, 3e-3)):
        adapter_tune.run(make_config("mnli", TOP, seed=seed, learning_rate=rate, backbone_dropout="frozen-off"))
    assert sorted(rows) == list(range(64 + 24 + 24))


def test_only_the_first_token_is_stored_where_no_other_is_read(make_config: Any) -> None:
    config = make_config("rte", "head", backbone_dropout="off", precision="float32")
    adapter_tune.run(config)
    (file,) = Path(config.output).glob(".frozen-prefix/*/states.bin")
    assert file.stat().st_size == (64 + 24) * 32 * 4


@pytest.mark.parametrize(
    ("cache", "dropout", "epochs", "strategy", "expected"),
    [
        ("auto", "frozen-off", 2, TOP, True),
        ("auto", "off", 2, TOP, True),
        ("auto", "on", 2, TOP, False),
        ("auto", "off", 1, TOP, False),  # nothing would be read twice
        ("on", "off", 1, TOP, True),
        ("off", "off", 2, TOP, False),
        ("auto", "off", 2, "houlsby", False),
        ("auto", "off", 2, "full", False),
        ("auto", "off", 2, "layer_norm", False),
    ],
)
def test_when_states_are_cached(
    make_config: Any, cache: str, dropout: str, epochs: int, strategy: Any, expected: bool
) -> None:
    config = make_config("rte", strategy, cache_frozen_prefix=cache, backbone_dropout=dropout, epochs=epochs)
    splits = load_splits(config, load_tokenizer(config.model))
    prepared = build_model(config)
    assert (frozen_layer_cache.cache_folder(config, prepared, splits) is not None) == expected


@pytest.mark.parametrize(
    ("strategy", "limit", "message"),
    [("houlsby", 8.0, "trains the lowest layer"), (TOP, 1e-5, "GiB are needed and training.cache_limit is 1e-05")],
)
def test_what_cannot_be_cached_is_refused(make_config: Any, strategy: Any, limit: float, message: str) -> None:
    config = make_config("rte", strategy, cache_frozen_prefix="on", backbone_dropout="off", cache_limit=limit)
    with pytest.raises(UsageError, match=message):
        adapter_tune.run(config)


@pytest.mark.parametrize("option", ["auto", "on"])
def test_no_states_are_cached_of_sharded_layers(make_config: Any, option: str) -> None:
    config = make_config("rte", TOP, cache_frozen_prefix=option, backbone_dropout="off", shard_backbone=True)
    splits = load_splits(config, load_tokenizer(config.model))
    prepared = build_model(config)
    if option == "auto":
        assert frozen_layer_cache.cache_folder(config, prepared, splits) is None
        return
    with pytest.raises(UsageError, match="shard_backbone distributes the frozen layers"):
        frozen_layer_cache.cache_folder(config, prepared, splits)


def test_states_with_dropout_in_them_are_refused(small_world: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--task", "rte", *small_world, "--set", "training.cache_frozen_prefix=on"])
    assert "needs training.backbone_dropout=frozen-off" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(TOP, 1), ("head", 2), ({"name": "top_n", "n": 1}, 1), ("houlsby", 0), ("full", 0), ("bias", 0), ("lora", 0)],
    ids=str,
)
def test_layers_below_the_first_trained_tensor(strategy: Any, expected: int) -> None:
    model = AutoModelForSequenceClassification.from_config(CONFIGS["bert"])
    prepare(model, parse_strategy(strategy), train_pooler=True)
    assert frozen_layers(model) == expected


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("where", ["on", "frozen-off", "off"])
def test_where_dropout_acts(family: str, where: Any) -> None:
    """Two passes in training mode differ only where dropout acts; that of the head and of adapters stays."""
    config = CONFIGS[family]
    model: Any = AutoModelForSequenceClassification.from_config(config)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.3
    prepare(model, parse_strategy({**TOP, "dropout": 0.4}), train_pooler=True)
    before = {name: m.p for name, m in model.named_modules() if isinstance(m, nn.Dropout)}
    disable_dropout(model, where)
    after = {name: m.p for name, m in model.named_modules() if isinstance(m, nn.Dropout)}
    for name, p in after.items():
        of_backbone = name.startswith(model.base_model_prefix) and "adapter" not in name
        is_top = ".1." in name
        is_off = of_backbone and (where == "off" or (where == "frozen-off" and not is_top))
        assert p == (0.0 if is_off else before[name]), name
    assert any(p == 0.4 for p in after.values())


def layout(rows: int, dtype: torch.dtype = torch.bfloat16) -> StateLayout:
    import numpy as np

    return StateLayout(np.arange(1, rows + 1), 4, dtype)


def parts(rows: int) -> Any:
    for row in reversed(range(rows)):  # in any order, padded
        yield [row], torch.full((1, rows + 2, 4), float(row))


def test_states_come_back_row_by_row(tmp_path: Path) -> None:
    notes: dict[str, Any] = {"tuple": 2}
    state_store.write(tmp_path / "a", layout(5), parts(5), notes)
    store = StateStore(tmp_path / "a", layout(5))
    assert store.notes == notes
    batch = store.batch([3, 0], 6)
    assert batch.shape == (2, 6, 4)
    assert batch[0, :4].eq(3).all()
    assert batch[0, 4:].eq(0).all()
    assert batch[1].eq(0).all()


def test_states_of_another_size_are_refused(tmp_path: Path) -> None:
    state_store.write(tmp_path / "a", layout(5), parts(5), {})
    (tmp_path / "a" / "states.bin").write_bytes(b"0" * 8)
    with pytest.raises(RunError, match="wrong size"):
        StateStore(tmp_path / "a", layout(5))


@pytest.mark.parametrize("text", ["{", "3", "null"])
def test_damaged_notes_are_refused(text: str, tmp_path: Path) -> None:
    state_store.write(tmp_path / "a", layout(5), parts(5), {})
    (tmp_path / "a" / "meta.json").write_text(text)
    with pytest.raises(RunError, match="damaged"):
        StateStore(tmp_path / "a", layout(5))


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Any:
        yield from parts(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        state_store.write(tmp_path / "a", layout(5), broken(), {})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        with pytest.raises(RunError, match=r"free some space, or set training.cache_frozen_prefix=off"):
            state_store.write(tmp_path / "a", layout(50), parts(50), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    import os

    for age, name in enumerate("cba"):
        state_store.write(tmp_path / name, layout(5), parts(5), {})
        os.utime(tmp_path / name / "meta.json", (age, age))
    size = layout(5).size
    StateStore(tmp_path / "c", layout(5))  # used now
    state_store.make_room(tmp_path, size, 3 * size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]
    state_store.make_room(tmp_path, size, 3 * size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


@pytest.mark.parametrize("missing", ["states.bin", "meta.json"])
def test_half_removed_states_are_none(tmp_path: Path, missing: str) -> None:
    for name in "ab":
        state_store.write(tmp_path / name, layout(5), parts(5), {})
    (tmp_path / "b" / missing).unlink()  # as after a process that died while it deleted old entries
    assert not state_store.exists(tmp_path / "b")
    state_store.make_room(tmp_path, layout(5).size, 2 * layout(5).size)
    assert state_store.exists(tmp_path / "a")
    assert not (tmp_path / "b" / "states.bin").exists()
    state_store.write(tmp_path / "b", layout(5), parts(5), {})
    assert state_store.exists(tmp_path / "b")


def test_outputs_belong_to_a_number_of_threads(make_config: Any) -> None:
    config = make_config("stsb", TOP, backbone_dropout="off", cache_frozen_prefix="on", device="cpu")
    prepared = build_model(config)
    splits = load_splits(config, load_tokenizer(config.model))
    folders = []
    for threads in (1, 2, 1):
        with cpu_threads(threads):
            folders.append(frozen_layer_cache.cache_folder(config, prepared, splits))
    assert folders[0] == folders[2] != folders[1]


def test_two_runs_may_make_room_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", ".c.part"):  # the last is what a third run is about to finish
        state_store.write(tmp_path / name, layout(5), parts(5), {})
    glob = Path.glob

    def late(self: Path, pattern: str) -> Any:
        files = list(glob(self, pattern))
        shutil.rmtree(tmp_path / "a")  # by the other run
        return files

    monkeypatch.setattr(Path, "glob", late)
    state_store.make_room(tmp_path, layout(5).size, layout(5).size)
    assert [path.name for path in tmp_path.iterdir()] == [".c.part"]


def test_what_a_killed_process_was_writing_goes(make_config: Any) -> None:
    config = make_config("rte", "head", backbone_dropout="off", epochs=1, cache_frozen_prefix="on")
    folder = Path(config.output) / ".frozen-prefix"
    for name in ("dead", "live"):
        (folder / f".{name}.part").mkdir(parents=True)
        (folder / f".{name}.part" / "states.bin").write_bytes(b"0" * 100)
    with FileLock(folder / "live.lock"):
        adapter_tune.run(config)
    assert [path.name for path in folder.glob(".*.part")] == [".live.part"]


def distilbert(folder: Path) -> str:
    """One whose top layer computes every token, fast or not."""
    config = type(CONFIGS["distilbert"])(**{**CONFIGS["distilbert"].to_dict(), "vocab_size": 4000})
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


def test_states_have_one_folder_for_each_combination_of_what_decides_them(
    make_config: Any, backbone: str, bare_backbone: str, tmp_path: Path
) -> None:
    def folder(strategy: Any = TOP, task: str = "rte", **values: Any) -> Path:
        config = make_config(task, strategy, **{"backbone_dropout": "off", "precision": "float32", **values})
        prepared = build_model(config)
        prepare_to_compute(prepared, config.training)
        splits = load_splits(config, load_tokenizer(config.model))
        cached_in = frozen_layer_cache.cache_folder(config, prepared, splits)
        assert cached_in is not None
        return cached_in

    same = [folder(), folder(seed=7), folder(learning_rate=1e-5), folder({**TOP, "m": 2}), folder(batch_size=8)]
    assert len(set(same)) == 1
    edited = shutil.copytree(backbone, tmp_path / "edited") / "config.json"
    edited.write_text(edited.read_text().replace('"hidden_act": "gelu"', '"hidden_act": "relu"'))
    other_family = distilbert(tmp_path / "distilbert")
    others = [
        folder("head"),
        folder(model=str(edited.parent)),  # the same tensors
        folder(model=other_family),
        folder(model=other_family, fast=False),
        folder(task="mrpc"),
        folder(model=bare_backbone),
        folder(eval_batch_size=8),
        folder(precision="bf16"),
        folder("head", fast=False),
        folder(data={"max_length": 16}),
        folder(data={"padding": "max_length"}),
        folder(data={"max_train_samples": 32}),
    ]
    assert len({*same, *others}) == 1 + len(others)


def test_the_layers_are_back_when_training_is_over(make_config: Any, tmp_path: Path) -> None:
    config = make_config("rte", TOP, backbone_dropout="off", epochs=1, cache_frozen_prefix="on")
    tokenizer = load_tokenizer(config.model)
    prepared = build_model(config)
    before = layers_of(prepared.model)
    train(config, prepared, load_splits(config, tokenizer), tokenizer, tmp_path)
    assert all(now is layer for now, layer in zip(layers_of(prepared.model), before, strict=True))
