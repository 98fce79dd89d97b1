"""Folders of the peft package (``save_pretrained``): LoRA with a classification head."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from adapter_tune.exchange.formats import (
    Export,
    Exported,
    Foreign,
    Format,
    Head,
    Own,
    Reader,
    has_adapter,
    write_foreign_json,
)
from adapter_tune.exchange.peft_modules import PeftPlan, Source, lora_paths, peft_name, plan_of, saved_modules
from adapter_tune.exchange.peft_options import PeftSettings, check_peft_settings
from adapter_tune.exchange.stored_run import StoredRun, open_run
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.tensor_files import copy_tensors, read_tensors, write_tensors
from adapter_tune.run_files.json_files import read_foreign_json, read_json
from adapter_tune.strategies.lora import Lora, load_peft

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
OWN = "adapter_tune.json"
"""What peft has no place for; peft does not read it."""


class OwnFile(Own):
    """``adapter_tune.json``."""

    format: int = 1
    problem: Literal["classification", "multi_label", "regression"]
    labels: list[str]
    """Class names by id; empty for regression."""


def is_peft(folder: Path) -> bool:
    """Whether a folder contains an adapter of peft; adapters of ours have the same names of files."""
    if not has_adapter(folder, CONFIG, WEIGHTS):
        return False
    return '"peft_type"' in (folder / CONFIG).read_text(encoding="utf-8", errors="replace")


def backbone_of(folder: Path) -> str | None:
    """The id of the backbone, if the folder has one.

    Raises:
        RunError: the configuration is damaged.
    """
    return _settings(folder).base_model_name_or_path or None


def read_peft(folder: Path, backbone: Any) -> Foreign:
    """Read a folder that peft's ``save_pretrained`` wrote, or ``adapter-tune export``.

    Args:
        folder: the folder.
        backbone: the transformers configuration of the backbone.

    Raises:
        RunError: something in it has no counterpart here, or a file is damaged; the message says what.
    """
    settings = _settings(folder)
    check_peft_settings(settings, folder / CONFIG)
    file, tensors = read_tensors(*(folder / name for name in WEIGHTS))
    plan = plan_of(settings, tensors, backbone, Source(folder / CONFIG, file))
    own = _own_file(folder, plan)
    return Foreign(
        strategy=plan.strategy,
        pooler=plan.pooler,
        head=_head(plan, own),
        fill=partial(_fill, tensors=tensors, file=file),
        notes=_notes(settings, plan, own),
        own=own,
    )


def write_peft(export: Export, folder: Path) -> Exported:
    """Write a run as peft's ``save_pretrained`` does; always as safetensors.

    Args:
        export: what is exported.
        folder: an empty folder.

    Returns:
        Notes on what peft does not store.

    Raises:
        UsageError: the strategy is not lora.
    """
    run = open_run(export.run, export.model)
    strategy = run.config.strategy
    if not isinstance(strategy, Lora):
        raise UsageError(
            f"strategy {strategy.name} has no counterpart in peft's LoRA; only runs of strategy lora can be exported"
        )
    if run.config.model.language_adapter is not None:
        raise UsageError(
            f"{export.run}: was trained on a language adapter ({run.config.model.language_adapter}), which peft does "
            "not have; export it with --format onnx"
        )
    _write_config(run, strategy, folder)
    tensors = {peft_name(name): p for name, p in run.model.named_parameters() if not p.is_meta}
    write_tensors(folder / WEIGHTS[0], tensors)
    task = run.config.task_spec
    own = OwnFile(
        task=run.config.task,
        problem="regression" if task.is_regression else "multi_label" if task.is_multi_label else "classification",
        labels=list(task.labels or ()),
        max_length=run.adapter.max_length,
        fingerprint=run.adapter.fingerprint,
    )
    (folder / OWN).write_text(json.dumps(own.model_dump(), indent=2) + "\n", encoding="utf-8")
    note = (
        f"peft has no place for the names of the classes ({', '.join(own.labels) or 'regression'}) and the maximum "
        f"length ({own.max_length} tokens): they are in {OWN}, which 'adapter-tune import' reads"
    )
    return Exported(notes=[note])


def _write_config(run: StoredRun, strategy: Lora, folder: Path) -> None:
    alpha = strategy.alpha
    config = load_peft().LoraConfig(
        task_type="SEQ_CLS",
        base_model_name_or_path=run.config.model.id,
        revision=run.config.model.revision,
        inference_mode=True,
        r=strategy.r,
        lora_alpha=int(alpha) if alpha.is_integer() else alpha,
        use_rslora=strategy.rank_stabilized,
        lora_dropout=strategy.dropout,
        target_modules=lora_paths(run.model),
        modules_to_save=saved_modules(run.model),
    )
    values = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    write_foreign_json(folder / CONFIG, values)


def _settings(folder: Path) -> PeftSettings:
    return read_foreign_json(folder / CONFIG, PeftSettings)


def _own_file(folder: Path, plan: PeftPlan) -> OwnFile | None:
    """What we have added to the folder, if it is one of ours.

    Raises:
        RunError: it is damaged, or belongs to another head.
    """
    file = folder / OWN
    if not file.is_file():
        return None
    own = read_json(file, OwnFile, 1, "copy it again")
    outputs = 1 if own.problem == "regression" else len(own.labels)
    if outputs != plan.num_labels:
        raise RunError(
            f"{file}: {own.problem} with {outputs} outputs, but the head has {plan.num_labels}; copy the whole folder "
            "again"
        )
    return own


def _head(plan: PeftPlan, own: OwnFile | None) -> Head:
    if own is None:
        return Head("regression" if plan.num_labels == 1 else "classification", None, plan.num_labels)
    return Head(own.problem, tuple(own.labels) or None, plan.num_labels)


def _notes(settings: PeftSettings, plan: PeftPlan, own: OwnFile | None) -> list[str]:
    notes = []
    if own is None:
        kind = "regression" if plan.num_labels == 1 else f"classification into one of {plan.num_labels} classes"
        notes.append(f"the folder does not say what the outputs are for; with {plan.num_labels} of them, it is {kind}")
    if own is None and settings.revision is not None:
        notes.append(f"the folder names revision {settings.revision} of its backbone, but revisions are not read")
    return notes


def _fill(model: Any, tensors: dict[str, Tensor], file: Path) -> None:
    """Copy all tensors into a classifier with the strategy applied."""
    trained = {peft_name(name): p for name, p in model.named_parameters() if p.requires_grad}
    copy_tensors(trained, tensors, file)


FORMAT = Format(
    name="peft",
    title="peft",
    write=write_peft,
    options=frozenset({"safetensors"}),
    reader=Reader(is_in=is_peft, backbone=backbone_of, read=read_peft),
)
