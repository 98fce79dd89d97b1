"""An adapter on disk: the trained and the newly initialized weights, never the pretrained ones."""

from __future__ import annotations

import hashlib
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
"""The name of the adapter's folder in a run folder."""
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"
DATA = ("text_column", "text_pair_column", "label_column", "problem", "labels", "positive", "metric")
"""The keys of the ``data`` section that an adapter keeps if it was trained on the user's own data."""
FORMAT = 2
"""Version of the adapter folder; a reader refuses a newer one."""

_LAST_CALL = (
    "truncation",
    "padding",
    "is_local",
    "local_files_only",
    "stride",
    "truncation_strategy",
    "max_length",
    "padding_side",
    "truncation_side",
    "pad_token_type_id",
    "pad_to_multiple_of",
)
"""What a tokenizer's files say of how it was last called and loaded, and not of the tokens that it makes. Both sides
are the right one here (``tokenizer_fit.pad_and_cut_right``), whatever the files say."""

_CHECKSUMS = "crc32"
"""Key in the weights' header: a checksum of every tensor, so that a message can name the damaged tensor."""


class AdapterConfig(BaseModel):
    """``adapter_config.json``: everything that is needed to put the adapter back on its backbone."""

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
    """With task custom: columns, class names, metric."""
    sha256: str = ""
    """SHA-256 of the file with the weights; format 1 does not have it."""


def adapter_folder(run: Path) -> Path:
    """The adapter's folder in a run folder; a folder without one is taken as the adapter's folder itself."""
    return run / ADAPTER if (run / ADAPTER).is_dir() else run


def tokenizer_digest(folder: Path) -> str:
    """SHA-256 over the files of the tokenizer in an adapter folder: all that are neither its own nor its card.

    What the files say of the last call before they were saved, such as its maximum length, does not count.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.name not in (CONFIG, WEIGHTS, CARD):
            content = _without_last_call(file)
            digest.update(f"{file.name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def _without_last_call(file: Path) -> bytes:
    """The content of a tokenizer's file; of JSON, without the keys of the last call."""
    content = file.read_bytes()
    if file.suffix != ".json":
        return content
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):  # reported when the tokenizer is loaded
        return content
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if key not in _LAST_CALL}
    return json.dumps(values).encode()


def saved_tensors(model: nn.Module, newly_initialized: frozenset[str]) -> dict[str, Tensor]:
    """The tensors that belong to an adapter by name: trained, newly initialized, and buffers of adapters."""
    tensors = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or name in newly_initialized:
            tensors[name] = parameter.detach()
    return {**tensors, **added_buffers(model)}


def save_weights(model: nn.Module, newly_initialized: frozenset[str], folder: Path) -> Path:
    """Write ``adapter_model.safetensors`` into a folder.

    Raises:
        RunError: the file cannot be written, for example because the disk is full.
    """
    path = folder / WEIGHTS
    tensors = {name: t.contiguous().cpu() for name, t in saved_tensors(model, newly_initialized).items()}
    checksums = {name: _checksum(t) for name, t in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path, metadata={"format": "pt", _CHECKSUMS: json.dumps(checksums)})
    except (OSError, SafetensorError) as error:
        path.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error}; free some space or choose another --output") from error
    return path


def load_weights(
    model: nn.Module, newly_initialized: frozenset[str], folder: Path, config: AdapterConfig | None = None
) -> None:
    """Copy the tensors in ``adapter_model.safetensors`` into the model: all of them, or none if one is wrong.

    Args:
        model: the model that gets the tensors.
        newly_initialized: the same names as for ``saved_tensors``.
        folder: an adapter or a checkpoint.
        config: the adapter's configuration, whose SHA-256 the file must have; None for a checkpoint.

    Raises:
        UsageError: the folder has no such file.
        RunError: the file is damaged, or a tensor is missing, unexpected, or has another shape or type.
    """
    expected = saved_tensors(model, newly_initialized)
    stored, checksums = _stored_tensors(folder)
    check_same_tensors(folder / WEIGHTS, expected, stored)
    _check_undamaged(folder, stored, checksums, config)
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(stored[name])


def read_weights(folder: Path, config: AdapterConfig) -> dict[str, Tensor]:
    """The tensors in ``adapter_model.safetensors``, by name.

    Raises:
        UsageError: the folder has no such file.
        RunError: the file is damaged.
    """
    stored, checksums = _stored_tensors(folder)
    _check_undamaged(folder, stored, checksums, config)
    return stored


def _stored_tensors(folder: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors in a folder's file, and the checksums in its header as JSON."""
    with _open_weights(folder) as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dictionary)
        return stored, (file.metadata() or {}).get(_CHECKSUMS, "{}")


