"""A language adapter of AdapterHub (MAD-X, Pfeiffer et al. 2020), read from its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from adapter_tune.adapterhub.folder import CONFIG, LAYOUTS, WEIGHTS, Settings, current_name, options_in
from adapter_tune.adapterhub.options import BottleneckOptions
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.hub_calls import run_title
from adapter_tune.foundation.tensor_files import read_tensors
from adapter_tune.run_files.hub_runs import Kind, local_folder
from adapter_tune.run_files.json_files import read_foreign_json

_COUPLING = "nice"
_CONFIG_LIMIT = 1 << 20
_WEIGHTS_LIMIT = 4 << 30
"""Largest files, in bytes, that are fetched from the Hub: several times what the largest backbones need."""


@dataclass(frozen=True)
class LanguageAdapter:
    """What a folder contains; it has been checked as far as that is possible without a backbone."""

    folder: Path
    settings: Settings
    options: BottleneckOptions
    file: Path
    """The file with the tensors."""
    tensors: dict[str, Tensor]
    """By AdapterHub's names in the base model, in float32."""

    @property
    def name(self) -> str:
        """The name that it was saved under, such as ``de``."""
        return self.settings.name

    @property
    def place(self) -> str:
        """Where it is: the absolute path of its folder, or ``ORG/NAME@commit``."""
        return run_title(self.folder.resolve())

    @property
    def config_file(self) -> Path:
        """The file with the settings, for messages."""
        return self.folder / CONFIG

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits over all that decides what it computes: the options that are not the default, the tensors.

        The name, the folder, and the kind of file do not count.
        """
        digest = hashlib.sha256(json.dumps(self.options.model_dump(exclude_defaults=True), sort_keys=True).encode())
        for name, tensor in sorted(self.tensors.items()):
            neutral = name.replace(f".{self.name}.", ".adapter.")
            digest.update(f"\n{neutral} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]


def local_language(place: str) -> Path:
    """The folder of a language adapter on this machine; one on the Hub is fetched into the Hub cache.

    Only its configuration and its weights are fetched, all of one commit, which is logged. Pickles are read as tensors
    only, so that nothing in them is executed.

    Args:
        place: a folder, or ``ORG/NAME[@revision]`` on the Hub.

    Raises:
        UsageError: the repository has no adapter of AdapterHub.
        RunError: there is neither such a folder nor such a repository, the Hub cannot be reached, or a file is too
            large.
    """
    return local_folder(place, _KIND)


def _files_to_fetch(name: str, sizes: Mapping[str, int | None]) -> list[str]:
    """The configuration, and the file with the weights that is read.

    Raises:
        UsageError: one is missing.
        RunError: one is too large, or the Hub does not say how large.
    """
    weights = next((file for file in WEIGHTS if file in sizes), None)
    if CONFIG not in sizes or weights is None:
        raise UsageError(f"{name}: the repository has no adapter of AdapterHub ({CONFIG} and {' or '.join(WEIGHTS)})")
    for file, limit in ((CONFIG, _CONFIG_LIMIT), (weights, _WEIGHTS_LIMIT)):
        size = sizes[file]
        if size is None or size > limit:
            raise RunError(f"{name}: refused, as {file} has {size} bytes, and at most {limit} are read; download it")
    return [CONFIG, weights]


def _accept(name: str, folder: Path) -> None:
    """Everything is checked when it is read."""


_KIND = Kind("a language adapter", [CONFIG, *WEIGHTS], _files_to_fetch, _accept)


def read_language_adapter(folder: Path) -> LanguageAdapter:
    """Read a folder that AdapterHub's ``save_adapter`` wrote for a language adapter; its head is not needed.

    Args:
        folder: has ``adapter_config.json`` and ``adapter.safetensors`` or ``pytorch_adapter.bin``.

    Raises:
        UsageError: there is no such folder, or no adapter in it.
        RunError: a file is damaged, or an option has no counterpart here; the message names it.
    """
    file = folder / CONFIG
    has_weights = any((folder / name).is_file() for name in WEIGHTS)
    if not file.is_file() or not has_weights:
        missing = " or ".join(WEIGHTS) if file.is_file() else CONFIG
        problem = f"no {missing} in it" if folder.is_dir() else "no such folder"
        raise UsageError(f"model.language_adapter: {folder}: {problem}; give the folder of an AdapterHub adapter")
    settings = read_foreign_json(file, Settings)
    options = options_in(settings, file)
    if options.inv_adapter not in (None, _COUPLING):
        raise RunError(
            f"{file}: inv_adapter is {options.inv_adapter!r}, which has no counterpart here; only language adapters "
            f"with {_COUPLING!r}, or without an invertible adapter, can be read"
        )
    path, tensors = read_tensors(*(folder / name for name in WEIGHTS))
    return LanguageAdapter(folder, settings, options, path, _in_base_model(tensors, path))


def _in_base_model(tensors: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The tensors by their names in the base model, whatever the classifier calls it."""
    bases = {layout.base for layout in LAYOUTS.values()}
    named: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        first, _, rest = key.partition(".")
        name = current_name(f".{rest if first in bases else key}")[1:]
        if name in named:
            raise RunError(f"{file}: contains tensor {name} under two names; save the adapter again")
        named[name] = tensor
    return named
