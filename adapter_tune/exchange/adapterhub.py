"""Folders of AdapterHub's ``adapters`` package (``save_adapter``): bottleneck adapters with a classification head."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

from adapter_tune.adapterhub.folder import CONFIG, LAYOUTS, WEIGHTS, check_backbone, options_in
from adapter_tune.adapterhub.folder import Settings as HubSettings
from adapter_tune.adapterhub.from_strategy import options_of
from adapter_tune.adapterhub.to_strategy import strategy_of
from adapter_tune.adapters.families import shape_of
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.exchange.adapterhub_head import LAYOUTS as HEAD_LAYOUTS
from adapter_tune.exchange.adapterhub_head import HeadPlan, HeadSettings, read_head, written_head
from adapter_tune.exchange.adapterhub_tensors import (
    HEAD_WEIGHTS,
    NORMS,
    HubTensors,
    adapter_parameters,
)
from adapter_tune.exchange.formats import (
    Export,
    Exported,
    Foreign,
    Format,
    Own,
    Reader,
    has_adapter,
    write_foreign_json,
)
from adapter_tune.exchange.stored_run import StoredRun, open_run
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.tensor_files import read_tensors, write_tensors
from adapter_tune.run_files.json_files import read_foreign_json
from adapter_tune.strategies import Injection

HEAD_CONFIG = "head_config.json"
SECTION = "adapter_tune"
"""The key in the configuration under which we write what AdapterHub does not have."""

_VERSION = "adapters.1.3.0"
"""The version whose folders are written."""


class OwnSection(Own):
    """What we add to the configuration."""

    layer_norm: Literal["adapter", "all", "none"]
    """The strategy's option: which LayerNorms are in ``NORMS``."""


class Settings(HubSettings):
    """``adapter_config.json``, perhaps with our section."""

    adapter_tune: OwnSection | None = None


def is_adapter_hub(folder: Path) -> bool:
    """Whether a folder contains an adapter of AdapterHub."""
    return has_adapter(folder, CONFIG, WEIGHTS)


def backbone_of(folder: Path) -> str | None:
    """The id of the backbone, if the folder has one.

    Raises:
        RunError: the configuration is damaged.
    """
    return _settings(folder).model_name or None


def check_task_adapter(folder: Path) -> None:
    """Refuse a language adapter, which predicts nothing; only such an adapter has an invertible one in its weights.

    Raises:
        UsageError: it is one.
        RunError: a file is damaged, or an option has no counterpart here.
    """
    settings = _settings(folder)
    if options_in(settings, folder / CONFIG).inv_adapter is None:
        return
    _, tensors = read_tensors(*(folder / name for name in WEIGHTS))
    if any("invertible" in name for name in tensors):
        raise UsageError(
            f"{folder}: a language adapter ({settings.name}), which predicts nothing by itself; train the adapter of a "
            f"task on it: adapter-tune train ... --set model.language_adapter={folder}"
        )


def read_adapter_hub(folder: Path, backbone: Any) -> Foreign:
    """Read a folder that AdapterHub's ``save_adapter`` wrote, or ``adapter-tune export``.

    Args:
        folder: the folder.
        backbone: the transformers configuration of the backbone.

    Raises:
        RunError: something in it has no counterpart here, or a file is damaged; the message says what.
    """
    settings = _settings(folder)
    file = folder / CONFIG
    check_backbone(settings, backbone, file)
    shape = shape_of(backbone)
    options = options_in(settings, file)
    strategy, notes = strategy_of(options, shape.d, shape.layers, file)
    if options.inv_adapter is not None:
        notes.append(f"inv_adapter is {options.inv_adapter!r}, but its weights have none; AdapterHub ignores it, too")
    own = settings.adapter_tune
    plan = _read_head(folder, settings, backbone.model_type)
    tensors = HubTensors(folder, settings.name, plan, backbone.model_type)
    tensors.check(strategy, shape)
    return Foreign(
        strategy=strategy if own is None else strategy.model_copy(update={"layer_norm": own.layer_norm}),
        pooler=plan.pooler,
        head=plan.head,
        fill=tensors.fill,
        notes=[*notes, *tensors.notes],
        own=own,
    )


