"""The processes of one run, as torchrun or accelerate launch start them."""

from __future__ import annotations

import os
from typing import TypeVar

from adapter_tune.foundation.errors import UsageError

T = TypeVar("T")


def world_size() -> int:
    """The number of processes of this run."""
    return max(1, int(os.environ.get("WORLD_SIZE") or 1))


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK") or 0)


def is_main_process() -> bool:
    """True for the one process that writes files and logs."""
    return rank() == 0


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
    """Refuse launcher settings that shard the trained weights, because checkpoints here hold them unsharded.

    Raises:
        UsageError: the launcher asks for FSDP or DeepSpeed.
    """
    for variable, method in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")):
        if (os.environ.get(variable) or "false").lower() == "true":
            raise UsageError(
                f"{method} shards the trained weights, which are small here; launch without it, and "
                "set training.shard_backbone=true if the frozen backbone is too large for one device"
            )


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
