import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertModel

from adapter_tune.adapters.model_parts import adapters_of
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.build import build_model
from adapter_tune.run_files import adapter_files
from adapter_tune.runs.save import adapter_config
from adapter_tune.strategies import REGISTRY, parse_strategy
from tests.helpers import save_backbone


def shaken(prepared: Any) -> Any:
    """A built model whose own tensors are anything but their initial values."""
    torch.manual_seed(9)
    with torch.no_grad():
        buffers = [b for one in adapters_of(prepared.model) for b in one.buffers()]  # statistics, whether saved or not
        for tensor in (*adapter_files.saved_tensors(prepared.model, prepared.newly_initialized).values(), *buffers):
            tensor.copy_(torch.rand(tensor.shape) + 0.1)  # running variances are above zero
    return prepared


def save(folder: Path, prepared: Any, config: Any) -> None:
    adapter_files.save_adapter(folder, prepared.model, prepared.newly_initialized, adapter_config(prepared, config))


def logits(prepared: Any) -> torch.Tensor:
    ids = torch.arange(5, 17).reshape(2, 6)
    with torch.no_grad():
        out: torch.Tensor = prepared.model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return out


WITH_STATISTICS = {"name": "houlsby", "m": 4, "norm": "batch", "scale": "learnt"}


@pytest.mark.parametrize("strategy", [*REGISTRY, WITH_STATISTICS], ids=str)
@pytest.mark.parametrize("pooler", ["auto", "frozen"])
def test_logits_after_save_and_load_are_equal_to_the_bit(
    make_config: Any, bare_backbone: str, tmp_path: Path, strategy: Any, pooler: str
) -> None:
    if parse_strategy(strategy).trains_pooler and pooler == "frozen":
        return
    config = make_config("mnli", strategy=strategy, model={"id": bare_backbone, "pooler": pooler})
    saved = shaken(build_model(config))
    adapter_files.save_weights(saved.model, saved.newly_initialized, tmp_path)
    again = build_model(config)
    assert not torch.equal(logits(again), logits(saved))
    adapter_files.load_weights(again.model, again.newly_initialized, tmp_path)
    assert torch.equal(logits(again), logits(saved))


def test_a_random_pooler_is_saved_even_where_it_is_frozen(make_config: Any, tmp_path: Path) -> None:
    save_backbone(tmp_path, BertModel, seed=2, add_pooling_layer=False)
    config = make_config(model={"id": str(tmp_path), "pooler": "frozen"})
    saved = build_model(config)
    adapter_files.save_weights(saved.model, saved.newly_initialized, tmp_path / "adapter")
    again = build_model(config)
    adapter_files.load_weights(again.model, again.newly_initialized, tmp_path / "adapter")
    assert torch.equal(logits(again), logits(saved))


@pytest.mark.parametrize("strategy", REGISTRY)
def test_the_file_holds_what_is_trained_and_not_the_backbone(make_config: Any, tmp_path: Path, strategy: str) -> None:
    prepared = build_model(make_config(strategy=strategy))
    path = adapter_files.save_weights(prepared.model, prepared.newly_initialized, tmp_path)
    trained = {name for name, p in prepared.model.named_parameters() if p.requires_grad}
    stored = load_file(path)
    assert stored.keys() == trained
    assert path.stat().st_size <= 4 * sum(t.numel() for t in stored.values()) + 64 * 1024


def test_adapter_config_says_what_it_takes(make_config: Any, tmp_path: Path) -> None:
    config = make_config("mnli")
    prepared = build_model(config)
    save(tmp_path, prepared, config)
    read = adapter_files.read_adapter_config(tmp_path)
    assert read.fingerprint == prepared.fingerprint
    assert read.strategy == {**config.strategy.to_dict(), "name": "houlsby"}
    assert read.labels == ["entailment", "neutral", "contradiction"]
    assert read.model == {"id": config.model.id, "revision": None, "pooler": "frozen"}


def _drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["classifier.bias"]


def _add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stranger"] = torch.zeros(1)


def _reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["classifier.bias"] = torch.zeros(5)


def _recast(tensors: dict[str, torch.Tensor]) -> None:
    tensors["classifier.bias"] = tensors["classifier.bias"].half()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop, "tensor classifier.bias is missing"),
        (_add, "tensor stranger is unexpected"),
        (_reshape, r"tensor classifier.bias is torch.float32 \(5,\), not torch.float32 \(2,\)"),
        (_recast, r"tensor classifier.bias is torch.float16"),
    ],
)
def test_a_file_of_another_adapter_is_refused_and_changes_nothing(
    make_config: Any, tmp_path: Path, damage: Any, message: str
) -> None:
    prepared = build_model(make_config())
    path = adapter_files.save_weights(shaken(prepared).model, prepared.newly_initialized, tmp_path)
    before = logits(prepared)
    tensors = load_file(path)
    tensors["classifier.weight"] += 1
    damage(tensors)
    save_file(tensors, path)
    with pytest.raises(RunError, match=message):
        adapter_files.load_weights(prepared.model, prepared.newly_initialized, tmp_path)
    assert torch.equal(logits(prepared), before)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(make_config: Any, tmp_path: Path, keep: int) -> None:
    prepared = build_model(make_config())
    path = adapter_files.save_weights(prepared.model, prepared.newly_initialized, tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match="damaged or incomplete"):
        adapter_files.load_weights(prepared.model, prepared.newly_initialized, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "damaged"),
        ('{"format": 1}', "task is missing"),
        ("[" * 100_000, "not valid JSON"),
        ('{"format": 99, "a later key": 1}', "too new for this version"),
        (None, "too new for this version"),
    ],
)
def test_a_damaged_adapter_config_is_refused(make_config: Any, tmp_path: Path, text: str | None, message: str) -> None:
    config = make_config()
    save(tmp_path, build_model(config), config)
    path = tmp_path / adapter_files.CONFIG
    path.write_text(text or json.dumps({**json.loads(path.read_text()), "format": adapter_files.FORMAT + 1}))
    with pytest.raises(RunError, match=message):
        adapter_files.read_adapter_config(tmp_path)


def test_a_folder_without_an_adapter_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=adapter_files.CONFIG):
        adapter_files.read_adapter_config(tmp_path)


def test_another_backbone_is_refused_by_name_and_fingerprint(
    make_config: Any, backbone: str, bare_backbone: str, tmp_path: Path
) -> None:
    config = make_config()
    prepared = build_model(config)
    save(tmp_path, prepared, config)
    other = build_model(make_config(model=bare_backbone))
    with pytest.raises(RunError) as caught:
        adapter_files.check_backbone(adapter_files.read_adapter_config(tmp_path), other.config.id, other.fingerprint)
    for part in (backbone, bare_backbone, prepared.fingerprint[:16], other.fingerprint[:16]):
        assert part in str(caught.value)
