"""The device and the type that a run computes in, and a frozen backbone that is held in it.

Products run in a narrow type under autocast; what is trained stays in float32, whatever the frozen weights are held in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from torch import nn

from adapter_tune.foundation.errors import RunError, UsageError

Precision = Literal["float32", "bf16", "fp16"]

TYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_MATRICES = (nn.Linear, nn.Embedding, nn.Conv1d)


def resolve_device(wanted: str) -> str:
    """The kind of device to run on.

    Raises:
        RunError: it was named and is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there[wanted]:
        raise RunError(f"training.device: there is no {wanted} device here; set training.device=auto")
    return wanted


def resolve_precision(wanted: Literal["auto", "float32", "bf16", "fp16"], device: str) -> Precision:
    """The precision of a run on a kind of device; ``auto`` takes bf16 where it is multiplied natively and faster.

    Raises:
        UsageError: fp16 on a device that has no products in it.
    """
    if wanted == "auto":
        return "bf16" if has_bf16(device) else "float32"
    if wanted == "fp16" and device != "cuda":
        raise UsageError(f"training.precision: fp16 needs a GPU, and this runs on {device}; choose bf16 or float32")
    return wanted


def has_bf16(device: str) -> bool:
    """Whether products of bf16 run natively, and not by way of float32, and are the faster ones."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device == "cpu" and bool(native) and _bf16_is_faster()


@cache
def _bf16_is_faster() -> bool:
    """Measured, for some processors with bf16 but no matrix unit multiply float32 twice as fast."""
    return matmul_rate("cpu", torch.bfloat16, 256) > matmul_rate("cpu", torch.float32, 256)


def matmul_rate(device: str, dtype: torch.dtype, size: int | None = None) -> float:
    """The best measured rate of products of random matrices, operations a second: two a multiplication.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: of the matrices.
        size: they are (size, size) and (4 size, size); by default 1,024 on a CPU and 4,096 elsewhere, where a smaller
            product would not fill the device.
    """
    size = size or (1024 if device == "cpu" else 4096)
    generator = torch.Generator().manual_seed(0)  # its own, so that the run's does not move
    a = torch.randn(size, size, generator=generator).to(device, dtype)
    b = torch.randn(4 * size, size, generator=generator).to(device, dtype)
    with torch.inference_mode():
        seconds = min(_seconds(device, lambda: nn.functional.linear(a, b)) for _ in range(25))
    return 2 * size * size * 4 * size / seconds


def _seconds(device: str, work: Callable[[], object]) -> float:
    """Time that work takes: on a GPU by the device's own clock, without the time to launch it."""
    synchronize(device)
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        work()
        end.record()
        synchronize(device)
        return 1e-3 * float(start.elapsed_time(end))
    begun = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - begun


def synchronize(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def cast_frozen_weights(model: nn.Module, precision: Precision, keep: frozenset[str] = frozenset()) -> None:
    """Hold frozen matrices in the narrow type, in place: half the memory, and no cast at every step.

    Args:
        model: prepared; what requires a gradient stays as it is.
        precision: of the run.
        keep: names of parameters that stay in float32 although they are frozen, since they are saved.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for module in model.modules():
        if isinstance(module, _MATRICES):
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad and names[id(parameter)] not in keep:
                    parameter.data = parameter.data.to(TYPES[precision])
