"""Several processes of one run, as torchrun or accelerate launch start them: how many, and which is this one."""

from __future__ import annotations

import os
from typing import TypeVar

from adapter_tune.foundation.errors import UsageError

T = TypeVar("T")


def world_size() -> int:
    """Processes of this run."""
    return max(1, int(os.environ.get("WORLD_SIZE") or 1))


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK") or 0)


def is_main_process() -> bool:
    """True for the one that writes and speaks."""
    return rank() == 0


def agree(answer: T) -> T:
    """The first process's answer, in all of them; they meet over gloo, as for training on a CPU."""
    if world_size() == 1:
        return answer
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=True, backend="gloo")
    (found,) = broadcast_object_list([answer])
    return found  # type: ignore[no-any-return]


def check_launcher() -> None:
    """Refuse launchers' settings that shard what is trained: checkpoints here hold it whole.

    Raises:
        UsageError: FSDP or DeepSpeed is asked for.
    """
    for name, what in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")):
        if (os.environ.get(name) or "false").lower() == "true":
            raise UsageError(
                f"{what} of a launcher shards what is trained, which is small here; launch without it, and "
                "set training.shard_backbone=true where the frozen backbone is too large for a device"
            )


def per_process_batch_size(batch_size: int) -> int:
    """Rows of a batch for each process.

    Raises:
        UsageError: they cannot be shared out evenly.
    """
    each, left = divmod(batch_size, world_size())
    if left:
        raise UsageError(
            f"training.batch_size is {batch_size}, the rows of one step over all processes, and {world_size()} "
            f"processes cannot share them evenly; set training.batch_size={max(1, each) * world_size()}"
        )
    return each
