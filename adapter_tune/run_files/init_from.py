"""The trained run that another run starts from: it is found and compared, and its tensors are copied.

Adapters, LayerNorms, the pooler and whatever else the strategy trains are taken from it; the head is new.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adapter_tune.adapters.model_parts import head_parameters, pooler_parameters
from adapter_tune.config.schema import InitConfig, RunConfig
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import FieldError, RunError, UsageError
from adapter_tune.foundation.hub_calls import run_title
from adapter_tune.run_files.adapter_files import (
    ADAPTER,
    CONFIG,
    WEIGHTS,
    AdapterConfig,
    adapter_folder,
    check_same_tensors,
    read_adapter_config,
    read_weights,
    saved_tensors,
)
from adapter_tune.run_files.hub_runs import local_run
from adapter_tune.strategies import Strategy, described, parse_strategy

_FREE_OPTIONS = ("init_std", "dropout")
"""Options of a strategy that may differ: they change neither the shapes nor the function of the trained tensors."""


def resolve_init_from(config: RunConfig) -> RunConfig:
    """The configuration with the run that it starts from, and the digest of that run's weights.

    A folder is named by its absolute path, and a run on the Hub by its commit: ``ORG/NAME@commit``. The digest of this
    run's language adapter is known already.

    Raises:
        UsageError: there is no finished run in the folder, or its strategy or language adapter is not the one of this
            run.
        RunError: the run's files are damaged, or it has other weights than the configuration says.
    """
    section = config.init_from
    if section.run is None:
        return config
    folder = _existing_folder(section.run)
    adapter = read_adapter_config(folder)
    _check_strategy(section.run, adapter, config.strategy)
    _check_language(section.run, adapter, config.model.language_digest)
    digest = atomic_files.sha256(folder / WEIGHTS)[:16]
    if section.digest not in (None, digest):
        raise RunError(
            f"init_from: {section.run} has other weights (digest {digest}) than the configuration says "
            f"({section.digest}); bring that run back, or remove init_from.digest to start from this one"
        )
    run = (folder.parent if folder.name == ADAPTER else folder).resolve()
    return config.with_values({"init_from": InitConfig(run=run_title(run), digest=digest)})


def start_from(
    section: InitConfig, model: nn.Module, model_id: str, fingerprint: str, newly_initialized: frozenset[str]
) -> None:
    """Copy the tensors of the run in ``init_from`` into a prepared model: all but the head, or none if one is wrong.

    Args:
        section: the ``init_from`` section; its run is not None.
        model: the model, with the strategy applied.
        model_id: the id or path of its backbone.
        fingerprint: the fingerprint of its backbone.
        newly_initialized: names of the tensors that the backbone's checkpoint did not have.

    Raises:
        UsageError: the pooler is frozen here and was trained there, or the run has nothing but a head.
        RunError: the run has another backbone, or its files are damaged.
    """
    folder = adapter_folder(local_run(str(section.run)))
    adapter = read_adapter_config(folder)
    if adapter.fingerprint != fingerprint:
        raise RunError(
            f"init_from: {section.run} was trained on backbone {adapter.model['id']} (fingerprint "
            f"{adapter.fingerprint[:16]}), but {model_id} has {fingerprint[:16]}; train on the same backbone: "
            f"--model {adapter.model['id']}"
        )
    stored = read_weights(folder, adapter)
    expected = saved_tensors(model, newly_initialized)
    names = {id(p): name for name, p in model.named_parameters()}
    head = {names[id(p)] for p in head_parameters(model)}
    pooler = {names[id(p)] for p in pooler_parameters(model)}
    stored = {name: tensor for name, tensor in stored.items() if name not in head}
    expected = {name: tensor for name, tensor in expected.items() if name not in head}
    _check_pooler(section, pooler & stored.keys(), expected)
    for name in pooler - stored.keys() - newly_initialized:  # frozen there, so it is still the backbone's own
        expected.pop(name, None)
    check_same_tensors(folder / WEIGHTS, expected, stored)
    if not stored:
        raise UsageError(f"init_from: {section.run} trained only its head, and the head is new here; remove it")
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(stored[name])


def described_init(section: InitConfig) -> str:
    """A note that names the run that a run started from."""
    adapter = read_adapter_config(adapter_folder(local_run(str(section.run))))
    strategy = described(adapter.strategy)
    return f"training started from {section.run} ({adapter.task}, {strategy}), with a new head"


def _existing_folder(run: str) -> Path:
    """The adapter's folder in a run folder.

    Raises:
        UsageError: there is no such folder, or no adapter in it.
    """
    folder = adapter_folder(local_run(run))
    if not folder.is_dir():
        raise UsageError(f"init_from: {run}: no such folder; give the folder of a finished run")
    if not (folder / CONFIG).is_file():
        raise UsageError(f"init_from: {run}: no finished run in it; give the folder of a finished run")
    return folder


def _check_language(run: str, adapter: AdapterConfig, digest: str | None) -> None:
    """Refuse a run on another language adapter, or on none where this run has one."""
    theirs = adapter.model.get("language_digest")
    if theirs == digest:
        return
    place = adapter.model.get("language_adapter")
    if theirs is None:
        problem = "was trained without a language adapter, and this run has one; remove model.language_adapter"
    else:
        problem = f"was trained on another language adapter (digest {theirs}); set model.language_adapter={place}"
    raise UsageError(f"init_from: {run} {problem}")


def _check_strategy(run: str, adapter: AdapterConfig, strategy: Strategy) -> None:
    """Refuse another strategy: its tensors would have other shapes, or compute something else."""
    try:
        theirs = parse_strategy(adapter.strategy).to_dict()
    except FieldError as error:
        raise RunError(f"{adapter_folder(Path(run)) / CONFIG}: {error}; the file is damaged, copy it again") from None
    ours = strategy.to_dict()
    differing = [key for key in theirs if key not in _FREE_OPTIONS and ours.get(key) != theirs[key]]
    if not differing:
        return
    if "name" in differing:
        standard = type(parse_strategy(adapter.strategy))().to_dict()
        differing = [key for key in theirs if key == "name" or theirs[key] != standard[key]]
    options = " ".join(_option(key, theirs[key]) for key in differing)
    raise UsageError(
        f"init_from: {run} was trained with strategy {described(theirs)}, and this run has {described(ours)}; "
        f"they must be the same: {options}"
    )


def _option(key: str, value: Any) -> str:
    """The words that set an option of the strategy on the command line."""
    text = str(value).replace(" ", "")
    if key in ("name", "m"):
        return f"--{'strategy' if key == 'name' else key} {text}"
    return f"--set strategy.{key}={text}"


def _check_pooler(section: InitConfig, stored_pooler: set[str], expected: dict[str, Tensor]) -> None:
    if stored_pooler - expected.keys():
        raise UsageError(
            f"init_from: {section.run} trained its pooler, which is frozen here; remove model.pooler, or set "
            "model.pooler=train"
        )
