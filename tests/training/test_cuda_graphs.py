"""Which batches are a graph's, what it reads and leaves; recording is mocked, and real on a GPU."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import adapter_tune
from adapter_tune.config.schema import DataConfig
from adapter_tune.data.flat_rows import FlatRows, RowNumbers
from adapter_tune.modeling import fast_paths
from adapter_tune.modeling.fused_projections import fuse_projections
from adapter_tune.training import cuda_graphs
from adapter_tune.training.cuda_graphs import EAGER, CudaGraphs, StepGraphs, _Recorded
from adapter_tune.training.trainer import AdapterTrainer
from tests.helpers import LABELS, TOKENIZER, tokenised


class Mock:
    """A graph that computes anew what was recorded, into the same tensors."""

    def __init__(self, graphs: CudaGraphs, inputs: dict[str, Tensor], sizes: tuple[int, ...]) -> None:
        self.graphs, self.inputs, self.sizes = graphs, inputs, sizes
        self.outputs = self.computed()

    def computed(self) -> tuple[Tensor, ...]:
        return self.graphs.compute(self.inputs, *self.sizes)

    def replay(self) -> None:
        for output, new in zip(self.outputs, self.computed(), strict=True):
            output.data.copy_(new.data)


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Recording without a GPU; the sizes of what was recorded."""
    recorded: list[tuple[int, ...]] = []

    def record(self: CudaGraphs, inputs: dict[str, Tensor], sizes: tuple[int, ...]) -> _Recorded:
        recorded.append(sizes)
        graph = Mock(self, inputs, sizes)
        return _Recorded(graph, inputs, graph.outputs)

    monkeypatch.setattr(CudaGraphs, "_recorded", record)
    monkeypatch.setattr(cuda_graphs, "_generator_as_it_was", nullcontext)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return recorded


def test_a_shape_is_recorded_once_it_has_come_often(mocked: list[tuple[int, ...]]) -> None:
    graphs = CudaGraphs(lambda batch, factor: (batch["x"] * factor,), "products", torch.device("cpu"))
    given = [graphs({"x": torch.full((2,), float(i))}, 3) for i in range(EAGER + 3)]
    assert [out is None for out in given] == [True] * EAGER + [False] * 3
    assert given[-1] is not None
    assert given[-1][0].tolist() == [3.0 * (EAGER + 2)] * 2
    assert graphs({"x": torch.ones(3)}, 3) is None  # another shape, and another size
    assert graphs({"x": torch.ones(2)}, 4) is None
    assert mocked == [(3,)]
    assert len(graphs) == 1


