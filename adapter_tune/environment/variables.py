"""The environment variables that change what a run does, without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SHOWN = (
    *("CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET"),
    *("HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "TRANSFORMERS_CACHE", "TOKENIZERS_PARALLELISM"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KMP_DUPLICATE_LIB_OK", "KMP_AFFINITY"),
    *("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_ENABLE_MPS_FALLBACK", "TORCH_HOME", "TORCH_LOGS"),
    *("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR", "PYTHONHASHSEED", "PYTHONPATH"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_TORCH_DEVICE"),
    *("SLURM_JOB_ID", "SLURM_NTASKS", "CONDA_DEFAULT_ENV", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
"""Variables whose values are shown; of all others with the prefixes below only the names."""
_PREFIXES = (
    *("ACCELERATE_", "ADAPTER_TUNE_", "CUDA_", "HF_", "HUGGING", "KMP_", "MKL_", "NCCL_", "OMP_", "PYTORCH_"),
    *("TORCH", "TRANSFORMERS_", "TRITON_"),
)
_SECRET = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?(_|$)|(^|_)(PASS|PAT|AUTH)(_|$)")
_SHORTEST_SECRET = 6
_USER_INFO = re.compile(r"((?<=://)|^(?!\w+://))([^:/\s]*:\S+|[^/\s]+)(?=@)")
"""NAME or NAME:PASSWORD before an @; a password that is not escaped may contain / and @ itself."""
HIDDEN = "***"


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that matter here; those that may be secrets have the value ``set``."""
    shown = {}
    for name in sorted(environment):
        upper = name.upper()
        if upper in SHOWN:
            shown[name] = environment[name]
        elif upper.startswith(_PREFIXES):
            shown[name] = "set (the value is not shown)"
    return shown


def without_secrets(value: Any, environment: Mapping[str, str]) -> Any:
    """Return nested values with user names and passwords in URLs, and the values of secret variables, replaced."""
    if isinstance(value, dict):
        return {key: without_secrets(inner, environment) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(inner, environment) for inner in value]
    if not isinstance(value, str):
        return value
    for secret in secrets(environment):
        value = value.replace(secret, HIDDEN)
    return _USER_INFO.sub(HIDDEN, value)


def secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the values of the variables whose names say that they are secret, the longest first."""
    values = {value for name, value in environment.items() if _SECRET.search(name.upper())}
    return sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)
