"""Tensors from elsewhere: files of safetensors or pickles, read without executing anything, and copied by name."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from adapter_tune.foundation.errors import RunError, first_line


def read_tensors(safe: Path, pickled: Path) -> tuple[Path, dict[str, Tensor]]:
    """The tensors of the safetensors file or, if there is none, of the pickle; in float32.

    Args:
        safe: a safetensors file, which may be missing.
        pickled: a file that ``torch.save`` wrote, which may be missing.

    Returns:
        The file that was read, and its tensors by name.

    Raises:
        RunError: both are missing, or the file is damaged or compressed, contains anything but tensors of floating
            point numbers, or would execute code.
    """
    if safe.is_file():
        return safe, _floats(safe, _read_safe(safe))
    if pickled.is_file():
        return pickled, _floats(pickled, _read_pickled(pickled))
    raise RunError(f"{safe.parent}: contains neither {safe.name} nor {pickled.name}; copy the whole folder again")


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a file; its name decides between safetensors and ``torch.save``."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path, metadata={"format": "pt"})
    else:
        torch.save(tensors, path)


def copy_tensors(expected: dict[str, nn.Parameter], tensors: dict[str, Tensor], file: Path) -> None:
    """Copy tensors into parameters with the same names.

    Raises:
        RunError: a tensor is missing, surplus, or has another shape; the message names it.
    """
    check_tensors({name: tuple(parameter.shape) for name, parameter in expected.items()}, tensors, file)
    with torch.no_grad():
        for name, parameter in expected.items():
            parameter.copy_(tensors[name])


def check_tensors(expected: dict[str, tuple[int, ...]], tensors: dict[str, Tensor], file: Path) -> None:
    """Refuse tensors that are not the expected ones.

    Args:
        expected: the shape of each tensor by its name.
        tensors: those in the file.
        file: for messages.

    Raises:
        RunError: a tensor is missing, surplus, or has another shape; the message names it.
    """
    for name in (*expected, *tensors):
        if name not in tensors:
            raise RunError(f"{file}: tensor {name} is missing; save the adapter again")
        if name not in expected:
            raise RunError(
                f"{file}: tensor {name} has no counterpart here, so the adapter would compute something else"
            )
        if expected[name] != tuple(tensors[name].shape):
            raise RunError(
                f"{file}: tensor {name} is {tuple(tensors[name].shape)}, not {expected[name]} as its configuration "
                "says; the file belongs to another adapter"
            )


def _read_safe(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: cannot be read ({error}); the file is damaged or incomplete, copy it again") from None


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        if zipfile.is_zipfile(path):
            _check_not_compressed(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (RunError, MemoryError):
        raise
    except pickle.UnpicklingError:
        raise RunError(
            f"{path}: contains other objects than tensors, which could execute code when they are read; nothing was "
            "executed; ask its author for a safetensors file"
        ) from None
    except Exception as error:  # torch's reader raises many kinds, also TypeError and IndexError
        reason = first_line(error)
        raise RunError(f"{path}: cannot be read ({reason}); the file is damaged or incomplete, copy it again") from None
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise RunError(f"{path}: is no dictionary of tensors; give a folder that the other library saved")
    return {str(name): tensor for name, tensor in tensors.items()}


def _check_not_compressed(path: Path) -> None:
    """Refuse a compressed file, which could fill the memory; ``torch.save`` never compresses."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise RunError(f"{path}: is compressed, which torch.save never does; save the adapter again")


def _floats(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in float32, after checks that need no more memory than the file has bytes."""
    size = 0
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_nested or tensor.is_meta:
            kind = f"{tensor.dtype}, {tensor.layout} on {tensor.device}"
            raise RunError(f"{path}: tensor {name} is of a kind that no adapter here has ({kind})")
        size += tensor.numel() * tensor.element_size()
        if size > path.stat().st_size:  # a view can repeat its numbers
            raise RunError(f"{path}: tensor {name} has more numbers than the file; save the adapter again")
    floats = {name: tensor.float() for name, tensor in tensors.items()}
    for name, tensor in floats.items():
        if not bool(torch.isfinite(tensor).all()):
            raise RunError(f"{path}: tensor {name} contains infinite or undefined numbers; save the adapter again")
    return floats
