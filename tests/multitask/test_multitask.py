"""Tasks on one backbone have the logits of their own models, alone and mixed in any batch."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BertForPreTraining

import adapter_tune
from adapter_tune import MultiTask
from adapter_tune.adapters.model_parts import layers_of
from adapter_tune.foundation.errors import RunError, UsageError
from tests.helpers import (
    BACKBONES,
    LORA_EVERYWHERE,
    TOKENIZER,
    bert_config,
    config_of,
    rows_of,
    save_tokenizer,
    saved_task,
)

STRATEGIES: dict[str, dict[str, Any]] = {
    "houlsby": {"m": 4},
    "houlsby-layer": {"name": "houlsby", "m": 3, "norm": "layer", "depth": 2, "activation": "relu"},
    "houlsby-batch": {"name": "houlsby", "m": 4, "norm": "batch"},
    "parallel": {"m": 4, "scale": "learnt"},
    "multiplicative": {"m": 4, "layers": "top-1"},
    "attention_only": {"m": 2},
    "feed_forward_only": {"m": 6},
    "pfeiffer": {"m": 5},
    "pfeiffer-norm": {"name": "pfeiffer", "m": 4, "sub_layer": "both", "layer_norm": "adapter"},
    "pfeiffer-skip": {"name": "pfeiffer", "m": 4, "skip": "norm", "input_norm": True, "output_norm": "adapter"},
    "adapter_plus": {"m": 5},
    "adapter_plus-norm": {"name": "adapter_plus", "m": 4, "sub_layer": "both", "layer_norm": "adapter"},
    "layer_norm": {},
    "bias": {},
    "lora": {"r": 2},
    "lora-everywhere": LORA_EVERYWHERE,
    "head": {},
}
TASKS = ("rte", "mnli", "stsb", "sst2", "cola")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random BERT whose outputs differ much from row to row."""
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(3)
    BertForPreTraining(bert_config(initializer_range=0.3)).save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(backbone: str, glue: str, tmp_path_factory: pytest.TempPathFactory, make_configs: Any) -> dict[str, Path]:
    """A run of every strategy that may join, on tasks with heads of several widths."""
    make = make_configs(backbone, glue, tmp_path_factory.mktemp("multitask"))
    folders = {}
    for number, (name, options) in enumerate(STRATEGIES.items()):
        strategy = {"name": name, **options}
        config = make(TASKS[number % len(TASKS)], strategy=strategy, precision="float32")
        saved_task(config.folder / "adapter", config, seed=number)
        folders[name] = config.folder
    return folders


@pytest.fixture(scope="module")
def multi(backbone: str, folders: dict[str, Path]) -> MultiTask:
    model = MultiTask(backbone, precision="float32")
    for name, folder in folders.items():
        model.add(name, folder)
    return model


@pytest.fixture(scope="module")
def batch() -> Any:
    texts = rows_of("rte", 24)
    return TOKENIZER(
        texts["sentence1"], texts["sentence2"], padding=True, truncation=True, max_length=32, return_tensors="pt"
    )


def alone(folder: Path, batch: Any) -> torch.Tensor:
    model: Any
    model, _ = adapter_tune.load(folder)
    with torch.inference_mode():
        logits: torch.Tensor = model(**batch).logits
    return logits


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_task_has_the_logits_of_its_own_model(
    multi: MultiTask, folders: dict[str, Path], batch: Any, name: str
) -> None:
    expected = alone(folders[name], batch)
    together = torch.stack(multi(**batch, tasks=[name] * len(expected)))
    assert torch.allclose(together, expected, rtol=0, atol=1e-5)
    assert expected.std(0).max() > 1e-2  # the rows differ, so rows of another task would be seen


@pytest.fixture(scope="module")
def expected(folders: dict[str, Path], batch: Any, multi: MultiTask) -> dict[str | None, torch.Tensor]:
    logits: dict[str | None, torch.Tensor] = {name: alone(folder, batch) for name, folder in folders.items()}
    logits[None] = torch.stack(multi(**batch, tasks=[None] * 24))
    return logits


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from([None, *STRATEGIES]), min_size=24, max_size=24))
def test_any_mix_of_tasks_in_a_batch_gives_each_row_its_own_logits(
    multi: MultiTask, batch: Any, expected: dict[str | None, torch.Tensor], names: list[str | None]
) -> None:
    for row, (name, logits) in enumerate(zip(names, multi(**batch, tasks=names), strict=True)):
        assert logits.shape == expected[name][row].shape
        assert torch.allclose(logits, expected[name][row], rtol=0, atol=1e-5), name


