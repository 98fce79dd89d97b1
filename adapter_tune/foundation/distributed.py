"""The processes of one run, as torchrun or accelerate launch start them."""

from __future__ import annotations

import logging
import os
from typing import TypeVar

from adapter_tune.foundation.errors import UsageError

log = logging.getLogger("adapter_tune")

T = TypeVar("T")

_SET = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun and accelerate launch set in every process; a part of it says nothing."""
_MPI_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""What mpirun and srun set, and accelerate reads."""

_UNSUPPORTED = {
    "ACCELERATE_USE_FSDP": "FSDP shards the trained weights, which are small here",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed shards the trained weights, which are small here",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM splits the layers, which are frozen here",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "this parallelism splits the layers, which are frozen here",
}
"""Settings of accelerate launch under which checkpoints would not hold the trained weights as a whole."""


def world_size() -> int:
    """The number of processes of this run; 1 unless a launcher has set all of its variables."""
    return _rank_and_size()[1]


def rank() -> int:
    """The number of this process, from 0; 0 unless a launcher has set all of its variables."""
    return _rank_and_size()[0]


def is_main_process() -> bool:
    """True for the one process that writes files and logs."""
    return rank() == 0


def _rank_and_size() -> tuple[int, int]:
    numbers = [_integer(name) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")]
    if None in numbers or not all(os.environ.get(name) for name in _SET):
        return 0, 1
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return (rank, size) if size > 1 and 0 <= rank < size else (0, 1)


def _integer(variable: str) -> int | None:
    try:
        return int(os.environ[variable])
    except (KeyError, ValueError):
        return None


def agree(answer: T) -> T:
    """The main process's answer, returned in every process (broadcast over gloo)."""
    if world_size() == 1:
        return answer
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=True, backend="gloo")
    (main_answer,) = broadcast_object_list([answer])
    return main_answer  # type: ignore[no-any-return]


def check_launcher() -> None:
    """Check what launchers say in environment variables, before data are read.

    A rank without a number of processes counts for nothing and is removed, so that no library takes it for one.

    Raises:
        UsageError: only a part of a launcher's variables is set, one of them is wrong, or the launcher asks for
            something that is not supported.
    """
    _check_processes()
    _check_accelerate()


def _check_processes() -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", *_MPI_SIZES):
        if os.environ.get(name) and _integer(name) is None:
            raise UsageError(f"{name}={os.environ[name]} should be a whole number; unset it, or start with torchrun")
    missing = [name for name in _SET if not os.environ.get(name)]
    sizes = {name: _integer(name) or 1 for name in ("WORLD_SIZE", *_MPI_SIZES)}
    if missing:
        for name, size in sizes.items():
            if size > 1:
                raise UsageError(
                    f"{name}={size} says that {size} processes share this run, but {', '.join(missing)} "
                    f"{'is' if len(missing) == 1 else 'are'} not set; start them with torchrun, or unset {name}"
                )
        _remove_rank()
    elif not 0 <= int(os.environ["RANK"]) < sizes["WORLD_SIZE"]:
        raise UsageError(
            f"RANK={os.environ['RANK']} should be below WORLD_SIZE={os.environ['WORLD_SIZE']} and at least 0; "
            "unset both, or start with torchrun"
        )


def _remove_rank() -> None:
    for name in ("RANK", "LOCAL_RANK"):
        value = os.environ.pop(name, None)
        if value and int(value) != 0:  # 0 is what the only process has
            log.info("%s=%s is ignored: no launcher says that there are several processes", name, value)


def _check_accelerate() -> None:
    for variable, reason in _UNSUPPORTED.items():
        if _is_set(variable):
            raise UsageError(
                f"{variable} is set, and {reason}; launch without it, and set training.shard_backbone=true if the "
                "frozen backbone is too large for one device"
            )
    if device := os.environ.get("ACCELERATE_TORCH_DEVICE"):
        raise UsageError(f"ACCELERATE_TORCH_DEVICE={device}: unset it; training.device chooses the device")
    backend = os.environ.get("ACCELERATE_DYNAMO_BACKEND") or "no"
    if backend.lower() != "no":
        raise UsageError(f"ACCELERATE_DYNAMO_BACKEND={backend}: torch.compile is not supported; launch without it")


def launcher_uses_cpu() -> bool:
    """True if accelerate launch was told to compute on the CPU."""
    return _is_set("ACCELERATE_USE_CPU")


def launcher_precision() -> str | None:
    """The number type that accelerate launch was told to compute in: "bf16", "fp16", "fp8", or None."""
    name = (os.environ.get("ACCELERATE_MIXED_PRECISION") or "no").lower()
    return None if name == "no" else name


def launcher_accumulation() -> str | None:
    """The steps of gradient accumulation that accelerate launch was told to take; None if it was told none, or 1."""
    steps = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS") or "1"
    return None if steps == "1" else steps


def _is_set(variable: str) -> bool:
    return (os.environ.get(variable) or "false").lower() in ("true", "1", "yes")


def per_process_batch_size(batch_size: int) -> int:
    """The number of rows of each batch that one process gets.

    Raises:
        UsageError: the batch cannot be divided evenly among the processes.
    """
    rows, remainder = divmod(batch_size, world_size())
    if remainder:
        raise UsageError(
            f"training.batch_size is {batch_size} (rows per step over all processes) and cannot be divided evenly "
            f"among {world_size()} processes; set training.batch_size={max(1, rows) * world_size()}"
        )
    return rows
