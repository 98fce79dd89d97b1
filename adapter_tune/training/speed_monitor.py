"""What a run costs: seconds, rows, tokens, memory."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainerState
from transformers.trainer_callback import ExportableState

from adapter_tune.foundation import distributed
from adapter_tune.modeling.precision import Precision
from adapter_tune.run_files.result import Speed
from adapter_tune.tasks.score_keys import score_key

_STORED = ("seconds", "examples", "real", "padded", "precision", "threads")


class SpeedMonitor(TrainerCallback, ExportableState):
    """Measures what training costs, without evaluation and saving; its state is stored in the checkpoints."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.examples = 0
        self.real = 0
        """Tokens without padding."""
        self.padded = 0
        """Tokens with padding."""
        self.precision: Precision | None = None
        self.threads: int | None = None
        self._since: float | None = None
        self._pending: tuple[Any, Any, Any] = (0, 0, 0)  # rows, tokens, real tokens; numbers, or sums on the device

    def state(self) -> dict[str, Any]:
        """What a checkpoint stores."""
        self.count_pending()
        return {"args": {}, "attributes": {name: getattr(self, name) for name in _STORED}}

    def count(self, rows: Any, padded: Any, real: Any) -> None:
        """Count a training batch, without waiting for the device.

        Args:
            rows: of this process.
            padded: tokens of these rows, padding included; each process pads to the longest of its own.
            real: tokens, padding left out: a number, or a scalar tensor.
        """
        if distributed.world_size() > 1:
            sizes = torch.stack([torch.full_like(real, rows), torch.full_like(real, padded), real])
            dist.all_reduce(sizes)
            rows, padded, real = sizes.unbind()
        self._pending = (self._pending[0] + rows, self._pending[1] + padded, self._pending[2] + real)

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Continue from what the checkpoint stores, if training resumes."""
        for name, value in restored_attributes(self, state).items():
            setattr(self, name, value)

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self._since = time.perf_counter()

    on_evaluate = on_save = on_epoch_begin  # called when evaluation or saving is done

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Add the time since the last event."""
        now = time.perf_counter()
        if self._since is not None:
            self.seconds += now - self._since
        self._since = now

    def count_pending(self) -> None:
        """Add up the counts that are still on the device; waits for it."""
        examples, padded, real = map(int, self._pending)
        self.examples += examples
        self.padded += padded
        self.real += real
        self._pending = (0, 0, 0)


def restored_attributes(callback: TrainerCallback, state: TrainerState) -> dict[str, Any]:
    """The attributes of a callback in the checkpoint from which training resumes; empty at the start of a run."""
    stored = state.stateful_callbacks.get(type(callback).__name__) if state.global_step else None
    return stored["attributes"] if isinstance(stored, dict) else {}


def speed_of(
    speed_monitor: SpeedMonitor, device: str, precision: str, rates: list[dict[str, Any]], rows: dict[str, int]
) -> Speed:
    """The speed of a run.

    Args:
        speed_monitor: of its training; one that never ran gives nulls.
        device: ``cpu``, ``cuda`` or ``mps``.
        precision: the type of its products.
        rates: what the Trainer logged after evaluations, with ``eval_<split>_runtime`` in seconds.
        rows: number of rows by split.
    """
    speed_monitor.count_pending()
    evaluated = 0
    seconds = 0.0
    for entry in rates:
        for split, count in rows.items():
            runtime = entry.get(score_key(split, "runtime"))
            if runtime is not None:
                evaluated += count
                seconds += runtime
    trained = speed_monitor.seconds > 0
    return Speed(
        device=torch.cuda.get_device_name() if device == "cuda" else device,
        precision=precision,
        threads=torch.get_num_threads() if device == "cpu" else None,
        real_token_share=speed_monitor.real / speed_monitor.padded if speed_monitor.padded else None,
        train_seconds=speed_monitor.seconds if trained else None,
        train_examples_per_second=speed_monitor.examples / speed_monitor.seconds if trained else None,
        train_tokens_per_second=speed_monitor.real / speed_monitor.seconds if trained else None,
        eval_examples_per_second=evaluated / seconds if seconds else None,
        peak_memory_bytes=peak_memory(device),
    )


def reset_peak_memory() -> None:
    """Begin to measure anew; where the system cannot, a process keeps its peak for good."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: str) -> int | None:
    """Peak in bytes: of the allocator on a GPU, of the whole process elsewhere; None where it is not known."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError, StopIteration):  # Linux; getrusage's would be no less than that of the starting process
        lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    with suppress(ImportError):  # there is no such module on Windows
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return None
