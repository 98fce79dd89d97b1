"""What a finished run leaves in its folder: the adapter with its tokenizer and model card, and the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from transformers import PreTrainedTokenizerBase

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import ModelConfig
from adapter_tune.config.yaml_files import to_yaml
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import RunError
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.run_files import checkpoints
from adapter_tune.run_files.adapter_files import ADAPTER, CARD, DATA, AdapterConfig, save_adapter
from adapter_tune.run_files.model_card import model_card
from adapter_tune.run_files.result import Backbone, ImportedRun, Result, Storage, save_record
from adapter_tune.tasks.glue import CUSTOM

CONFIG = "config.yaml"

Record = TypeVar("Record", Result, ImportedRun)


def save_run(
    result: Record, config: ResolvedConfig, prepared: PreparedModel, tokenizer: PreTrainedTokenizerBase
) -> Record:
    """Write the adapter folder, then the result, then remove the checkpoints.

    Args:
        result: the result; its ``storage.folder`` is the run folder.
        config: the configuration of the run.
        prepared: the model with its final tensors.
        tokenizer: the tokenizer of the run.

    Returns:
        The result with the size of the adapter.

    Raises:
        RunError: a file cannot be written.
    """
    folder = Path(result.storage.folder)
    try:
        with atomic_files.new_folder(folder / ADAPTER) as adapter:
            save_adapter(adapter, prepared.model, prepared.newly_initialized, adapter_config(prepared, config))
            tokenizer.save_pretrained(adapter)
            (adapter / CARD).write_text(model_card(result), encoding="utf-8")
            size = sum(file.stat().st_size for file in adapter.glob("adapter_*"))
        result = result.model_copy(update={"storage": Storage(folder=str(folder), adapter_bytes=size)})
        save_record(result, folder)
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error}; free some space and run the same command again") from error
    checkpoints.keep_only(folder, set())
    return result


def save_config(folder: Path, config: ResolvedConfig) -> None:
    """Write ``config.yaml`` into a run folder."""
    atomic_files.write_text(folder / CONFIG, to_yaml(config.model_dump()))


def used_backbone(model_id: str, prepared: PreparedModel) -> Backbone:
    """What a result says about the backbone of a prepared model.

    Args:
        model_id: its id or path as it was written.
        prepared: the model.
    """
    section = prepared.config
    return Backbone(
        id=model_id,
        revision=section.revision,
        fingerprint=prepared.fingerprint,
        language_adapter=section.language_adapter,
    )


def _model_section(model: ModelConfig) -> dict[str, Any]:
    """The section without the keys of a language adapter where there is none; earlier versions do not know them."""
    values = model.model_dump()
    return values if model.language_adapter else {key: values[key] for key in ("id", "revision", "pooler")}


def adapter_config(prepared: PreparedModel, config: ResolvedConfig) -> AdapterConfig:
    """The configuration of an adapter folder, without the SHA-256 of its weights."""
    return AdapterConfig(
        task=config.task,
        labels=list(config.task_spec.labels),
        model=_model_section(prepared.config),
        fingerprint=prepared.fingerprint,
        strategy=config.strategy.to_dict(),
        max_length=config.data.max_length,
        data={name: getattr(config.data.custom, name) for name in DATA} if config.task == CUSTOM else {},
    )