@pytest.mark.parametrize(("family", "own"), BACKBONES)
def test_tasks_are_mixed_on_every_family(family: str, own: dict[str, Any], tmp_path: Path, make_config: Any) -> None:
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_config(config_of(family, {**own, "vocab_size": len(TOKENIZER)}))
    model.save_pretrained(tmp_path / "backbone")
    save_tokenizer(tmp_path / "backbone")
    multi = MultiTask(str(tmp_path / "backbone"), precision="float32")
    strategies: dict[str, Any] = {"houlsby": {"m": 4}, "parallel": {"m": 3}, "bias": {}, "lora": {"r": 2}}
    strategies["lora-everywhere"] = LORA_EVERYWHERE
    if not any(name.endswith(".bias") for name, _ in model.base_model.named_parameters()):
        del strategies["bias"]
    for number, (name, options) in enumerate(strategies.items()):
        strategy = {"name": name, **options}
        config = make_config(TASKS[number], model=str(tmp_path / "backbone"), strategy=strategy)
        saved_task(tmp_path / name, config, seed=number)
        if own.get("relative_attention") and name not in ("houlsby", "parallel"):
            with pytest.raises(UsageError, match="also computes the relative positions of all rows"):
                multi.add(name, tmp_path / name)
        else:
            multi.add(name, tmp_path / name)
    torch.manual_seed(2)
    ids = torch.randint(5, 30, (8, 9))
    mask = torch.arange(9) < torch.tensor([9, 4, 7, 9, 2, 9, 5, 6])[:, None]
    together = multi.all_tasks(ids, mask.long())
    names = [*multi.tasks, *multi.tasks, *multi.tasks, *multi.tasks][:8]
    mixed = multi(ids, mask.long(), tasks=names)
    for name in multi.tasks:
        single, _ = adapter_tune.load(tmp_path / name)
        with torch.inference_mode():
            expected = single(input_ids=ids, attention_mask=mask.long()).logits
        assert torch.allclose(together[name], expected, rtol=0, atol=1e-5), name
        for row in (row for row, task in enumerate(names) if task == name):
            assert torch.allclose(mixed[row], expected[row], rtol=0, atol=1e-5), name


def test_the_bare_encoder_is_the_backbone(multi: MultiTask, backbone: str, batch: Any) -> None:
    from transformers import BertModel

    bare = BertModel.from_pretrained(backbone).eval()
    with torch.inference_mode():
        hidden = bare(**batch).last_hidden_state[:, 0]
    assert torch.allclose(torch.stack(multi(**batch)), hidden, atol=1e-5)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from(list(STRATEGIES)), min_size=1, max_size=5, unique=True))
def test_all_tasks_on_the_same_rows_have_their_own_logits(
    multi: MultiTask, batch: Any, expected: dict[str | None, torch.Tensor], names: list[str]
) -> None:
    logits = multi.all_tasks(**batch, names=names)
    assert list(logits) == names
    for name in names:
        assert torch.allclose(logits[name], expected[name], rtol=0, atol=1e-5), name


def test_layers_below_the_first_own_module_are_computed_once(
    backbone: str, folders: dict[str, Path], batch: Any
) -> None:
    model = MultiTask(backbone, precision="float32")
    rows: dict[int, int] = {}
    for index, layer in enumerate(layers_of(model.model)):
        layer.register_forward_hook(lambda m, a, out, index=index: rows.update({index: _rows(out)}))
    model.add("high", folders["multiplicative"])  # has adapters in the top layer alone
    model.add("head", folders["head"])
    model.all_tasks(**batch)
    assert rows == {0: 24, 1: 48}
    model.add("low", folders["houlsby"])
    model.all_tasks(**batch)
    assert rows == {0: 72, 1: 72}
    model.all_tasks(**batch, names=["head", "high"])
    assert rows == {0: 24, 1: 48}
    model(**batch, tasks=["low"] * 24)
    assert rows == {0: 24, 1: 24}


def _rows(output: Any) -> int:
    return len(output[0] if isinstance(output, tuple) else output)


def test_threads_do_not_mix_their_batches(
    multi: MultiTask, folders: dict[str, Path], batch: Any, expected: dict[str | None, torch.Tensor]
) -> None:
    def compute(number: int) -> tuple[str, torch.Tensor]:
        name = list(STRATEGIES)[number % len(STRATEGIES)]
        if number == 20:  # a task comes and goes meanwhile
            multi.add("another", folders["lora"])
            multi.remove("another")
        return name, torch.stack(multi(**batch, tasks=[name] * 24))

    with ThreadPoolExecutor(8) as pool:
        for name, logits in pool.map(compute, range(44)):
            assert torch.allclose(logits, expected[name], rtol=0, atol=1e-5), name


def test_tasks_come_and_go(backbone: str, folders: dict[str, Path], batch: Any) -> None:
    model = MultiTask(backbone, precision="float32")
    model.add("one", folders["houlsby"])
    before = torch.stack(model(**batch, tasks=["one"] * 24))
    model.add("two", folders["parallel"] / "adapter")
    model.active = "two"
    assert torch.allclose(torch.stack(model(**batch)), alone(folders["parallel"], batch), rtol=0, atol=1e-5)
    assert torch.equal(torch.stack(model(**batch, tasks=["one"] * 24)), before)
    model.remove("two")
    assert list(model.tasks) == ["one"]
    assert model.active is None
    assert torch.equal(torch.stack(model(**batch, tasks=["one"] * 24)), before)
    with pytest.raises(UsageError, match="unknown task 'two'"):
        model(**batch, tasks=["two"] * 24)
    model.add("two", folders["lora"])
    assert torch.allclose(
        torch.stack(model(**batch, tasks=["two"] * 24)), alone(folders["lora"], batch), rtol=0, atol=1e-5
    )