def test_what_cannot_be_recorded_is_said_once_and_computed(
    mocked: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("called a synchronizing CUDA operation\nmore")

    monkeypatch.setattr(CudaGraphs, "_recorded", fail)
    graphs = CudaGraphs(lambda batch: (batch["x"],), "training steps", torch.device("cpu"))
    with caplog.at_level(logging.INFO, "adapter_tune"):
        assert all(graphs({"x": torch.ones(2)}) is None for _ in range(6))
    assert len(caplog.records) == 1
    assert "training steps cannot be recorded as CUDA graphs (called a synchronizing CUDA operation)" in caplog.text
    assert not graphs.is_on


def test_there_is_an_end_to_the_graphs(mocked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "_MOST", 2)
    graphs = CudaGraphs(lambda batch: (batch["x"],), "copies", torch.device("cpu"))
    for size in (1, 2, 3):
        out = [graphs({"x": torch.ones(size)}) for _ in range(EAGER + 1)][-1]
        assert (out is None) == (size == 3)


@pytest.mark.parametrize("max_norm", [0.0, 0.01, 100.0])
def test_a_step_leaves_the_gradients_clipped(mocked: Any, max_norm: float) -> None:
    torch.manual_seed(0)
    model, unused = nn.Embedding(100, 1), nn.Parameter(torch.ones(2))
    rows = FlatRows(tokenised(LABELS["classes"]), DataConfig(max_length=32), TOKENIZER, torch.device("cpu"))

    def step(batch: dict[str, Tensor]) -> Tensor:
        loss = step_loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    graphs = StepGraphs(rows, step, [*model.parameters(), unused], max_norm)
    for start in range(EAGER + 3):
        chosen = torch.arange(start, start + 4)
        loss = graphs(chosen, 32)
        if loss is None:
            assert graphs.norm is None
            assert model.weight.grad is None
            continue
        assert graphs.norm is not None
        found, norm, value = model.weight.grad, float(graphs.norm), float(loss)
        assert found is not None
        assert unused.grad is None
        expected = torch.autograd.grad(step_loss(model, rows.gather(chosen, 32)), model.weight)[0]
        assert norm == pytest.approx(float(expected.norm()))
        scale = min(1.0, max_norm / (norm + 1e-6)) if max_norm else 1.0
        assert torch.allclose(found, expected * scale)
        assert value == pytest.approx(step_loss(model, rows.gather(chosen, 32)).item())
        found.mul_(0.5)  # as an optimiser might; the next replay writes it anew


def step_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    weights: Tensor = model(batch["input_ids"]).squeeze(-1)
    return (weights * batch["attention_mask"]).square().mean()


@pytest.mark.parametrize(
    ("training", "trains", "evaluates"),
    [
        ({}, True, True),
        ({"precision": "fp16"}, False, True),
        ({"gradient_accumulation": 2}, False, True),
        ({"gradient_checkpointing": True}, False, True),
        ({"fast": False}, False, False),
    ],
    ids=str,
)
def test_which_runs_have_graphs(
    mocked: Any, make_config: Any, monkeypatch: pytest.MonkeyPatch, training: Any, trains: bool, evaluates: bool
) -> None:
    """The losses and scores are those without."""
    precision = training.pop("precision", "float32")
    small = {"epochs": 3, "batch_size": 8, "eval_batch_size": 4, "precision": "float32", "device": "cpu"}
    config = make_config("rte", **small, **training)
    monkeypatch.setattr(fast_paths, "dropout", lambda x, p: x)  # a step that is recorded is computed once more
    monkeypatch.setattr(fast_paths, "dropout_mask", lambda like, p: torch.ones_like(like))
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)
    plain = adapter_tune.run(config)
    trainers: list[AdapterTrainer] = []

    def is_on_one_gpu(self: AdapterTrainer) -> bool:
        trainers.append(self)
        self.precision = precision
        return True

    monkeypatch.setattr(AdapterTrainer, "_is_on_one_gpu", is_on_one_gpu)
    result = adapter_tune.run(config, force=True)
    if not evaluates:
        assert not trainers
        return
    (trainer,) = trainers
    assert fuse_projections(trainer.model) == 0  # all that can be fused are
    assert (trainer.step_graphs is not None) == trains
    assert isinstance(trainer.train_dataset, RowNumbers) == trains
    assert trainer.eval_graphs is not None
    assert len(trainer.eval_graphs) > 0
    if trainer.step_graphs is not None:
        assert len(trainer.step_graphs.graphs) > 0
        assert trainer.speed_monitor.examples == 3 * 64
    assert len(result.history) == len(plain.history)
    for found, expected in zip(result.history, plain.history, strict=True):
        assert found == pytest.approx(expected, rel=1e-4)


def test_batch_norm_has_no_graph(mocked: Any, make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AdapterTrainer, "_is_on_one_gpu", lambda self: True)
    with_graphs: list[bool] = []
    train = AdapterTrainer.train

    def watched(self: AdapterTrainer, *args: Any, **kwargs: Any) -> Any:
        with_graphs.append(self.step_graphs is not None)
        return train(self, *args, **kwargs)

    monkeypatch.setattr(AdapterTrainer, "train", watched)
    adapter_tune.run(make_config("rte", strategy={"name": "houlsby", "m": 4, "norm": "batch"}, epochs=1))
    assert with_graphs == [False]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("strategy", ["houlsby", "full", "lora"])
def test_a_real_graph_teaches_what_the_ordinary_way_does(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    config = make_config("rte", strategy=strategy, epochs=4, batch_size=8)
    recorded = adapter_tune.run(config)
    monkeypatch.setattr(AdapterTrainer, "_is_on_one_gpu", lambda self: False)
    plain = adapter_tune.run(config, force=True)
    for found, expected in zip(recorded.history, plain.history, strict=True):
        assert found == pytest.approx(expected, rel=1e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("question", [lambda x: x * float(x.sum()), lambda x: x[x > 0]])
def test_after_a_recording_that_fails_the_gpu_goes_on(question: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked_before in (True, False):  # with the check before a recording, and in a recording itself
        if not asked_before:
            monkeypatch.setattr(cuda_graphs, "_no_questions", nullcontext)
        graphs = CudaGraphs(lambda b: (question(nn.functional.dropout(b["x"])),), "questions", torch.device("cuda"))
        assert all(graphs({"x": torch.ones(8)}) is None for _ in range(EAGER + 2))
        assert not graphs.is_on
        assert nn.functional.dropout(torch.ones(8, device="cuda")).sum() >= 0
        others = CudaGraphs(lambda b: (nn.functional.dropout(b["x"]),), "dropout", torch.device("cuda"))
        drawn = [others({"x": torch.ones(64)}) for _ in range(EAGER + 2)]
        assert drawn[-1] is not None
