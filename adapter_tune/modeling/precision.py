"""The device and the number type that a run computes in, and a frozen backbone stored in that type.

Matrix products run in the narrow type under autocast. Trained parameters stay in float32, whatever type the frozen
weights are stored in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import nn

from adapter_tune.adapters.adapted import AdaptedProjection
from adapter_tune.config.schema import TrainingConfig
from adapter_tune.foundation.errors import RunError, UsageError

Precision = Literal["float32", "bf16", "fp16"]

TYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_MATRICES = (nn.Linear, nn.Embedding, nn.Conv1d, AdaptedProjection)
_MATMUL_REPEATS = 25
BF16_TEST_SIZE = 256
"""Size of the matrices with which float32 and bf16 are compared on a CPU."""


@dataclass(frozen=True)
class ComputeSettings:
    """What a run computes on and in, resolved once."""

    device: str
    """``cpu``, ``cuda`` or ``mps``."""
    precision: Precision

    @property
    def dtype(self) -> torch.dtype:
        """The torch type of the precision."""
        return TYPES[self.precision]

    def autocast(self) -> torch.autocast:
        """The context in which matrix products run in ``dtype``; it does nothing for float32."""
        return torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32)


def resolve_compute(training: TrainingConfig) -> ComputeSettings:
    """Return the device and the precision of a run, with every ``auto`` replaced by a choice for this machine.

    Raises:
        RunError: the machine has no such device.
        UsageError: the device cannot compute in this precision.
    """
    device = resolve_device(training.device)
    return ComputeSettings(device, resolve_precision(training.precision, device))


def resolve_device(requested: str) -> str:
    """Return the device to run on; ``auto`` takes the first of cuda, mps and cpu that this machine has.

    Raises:
        RunError: the machine has no such device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if requested == "auto":
        return next(name for name, is_available in available.items() if is_available)
    if not available[requested]:
        raise RunError(f"training.device: this machine has no {requested} device; set training.device=auto")
    return requested


def resolve_precision(requested: Literal["auto", "float32", "bf16", "fp16"], device: str) -> Precision:
    """Return the precision to compute in; ``auto`` takes bf16 where it is native and faster than float32.

    Raises:
        UsageError: fp16 on a device other than a GPU.
    """
    if requested == "auto":
        return "bf16" if has_bf16(device) else "float32"
    if requested == "fp16" and device != "cuda":
        raise UsageError(f"training.precision: fp16 needs a GPU, but the device is {device}; choose bf16 or float32")
    return requested


def has_bf16(device: str) -> bool:
    """Whether the device multiplies bf16 natively (without a detour over float32) and faster than float32."""
    return is_bf16_native(device) and (device != "cpu" or _bf16_is_faster())


def is_bf16_native(device: str) -> bool:
    """Whether the device multiplies bf16 without a detour over float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@cache
def _bf16_is_faster() -> bool:
    """Measured, because some processors with bf16 but without a matrix unit multiply float32 twice as fast."""
    return matmul_rate("cpu", torch.bfloat16, BF16_TEST_SIZE) > matmul_rate("cpu", torch.float32, BF16_TEST_SIZE)


def matmul_rate(device: str, dtype: torch.dtype, size: int | None = None) -> float:
    """Return the best measured rate of a matrix product, in operations a second (two for each multiplication).

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: type of the matrices.
        size: the matrices are (size, size) and (4 size, size). The default is 1,024 on a CPU and 4,096 elsewhere,
            where a smaller product would not fill the device.
    """
    size = size or (1024 if device == "cpu" else 4096)
    generator = torch.Generator().manual_seed(0)  # a separate one, so that the run's random numbers stay the same
    a = torch.randn(size, size, generator=generator).to(device, dtype)
    b = torch.randn(4 * size, size, generator=generator).to(device, dtype)
    with torch.inference_mode():
        seconds = min(_seconds(device, lambda: nn.functional.linear(a, b)) for _ in range(_MATMUL_REPEATS))
    return 2 * size * size * 4 * size / seconds


def _seconds(device: str, compute: Callable[[], object]) -> float:
    """Return how long a computation takes; on a GPU by the device's own clock, without the time to launch it."""
    synchronize(device)
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        compute()
        end.record()
        synchronize(device)
        return 1e-3 * float(start.elapsed_time(end))
    start_time = time.perf_counter()
    compute()
    synchronize(device)
    return time.perf_counter() - start_time


def synchronize(device: str) -> None:
    """Wait until the device has finished its work."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def cast_frozen_weights(model: nn.Module, precision: Precision, exclude: frozenset[str] = frozenset()) -> None:
    """Convert frozen matrices to the narrow type, in place: half the memory, and no cast at every step.

    Args:
        model: a prepared model; parameters that require a gradient stay as they are.
        precision: of the run.
        exclude: names of frozen parameters that stay in float32, because they are saved with the adapter.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for module in model.modules():
        if not isinstance(module, _MATRICES):
            continue
        for parameter in module.parameters(recurse=False):
            if not parameter.requires_grad and names[id(parameter)] not in exclude:
                parameter.data = parameter.data.to(TYPES[precision])
