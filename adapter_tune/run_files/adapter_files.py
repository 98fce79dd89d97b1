"""An adapter on disk: what was trained (and what no checkpoint holds), never the backbone."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from adapter_tune.adapters.model_parts import added_buffers
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.run_files.json_files import read_json

ADAPTER = "adapter"
"""The adapter's folder in a run's."""
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
DATA = ("text_column", "text_pair_column", "label_column", "problem", "labels", "metric")
"""What an adapter keeps of data of the user's own."""
FORMAT = 2
"""Version of the adapter folder; a reader refuses a newer one."""


_SUMS = "crc32"
"""In the weights' header: a checksum of every tensor, so that a damaged one is named."""


class AdapterConfig(BaseModel):
    """``adapter_config.json``: what it takes to put the adapter back on its backbone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    task: str
    labels: list[str]
    """Class names by id; empty for regression."""
    model: dict[str, Any]
    """``id``, ``revision`` (a commit), ``pooler`` (frozen or train) of the backbone."""
    fingerprint: str
    """SHA-256 over the backbone's tensors as loaded."""
    strategy: dict[str, Any]
    max_length: int
    data: dict[str, Any] = {}
    """With task custom: columns, names of the classes, metric."""
    sha256: str = ""
    """Of the file with the weights; not in format 1."""


def saved_tensors(model: nn.Module, newly_initialized: frozenset[str]) -> dict[str, Tensor]:
    """The tensors that belong to an adapter, by name: the trained ones, those that no checkpoint holds, statistics."""
    own = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad or name in newly_initialized}
    return {**own, **added_buffers(model)}


def save_weights(model: nn.Module, newly_initialized: frozenset[str], folder: Path) -> Path:
    """Write ``adapter_model.safetensors`` into a folder.

    Raises:
        RunError: it cannot be written (a full disk).
    """
    path = folder / WEIGHTS
    tensors = {name: t.contiguous().cpu() for name, t in saved_tensors(model, newly_initialized).items()}
    sums = {name: _checksum(t) for name, t in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path, metadata={"format": "pt", _SUMS: json.dumps(sums)})
    except (OSError, SafetensorError) as error:
        path.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error}; free some space or choose another --output") from error
    return path


def load_weights(
    model: nn.Module, newly_initialized: frozenset[str], folder: Path, described: AdapterConfig | None = None
) -> None:
    """Fill the model's own tensors from ``adapter_model.safetensors``, each one or none at all.

    Args:
        model: whose tensors are filled.
        newly_initialized: as of ``saved_tensors``.
        folder: of the adapter, or a checkpoint.
        described: what the adapter's configuration says, held against the file.

    Raises:
        UsageError: there is no such file.
        RunError: it is damaged, or a tensor is missing, left over, or of another shape or type.
    """
    path, wanted = folder / WEIGHTS, saved_tensors(model, newly_initialized)
    with _opened(folder) as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dictionary)
        sums = (file.metadata() or {}).get(_SUMS, "{}")
    _same_tensors(path, wanted, found)
    if described is not None and described.format > 1 and atomic_files.sha256(path) != described.sha256:
        raise RunError(
            f"{path}: {_damaged(found, sums)} not what was saved (SHA-256 differs from {CONFIG}'s); copy it again"
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])


def _checksum(tensor: Tensor) -> str:
    return f"{zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data):08x}"


def _damaged(tensors: dict[str, Tensor], sums: str) -> str:
    """What of a file differs from its own checksums, to be followed by "not what was saved"."""
    try:
        saved = dict(json.loads(sums))
    except (ValueError, TypeError):
        saved = {}
    changed = [name for name, tensor in tensors.items() if saved.get(name, _checksum(tensor)) != _checksum(tensor)]
    return f"tensor {changed[0]} is" if changed else "it is"


def check_size(folder: Path, parameters: int) -> None:
    """Refuse an adapter whose configuration asks for more than its file holds, before anything is allocated.

    Args:
        folder: of the adapter.
        parameters: that its strategy trains in the backbone, by formula.

    Raises:
        UsageError: there are no weights.
        RunError: they are damaged, or fewer, as on a larger backbone than the adapter's own.
    """
    with _opened(folder) as file:
        held = sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    if held < parameters:
        raise RunError(
            f"{folder}: {CONFIG} asks for {parameters:,} trained parameters and {WEIGHTS} holds {held:,}; load it "
            "onto the backbone it was trained on, or, if this is that one, copy both files again: one is damaged"
        )


@contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise UsageError(f"{folder}: no {WEIGHTS} in it; give a folder that 'adapter-tune train' wrote")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: cannot be read ({error}); the file is damaged or cut short, copy it again") from None


def save_adapter(folder: Path, model: nn.Module, newly_initialized: frozenset[str], described: AdapterConfig) -> None:
    """Write weights and ``adapter_config.json``, with the weights' SHA-256 in it, into a folder."""
    path = save_weights(model, newly_initialized, folder)
    described = described.model_copy(update={"sha256": atomic_files.sha256(path)})
    (folder / CONFIG).write_text(json.dumps(described.model_dump(), indent=2) + "\n", encoding="utf-8")


def read_adapter_config(folder: Path) -> AdapterConfig:
    """``adapter_config.json`` of a folder.

    Raises:
        UsageError: the folder is not one of an adapter.
        RunError: the file is damaged, or was written by a newer version.
    """
    return read_json(folder / CONFIG, AdapterConfig, FORMAT, "copy it again")


def check_backbone(adapter: AdapterConfig, model_id: str, fingerprint: str) -> None:
    """Refuse a backbone other than the one the adapter was trained on.

    Args:
        adapter: what the adapter says of its backbone.
        model_id: the backbone that was loaded.
        fingerprint: of its tensors.

    Raises:
        RunError: the fingerprints differ; the message names both.
    """
    if adapter.fingerprint != fingerprint:
        raise RunError(
            f"the adapter belongs to backbone {adapter.model['id']} with fingerprint {adapter.fingerprint[:16]}, but "
            f"{model_id} has {fingerprint[:16]}; load it onto the backbone it was trained on"
        )


def _same_tensors(path: Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing:
        raise RunError(
            f"{path}: tensor {missing[0]} is missing ({len(missing)} in all); the file is of another adapter"
        )
    if extra:
        raise RunError(f"{path}: tensor {extra[0]} is unexpected ({len(extra)} in all); the file is of another adapter")
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape or tensor.dtype != found[name].dtype:
            raise RunError(
                f"{path}: tensor {name} is {found[name].dtype} {tuple(found[name].shape)}, "
                f"not {tensor.dtype} {tuple(tensor.shape)}; the file is of another adapter"
            )