def test_only_what_was_trained_is_in_memory(backbone: str, folders: dict[str, Path]) -> None:
    model = MultiTask(backbone, precision="float32")
    model.add("one", folders["houlsby"])
    tensors = [tensor for content in model._holders.contents("one") for tensor in _tensors(content)]
    own = {id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}
    shared = {id(p) for p in model.model.parameters()}
    stored = load_file(folders["houlsby"] / "adapter" / "adapter_model.safetensors").values()
    in_memory = sum(bytes_ for key, bytes_ in own.items() if key not in shared)
    assert in_memory == sum(tensor.numel() * tensor.element_size() for tensor in stored)


def test_in_bf16_the_matrices_of_tasks_are_narrow_too_and_the_logits_are_the_same(
    backbone: str, folders: dict[str, Path], batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["houlsby-layer", "parallel", "multiplicative"] * 8
    narrow = MultiTask(backbone, precision="bf16", device="cpu")
    for name in names[:3]:
        narrow.add(name, folders[name])
    monkeypatch.setattr("adapter_tune.multitask.task_parts.cast_frozen_weights", lambda *_: None)
    wide = MultiTask(backbone, precision="bf16", device="cpu")
    for name in names[:3]:
        wide.add(name, folders[name])
    matrices = [tensor for tensor in _all_tensors(narrow, names[:3]) if tensor.dim() > 1]
    assert {tensor.dtype for tensor in matrices} == {torch.bfloat16}
    assert torch.float32 in {tensor.dtype for tensor in _all_tensors(wide, names[:3]) if tensor.dim() > 1}
    for one, other in zip(narrow(**batch, tasks=names), wide(**batch, tasks=names), strict=True):
        assert torch.equal(one, other)


def _all_tensors(model: MultiTask, names: list[str]) -> list[torch.Tensor]:
    return [tensor for name in names for part in model._holders.contents(name) for tensor in _tensors(part)]


def _tensors(part: Any) -> list[torch.Tensor]:
    module = getattr(part, "adapter", part)
    return [*module.parameters(), *module.buffers()]


def test_what_cannot_join_is_refused(make_config: Any, backbone: str, bare_backbone: str) -> None:
    model = MultiTask(backbone, precision="float32")
    for strategy in ("full", "top_n"):
        config = make_config("rte", strategy=strategy)
        saved_task(config.folder / "adapter", config, seed=0)
        with pytest.raises(UsageError, match=f"strategy {strategy} trains .* parameters in matrices of the backbone"):
            model.add(strategy, config.folder)
    other = make_config("rte", model=bare_backbone)
    saved_task(other.folder / "adapter", other, seed=0)
    with pytest.raises(RunError, match="was trained on another backbone"):
        model.add("other", other.folder)
    with pytest.raises(UsageError):
        model.add("nothing", Path(other.output))
    assert model.tasks == {}


def test_names_and_numbers_of_tasks_are_checked(backbone: str, folders: dict[str, Path], batch: Any) -> None:
    model = MultiTask(backbone, precision="float32")
    model.add("one", folders["head"])
    with pytest.raises(UsageError, match="'one' is loaded already"):
        model.add("one", folders["head"])
    with pytest.raises(UsageError, match="2 tasks for 24 rows"):
        model(**batch, tasks=["one", "one"])
    with pytest.raises(UsageError, match="unknown task 'on'; did you mean 'one'"):
        model.active = "on"


@pytest.mark.parametrize("name", STRATEGIES)
def test_two_tasks_of_the_same_strategy_share_no_tensor_that_was_trained(
    backbone: str, glue: str, batch: Any, tmp_path: Path, make_configs: Any, name: str
) -> None:
    config = make_configs(backbone, glue, tmp_path)("rte", strategy={"name": name, **STRATEGIES[name]})
    multi = MultiTask(backbone, precision="float32")
    for seed in (1, 2):
        saved_task(tmp_path / str(seed), config, seed)
        multi.add(str(seed), multi.stored_task(tmp_path / str(seed)))
    for seed in (1, 2):
        expected = alone(tmp_path / str(seed), batch)
        assert torch.allclose(torch.stack(multi(**batch, tasks=[str(seed)] * 24)), expected, rtol=0, atol=1e-5)
    multi.remove("1")
    assert torch.allclose(torch.stack(multi(**batch, tasks=["2"] * 24)), expected, rtol=0, atol=1e-5)


def test_a_stored_task_is_checked_before_its_tensors_are_read(
    bare_backbone: str, backbone: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    stored = MultiTask(backbone).stored_task(folders["lora"])
    assert stored.task.spec.name == stored.adapter.task
    assert stored.task.folder == folders["lora"] / "adapter"
    with pytest.raises(RunError, match="another backbone"):
        MultiTask(bare_backbone).stored_task(folders["lora"])
    with pytest.raises(UsageError, match=r"no adapter_config\.json"):
        MultiTask(backbone).stored_task(tmp_path)