def write_adapter_hub(export: Export, folder: Path) -> Exported:
    """Write a run as AdapterHub's ``save_adapter`` does.

    Args:
        export: the run; safetensors files are read by AdapterHub with ``use_safetensors=True`` only.
        folder: an empty folder.

    Returns:
        Notes on what AdapterHub does not do with the folder.

    Raises:
        UsageError: the run has no adapter, or the backbone's family, the strategy or an option has no counterpart in
            AdapterHub.
        RunError: the backbone's configuration cannot be loaded, or a file is damaged.
    """
    return Exported(notes=_write(open_run(export.run, export.model), folder, export.safetensors))


def _write(run: StoredRun, folder: Path, safetensors: bool) -> list[str]:
    backbone = run.model.config
    if backbone.model_type not in LAYOUTS:
        raise UsageError(f"AdapterHub has no adapters for {backbone.model_type} backbones; export other runs")
    shape = shape_of(backbone)
    options, notes = options_of(run.config.strategy, shape.d, shape.layers)
    notes += _language_notes(run.config)
    name = run.config.task
    head_options, head = written_head(run, name)
    norms = run.trained_norms()
    common = {
        "name": name,
        "model_class": f"{HEAD_LAYOUTS[backbone.model_type].model_class}AdapterModel",
        "model_name": run.config.model.id,
        "model_type": backbone.model_type,
        "hidden_size": shape.d,
        "version": _VERSION,
    }
    own = OwnSection(
        task=run.config.task,
        fingerprint=run.adapter.fingerprint,
        max_length=run.adapter.max_length,
        layer_norm=cast(Injection, run.config.strategy).layer_norm,
    )
    write_foreign_json(folder / CONFIG, {**common, "config": options, SECTION: own.model_dump()})
    write_foreign_json(folder / HEAD_CONFIG, {**common, "config": head_options})
    tensors = {f"{LAYOUTS[backbone.model_type].base}.{key}": p for key, p in adapter_parameters(run.model, name)}
    number = 0 if safetensors else 1
    write_tensors(folder / WEIGHTS[number], {key: p.reshape(1) if p.dim() == 0 else p for key, p in tensors.items()})
    write_tensors(folder / HEAD_WEIGHTS[number], head)
    if norms:
        write_tensors(folder / NORMS, norms)
        notes.append(
            f"{len(norms) // 2} LayerNorms were trained, and AdapterHub has no place for them: they are in {NORMS}, "
            "and without them the scores are not those of the run; strategy.layer_norm=none trains none"
        )
    return notes


def _language_notes(config: ResolvedConfig) -> list[str]:
    """Say how a run on a language adapter is loaded.

    Raises:
        UsageError: AdapterHub would compute something else.
    """
    language = config.model.language_adapter
    if language is None:
        return []
    if cast(Injection, config.strategy).insertion == "parallel":
        raise UsageError(
            f"strategy {config.strategy.name} on a language adapter: AdapterHub's Stack leaves out the language "
            "adapter where a parallel adapter is above it; export the run with --format onnx"
        )
    return [
        f"trained on the language adapter in {language}, which is not exported: load both in AdapterHub and activate "
        f"them with Stack(LANGUAGE, '{config.task}'); adapter-tune import takes it with --language-adapter"
    ]


def _settings(folder: Path) -> Settings:
    return read_foreign_json(folder / CONFIG, Settings)


def _read_head(folder: Path, settings: Settings, model_type: str) -> HeadPlan:
    file = folder / HEAD_CONFIG
    if not file.is_file():
        raise RunError(
            f"{folder}: contains no head ({HEAD_CONFIG}), so it cannot predict; save it with its head, or, if "
            f"it is a language adapter, train the adapter of a task on it (model.language_adapter={folder})"
        )
    return read_head(read_foreign_json(file, HeadSettings), settings.name, model_type, file)


FORMAT = Format(
    name="adapterhub",
    title="AdapterHub's adapters package",
    write=write_adapter_hub,
    options=frozenset({"safetensors"}),
    reader=Reader(is_in=is_adapter_hub, backbone=backbone_of, read=read_adapter_hub, check=check_task_adapter),
)
