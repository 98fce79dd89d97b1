"""Batches gathered from flat tensors are the collator's."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import adapter_tune
from adapter_tune.config.schema import DataConfig
from adapter_tune.data.flat_rows import FlatRows, RowNumbers, can_be_flat
from adapter_tune.data.splits import collator
from adapter_tune.training.trainer import AdapterTrainer
from tests.helpers import LABELS, ROWS, TOKENIZER, tokenised


@pytest.mark.parametrize(("kind", "padding", "device"), [*product(LABELS, ("batch", "max_length"), ("cpu", "cuda"))])
def test_a_batch_is_the_collators_to_the_bit(kind: str, padding: Any, device: str) -> None:
    data = DataConfig(padding=padding, max_length=32)
    rows = tokenised(LABELS[kind], with_types=kind != "numbers")
    flat = FlatRows(rows, data, TOKENIZER, torch.device("cpu"))
    flat._multiple = 8 if device == "cuda" else 1
    collate = collator(data, TOKENIZER, device)
    rng = np.random.default_rng(1)
    for size in (1, 5, 16, ROWS):
        chosen = rng.permutation(ROWS)[:size].tolist()
        expected = dict(collate([rows[row] for row in chosen]))
        batch = flat.__getitems__(chosen)
        assert batch.keys() == expected.keys()
        for name, tensor in expected.items():
            assert batch[name].dtype == tensor.dtype, name
            assert torch.equal(batch[name], tensor), name


def test_training_on_flat_rows_equals_training_on_collated_rows(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("rte", epochs=2, device="cpu")
    batch_sizes: list[int] = []
    gather = FlatRows.gather

    def count(self: FlatRows, rows: torch.Tensor, width: int) -> Any:
        batch_sizes.append(len(rows))
        return gather(self, rows, width)

    monkeypatch.setattr(FlatRows, "gather", count)
    result = adapter_tune.run(config)
    assert sum(batch_sizes) == 2 * 64 + 2 * 24
    monkeypatch.setattr("adapter_tune.training.batches.can_be_flat", lambda *_: False)
    assert adapter_tune.run(config, force=True).history == result.history


def test_a_split_with_other_columns_or_left_padding_is_not_flat() -> None:
    rows = tokenised(LABELS["classes"])
    assert can_be_flat(rows, TOKENIZER)
    assert not can_be_flat(rows.add_column("row", list(range(ROWS))), TOKENIZER)
    assert not can_be_flat(rows, type("Left", (), {"padding_side": "left"})())


def test_row_numbers_are_gathered_later() -> None:
    flat = FlatRows(tokenised(LABELS["classes"]), DataConfig(max_length=32), TOKENIZER, torch.device("cpu"))
    numbers = RowNumbers(flat)
    assert len(numbers) == ROWS
    assert numbers.__getitems__([3, 1]) == {"rows": [3, 1]}
    assert numbers.lengths is flat.lengths


def test_the_trainer_does_not_walk_the_whole_model_to_reset_gradients(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def walk(self: Any, set_to_none: bool = True) -> None:
        raise AssertionError("the whole model was walked through")

    models: list[Any] = []
    train = AdapterTrainer.train

    def watched(self: AdapterTrainer, *args: Any, **kwargs: Any) -> Any:
        models.append(self.model)
        return train(self, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "zero_grad", walk)
    monkeypatch.setattr(AdapterTrainer, "train", watched)
    adapter_tune.run(make_config("rte", epochs=1))
    assert "zero_grad" not in vars(models[0])  # the model is as it was
