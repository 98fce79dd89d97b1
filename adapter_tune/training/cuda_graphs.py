"""Training steps and evaluated batches as CUDA graphs, one for each shape of batch.

A step of BERT-base launches over a thousand small kernels, and a GPU finishes them faster than Python can ask for them.
A graph is recorded once for each shape, and then asked for with one call; the kernels and their results are the same.
See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from adapter_tune.data.flat_rows import FlatRows
from adapter_tune.foundation.errors import first_line

log = logging.getLogger("adapter_tune")

EAGER = 2
"""Batches of a shape that are computed in the ordinary way before its graph is recorded: rare shapes need none."""

_MOST = 64  # graphs; with padding to a multiple of 8 there are max_length / 8 shapes of full batches

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class _Recorded:
    graph: Any
    inputs: Batch
    """Written before a replay."""
    outputs: tuple[Tensor, ...]
    """Overwritten by the next replay."""


class CudaGraphs:
    """A function of tensors, computed by graphs.

    Args:
        compute: from a batch on the GPU, and what else decides a graph, to tensors; it asks the device nothing, and
            has no effect that matters when it is called once more.
        what: it is, for messages.
        device: where it reads a batch.
    """

    def __init__(self, compute: Callable[..., tuple[Tensor, ...]], what: str, device: torch.device) -> None:
        self.compute = compute
        self.what = what
        self.device = device
        self.is_on = True
        self._graphs: dict[Any, _Recorded] = {}
        self._counts: dict[Any, int] = {}
        """How many batches of each shape there have been."""
        self._stream: Any = None  # one stream and one pool, or no recording could use the memory of the one before
        self._pool: Any = None

    def __len__(self) -> int:
        """How many shapes are recorded."""
        return len(self._graphs)

    def __call__(self, batch: Batch, *sizes: int) -> tuple[Tensor, ...] | None:
        """What ``compute`` gives, to be read before the next call; None where the batch is not a graph's.

        Args:
            batch: tensors of any device, copied to where the graph reads them.
            sizes: further arguments of ``compute``; each has graphs of its own.
        """
        key = (sizes, *((name, tuple(tensor.shape)) for name, tensor in batch.items()))
        self._counts[key] = self._counts.get(key, 0) + 1
        if not self.is_on or self._counts[key] <= EAGER:
            return None
        if key not in self._graphs and not self._record(key, batch, sizes):
            return None
        recorded = self._graphs[key]
        for name, tensor in batch.items():
            recorded.inputs[name].copy_(tensor, non_blocking=True)
        recorded.graph.replay()
        return recorded.outputs

    def _record(self, key: Any, batch: Batch, sizes: tuple[int, ...]) -> bool:
        """Record the graph of a shape; where that fails, say so once and go on without graphs."""
        if len(self._graphs) >= _MOST:
            return False
        with _generator_as_it_was(self.device), _quiet():
            try:
                inputs = {name: tensor.to(self.device, copy=True) for name, tensor in batch.items()}
                self._graphs[key] = self._recorded(inputs, sizes)
            except (RuntimeError, ValueError, NotImplementedError) as error:  # it asks the device, or memory is short
                reason = first_line(error)
                log.info(
                    "%s cannot be recorded as CUDA graphs (%s); they run without graphs, more slowly", self.what, reason
                )
                self.is_on = False
                self._graphs.clear()
                self._stream = self._pool = None
        if not self.is_on:
            torch.cuda.empty_cache()  # what recordings held is not kept from the steps that go on without them
        return self.is_on

    def _recorded(self, inputs: Batch, sizes: tuple[int, ...]) -> _Recorded:
        if self._stream is None:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), _no_questions():  # what a library sets up at first is not recorded
            self.compute(inputs, *sizes)
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            outputs = self.compute(inputs, *sizes)
        return _Recorded(graph, inputs, outputs)


class StepGraphs:
    """Training steps by graphs: a batch's loss, and gradients of what is trained, clipped.

    Args:
        rows: the training split, on the GPU.
        step: forward and backward of a batch; it leaves gradients in the parameters and returns the loss (a scalar).
        trained: the parameters.
        max_norm: at which the norm of the gradient is clipped; 0 does not clip.
    """

    def __init__(
        self, rows: FlatRows, step: Callable[[Batch], Tensor], trained: list[nn.Parameter], max_norm: float
    ) -> None:
        self.rows = rows
        self.step = step
        self.trained = trained
        self.max_norm = max_norm or float("inf")
        self.norm: Tensor | None = None
        """Norm of the last step's gradient before it was clipped; None after a step that was not a graph's."""
        self.graphs = CudaGraphs(self._compute, "training steps", rows.device)
        self._gradients: list[Tensor] = []  # one set for all graphs, outside of their memory

    def __call__(self, chosen: Tensor, width: int) -> Tensor | None:
        """The loss of a batch, the parameters' gradients set; None where it is to be computed in the ordinary way.

        Args:
            chosen: numbers of its rows, on the CPU.
            width: tokens to which it is padded.
        """
        outputs = self.graphs({"rows": chosen}, width)
        self.norm = None
        if outputs is None:
            self._reset_gradients()
            return None
        for parameter, gradient in zip(self.trained, self._gradients, strict=True):
            parameter.grad = gradient
        loss, self.norm = outputs
        return loss

    def _compute(self, batch: Batch, width: int) -> tuple[Tensor, ...]:
        self._reset_gradients()
        loss = self.step(self.rows.gather(batch["rows"], width)).detach()
        if not self._gradients:  # the first time, when nothing is recorded yet
            self.trained = [parameter for parameter in self.trained if parameter.grad is not None]
            self._gradients = [torch.zeros_like(parameter) for parameter in self.trained]
        norm = nn.utils.clip_grad_norm_(self.trained, self.max_norm)
        torch._foreach_copy_(self._gradients, [cast(Tensor, parameter.grad) for parameter in self.trained])
        return loss, norm

    def _reset_gradients(self) -> None:
        for parameter in self.trained:
            parameter.grad = None


@contextmanager
def _no_questions() -> Iterator[None]:
    """An operation that waits for the device is an error, which is much easier to recover from than one in a graph."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that a check of synchronisations, and a backward pass on another stream, give once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream does not match")
        yield


@contextmanager
def _generator_as_it_was(device: torch.device) -> Iterator[None]:
    """Bring the GPU's generator back to the state that it had."""
    torch.cuda.init()  # type: ignore[no-untyped-call]
    index = torch.cuda.current_device() if device.index is None else device.index
    generator = torch.cuda.default_generators[index]
    state = generator.get_state()
    try:
        yield
    finally:
        try:
            generator.set_state(state)
            torch.empty(1, device=generator.device).uniform_()
            generator.set_state(state)
        except RuntimeError:  # after a recording that failed it waits for the end of it for good (pytorch#171263)
            another = torch.Generator(device=generator.device)
            another.set_state(state)
            generator.graphsafe_set_state(another.graphsafe_get_state())
