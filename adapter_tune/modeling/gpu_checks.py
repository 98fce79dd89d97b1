"""What the GPUs of this machine can and cannot do for a run, said before anything is loaded."""

from __future__ import annotations

import logging
import os

import torch

from adapter_tune.config.schema import TrainingConfig
from adapter_tune.foundation import distributed
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.precision import ComputeSettings, has_bf16

log = logging.getLogger("adapter_tune")


def check_gpus(training: TrainingConfig, compute: ComputeSettings) -> None:
    """Check a run's device, and log what would be faster on it.

    Raises:
        RunError: this build of PyTorch has no code for the GPU.
        UsageError: there are more processes than GPUs, or the device cannot compute in bf16.
    """
    if compute.device == "mps" and compute.precision == "bf16" and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise UsageError("training.precision: bf16 on mps needs macOS 14; update it, or set training.precision=float32")
    if compute.device != "cuda":
        return
    _check_architecture()
    _check_process_count()
    gpus = torch.cuda.device_count()
    if gpus > 1 and distributed.world_size() == 1:
        log.info(
            "1 of %d GPUs is used; to use all, start with: torchrun --nproc-per-node %d -m adapter_tune", gpus, gpus
        )
    if training.precision == "auto" and not has_bf16("cuda"):
        log.info("this GPU has no bf16, so float32 is used; --set training.precision=fp16 is faster")


def _check_architecture() -> None:
    """Compare the GPU's compute capability with those that PyTorch was built for: Volta, for one, was dropped."""
    major, minor = torch.cuda.get_device_capability()
    built_for = torch.cuda.get_arch_list()
    for name in built_for:
        kind, _, digits = name.rstrip("af").partition("_")
        built_major, built_minor = divmod(int(digits), 10)
        runs_as_it_is = kind == "sm" and built_major == major and built_minor <= minor
        is_compiled_at_start = kind == "compute" and (built_major, built_minor) <= (major, minor)
        if runs_as_it_is or is_compiled_at_start:
            return
    if built_for:
        raise RunError(
            f"{torch.cuda.get_device_name()} has compute capability {major}.{minor}, and this build of PyTorch is for "
            f"{', '.join(built_for)}; install one that supports it (for Volta: one for CUDA 12.6), or set "
            "training.device=cpu"
        )


def _check_process_count() -> None:
    processes = int(os.environ.get("LOCAL_WORLD_SIZE") or distributed.world_size())
    gpus = torch.cuda.device_count()
    if distributed.world_size() > 1 and processes > gpus:
        raise UsageError(
            f"{processes} processes on a machine with {gpus} GPUs; start at most {gpus}, or set training.device=cpu"
        )
