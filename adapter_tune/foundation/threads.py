"""How many CPU threads a run computes with.

PyTorch's threads wait for each other after every operation, and keep their cores busy while they wait. Two programs
that both take all cores slow each other down several times over, so a run takes the cores that nobody else uses when
it starts. Another number of threads rounds sums in another order, so the number is chosen once for a run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_LEAST_SECONDS = 0.2  # of measuring; the system counts in hundredths


class LoadMeter:
    """Measures how many cores other programs keep busy, from the moment that it is made."""

    def __init__(self) -> None:
        self._start = _times()

    def busy_cores(self) -> float:
        """Cores that other programs kept busy on average, out of those that this process may use; 0 if unknown."""
        if self._start is None:
            return 0.0
        time.sleep(max(0.0, _LEAST_SECONDS - (time.monotonic() - self._start[0])))
        now = _times()
        if now is None:
            return 0.0
        wall, all_programs, this_one = (after - before for after, before in zip(now, self._start, strict=True))
        return max(0.0, (all_programs - this_one) / wall)


def choose_threads(meter: LoadMeter) -> int:
    """As many threads as there are idle cores, at least one; a number in the environment decides instead."""
    import torch

    most = torch.get_num_threads()
    if most == 1 or any(_is_count(os.environ.get(name, "")) for name in _VARIABLES):
        return most
    return max(1, round(most - meter.busy_cores()))


def _is_count(value: str) -> bool:
    """Whether a variable holds a number of threads (or several, one for each level); libraries ignore other values."""
    first = value.split(",", maxsplit=1)[0].strip()
    return first.isdecimal() and int(first) > 0


@contextmanager
def cpu_threads(number: int | None) -> Iterator[None]:
    """Compute with so many threads in the block; None changes nothing."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _times() -> tuple[float, float, float] | None:
    """Seconds: by the clock, that cores were busy, that they were busy with this process; None if unknown."""
    try:
        own = psutil.Process().cpu_times()
        cores = psutil.cpu_times(percpu=True)
    except (psutil.Error, OSError, NotImplementedError, ValueError):  # a sandbox may hide the system's counters
        return None
    usable = usable_cores()
    busy = 0.0
    for core, times in enumerate(cores):
        if core in usable:
            busy += sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
    return time.monotonic(), busy, own.user + own.system


def usable_cores() -> set[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))
