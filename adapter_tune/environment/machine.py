"""The processor, the devices, the threads and the precision of this machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

_GIB = 2**30


def machine() -> dict[str, str]:
    """Return the platform, the processor, and the memory. Needs no torch."""
    import psutil

    from adapter_tune.foundation.threads import usable_cores

    memory = psutil.virtual_memory()
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": f"{len(usable_cores())} of {os.cpu_count()} usable",
        "memory": f"{memory.total / _GIB:.1f} GiB, {memory.available / _GIB:.1f} GiB available",
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of the processor."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def compute() -> dict[str, Any]:
    """Return the device and the precision that ``auto`` chooses, with the reason, and the number of threads."""
    import torch

    from adapter_tune.foundation.threads import LoadMeter, choose_threads
    from adapter_tune.modeling.precision import resolve_device

    device = resolve_device("auto")
    chosen = {"device": device, "devices": devices(), "precision": precision(device)}
    threads = choose_threads(LoadMeter())
    chosen["threads"] = f"{threads} (auto; PyTorch has {torch.get_num_threads()})"
    chosen["torch build"] = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only, or another accelerator"
    chosen["openmp"] = ", ".join(sorted({f"{each['prefix']} ({each['filepath']})" for each in openmp()})) or "none"
    return chosen


def devices() -> list[str]:
    """Return one line for each GPU that torch can use."""
    import torch

    lines = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        capability = f"{properties.major}.{properties.minor}"
        lines.append(
            f"cuda:{index} {properties.name}, {properties.total_memory / _GIB:.0f} GiB, capability {capability}"
        )
    if torch.backends.mps.is_available():
        lines.append("mps")
    return lines


def precision(device: str) -> str:
    """Return the precision that ``auto`` chooses on a device, and why; the rates are measured."""
    import torch

    from adapter_tune.modeling.precision import BF16_TEST_SIZE, is_bf16_native, matmul_rate, resolve_precision

    size = BF16_TEST_SIZE if device == "cpu" else None
    rates = {}
    for name, dtype in {"float32": torch.float32, "bf16": torch.bfloat16}.items():
        rates[name] = f"{name} {matmul_rate(device, dtype, size) / 1e9:,.0f} GFLOP/s"
    native = "native" if is_bf16_native(device) else "not native"
    return f"{resolve_precision('auto', device)} (auto; bf16 is {native} here; measured: {', '.join(rates.values())})"


def openmp() -> list[dict[str, Any]]:
    """Return the OpenMP runtimes in this process, after the libraries that bring one were imported."""
    import sklearn  # noqa: F401
    import torch  # noqa: F401
    from threadpoolctl import threadpool_info

    return [each for each in threadpool_info() if each["user_api"] == "openmp"]


def openmp_problems() -> list[str]:
    """Return one line if different OpenMP runtimes are loaded; several copies of one are usual and harmless."""
    by_kind = {str(each["prefix"]): str(each["filepath"]) for each in openmp()}
    if len(by_kind) < 2:
        return []
    runtimes = " and ".join(f"{kind} ({path})" for kind, path in sorted(by_kind.items()))
    return [
        f"different OpenMP runtimes are loaded: {runtimes}; they compete for the cores and can crash, so install all "
        "packages from the same source (pip or conda)"
    ]


def gpu_problems() -> list[str]:
    """Return one line if the machine has an NVIDIA GPU that torch does not use."""
    import torch

    names = nvidia_gpus()
    if not names or torch.cuda.is_available():
        return []
    gpus = f"this machine has {', '.join(names)}, and PyTorch does not see it"
    if torch.version.cuda is None:
        return [f"{gpus}: {torch.__version__} is a build without CUDA; install one with it (https://pytorch.org)"]
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return [f"{gpus}: CUDA_VISIBLE_DEVICES hides it; unset this variable"]
    return [f"{gpus}: its build is for CUDA {torch.version.cuda}; update the NVIDIA driver, or install a build for it"]


def nvidia_gpus() -> list[str]:
    """Return the name and the driver of each GPU by nvidia-smi; nothing without that program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return [line.replace(", ", " (driver ") + ")" for line in lines]