def _check_undamaged(folder: Path, stored: dict[str, Tensor], checksums: str, config: AdapterConfig | None) -> None:
    """Refuse a file whose SHA-256 is not the one that its configuration has."""
    path = folder / WEIGHTS
    if config is not None and config.format > 1 and atomic_files.sha256(path) != config.sha256:
        damaged = _damaged_part(stored, checksums)
        raise RunError(
            f"{path}: {damaged} has changed since it was saved (the SHA-256 is not the one in {CONFIG}); copy it again"
        )


def _checksum(tensor: Tensor) -> str:
    return f"{zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data):08x}"


def _damaged_part(tensors: dict[str, Tensor], checksums: str) -> str:
    """The first tensor that differs from its checksum, or "it" if none does, for messages."""
    try:
        saved = dict(json.loads(checksums))
    except (ValueError, TypeError):
        return "it"
    for name, tensor in tensors.items():
        if name in saved and saved[name] != _checksum(tensor):
            return f"tensor {name}"
    return "it"


def check_size(folder: Path, parameters: int) -> None:
    """Refuse an adapter whose configuration needs more parameters than its file holds, before memory is allocated.

    Args:
        folder: the adapter's folder.
        parameters: the number of parameters that its strategy trains in the backbone, by formula.

    Raises:
        UsageError: the folder has no weights.
        RunError: the weights are damaged or too few, for example on a larger backbone than the adapter's own.
    """
    with _open_weights(folder) as file:
        stored = sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    if stored < parameters:
        raise RunError(
            f"{folder}: {CONFIG} needs {parameters:,} trained parameters, but {WEIGHTS} contains {stored:,}; use the "
            "backbone it was trained on; if this is that backbone, one file is damaged: copy both again"
        )


@contextmanager
def _open_weights(folder: Path) -> Iterator[Any]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise UsageError(f"{folder}: no {WEIGHTS} in it; give a folder that 'adapter-tune train' wrote")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: cannot be read ({error}); the file is damaged or incomplete, copy it again") from None


def save_adapter(folder: Path, model: nn.Module, newly_initialized: frozenset[str], config: AdapterConfig) -> None:
    """Write the weights and ``adapter_config.json``, which gets the weights' SHA-256, into a folder."""
    path = save_weights(model, newly_initialized, folder)
    config = config.model_copy(update={"sha256": atomic_files.sha256(path)})
    (folder / CONFIG).write_text(json.dumps(config.model_dump(), indent=2) + "\n", encoding="utf-8")


def read_adapter_config(folder: Path) -> AdapterConfig:
    """The ``adapter_config.json`` in a folder.

    Raises:
        UsageError: this is not the folder of an adapter, or the adapter is one of another library.
        RunError: the file is damaged, or was written by a newer version.
    """
    path = folder / CONFIG
    try:
        return read_json(path, AdapterConfig, FORMAT, "copy it again")
    except RunError:
        text = path.read_text(encoding="utf-8", errors="replace")
        if '"peft_type"' in text:
            raise UsageError(f"{path}: an adapter of peft; make a run of it with 'adapter-tune import'") from None
        if '"mh_adapter"' in text:
            raise UsageError(f"{path}: an adapter of AdapterHub; make a run of it with 'adapter-tune import'") from None
        raise


def check_backbone(adapter: AdapterConfig, model_id: str, fingerprint: str) -> None:
    """Refuse a backbone other than the one the adapter was trained on.

    Args:
        adapter: the adapter's configuration.
        model_id: the id or path of the backbone that was loaded.
        fingerprint: the fingerprint of the loaded backbone's tensors.

    Raises:
        RunError: the fingerprints differ; the message names both.
    """
    if adapter.fingerprint != fingerprint:
        raise RunError(
            f"the adapter belongs to backbone {adapter.model['id']} with fingerprint {adapter.fingerprint[:16]}, but "
            f"{model_id} has {fingerprint[:16]}; load it onto the backbone it was trained on"
        )


def check_same_tensors(path: Path, expected: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Refuse a file whose tensors differ from the expected ones in name, shape or type."""
    missing = sorted(expected.keys() - stored.keys())
    extra = sorted(stored.keys() - expected.keys())
    if missing:
        raise RunError(
            f"{path}: tensor {missing[0]} is missing ({len(missing)} in all); the file belongs to another adapter"
        )
    if extra:
        raise RunError(
            f"{path}: tensor {extra[0]} is unexpected ({len(extra)} in all); the file belongs to another adapter"
        )
    for name, tensor in expected.items():
        if tensor.shape != stored[name].shape or tensor.dtype != stored[name].dtype:
            raise RunError(
                f"{path}: tensor {name} is {stored[name].dtype} {tuple(stored[name].shape)}, "
                f"not {tensor.dtype} {tuple(tensor.shape)}; the file belongs to another adapter"
            )
