"""A run is a function of its configuration. The only place that composes the steps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, set_seed

from adapter_tune import atomic, checkpoints, processes, store
from adapter_tune.ablate import WHOLE, ablated, majority
from adapter_tune.ablation import Ablation
from adapter_tune.backbone import Kept, load_config, load_tokenizer
from adapter_tune.config import ModelConfig, RunConfig, parse_config
from adapter_tune.data import Splits, load_rows, load_splits
from adapter_tune.demo import DEMO
from adapter_tune.errors import FieldError, RunError
from adapter_tune.families import SubLayer, shape_of
from adapter_tune.holding import held
from adapter_tune.model import Built, build_model, check_fit
from adapter_tune.model_card import model_card
from adapter_tune.own_data import settled
from adapter_tune.parameters import count_parameters
from adapter_tune.predict import Predictor
from adapter_tune.result import COLLAPSED, FILE, Backbone, Result, Storage, read_result, versions
from adapter_tune.store import AdapterConfig, check_backbone, load_weights, read_adapter_config, save_adapter
from adapter_tune.surgery import layers_of
from adapter_tune.tasks import CUSTOM
from adapter_tune.trainer import check_training
from adapter_tune.training import Outcome, evaluate, train
from adapter_tune.yaml_io import to_yaml

log = logging.getLogger("adapter_tune")

_OWN = ("text_column", "text_pair_column", "label_column", "problem", "labels", "metric")

CONFIG, ADAPTER = "config.yaml", "adapter"


def run(config: RunConfig, *, force: bool = False, resume: bool = True, kept: Kept | None = None,
        callbacks: Sequence[TrainerCallback] = ()) -> Result:  # fmt: skip
    """Train and evaluate what a configuration says; a finished run is not run twice.

    Args:
        config: all that decides the run.
        force: run a finished one anew.
        resume: go on from the last checkpoint of an unfinished one.
        kept: what earlier runs of this process loaded.
        callbacks: the HF Trainer's, beside our own.

    Returns:
        The result, which lies in the run folder too.

    Raises:
        AdapterTuneError: something the user wrote is wrong, or something failed on the way.
    """
    config = settled(config)
    folder = config.folder
    if (folder / FILE).is_file() and not force:
        log.info("%s is finished; this is its stored result (--force runs it anew)", folder)
        return read_result(folder)
    check_training(config)
    with held(folder) if processes.is_first() else nullcontext():
        return _run(config, None if force or not resume else checkpoints.newest(folder), kept, callbacks)


def _run(config: RunConfig, checkpoint: Path | None, kept: Kept | None, callbacks: Sequence[TrainerCallback]) -> Result:
    folder = config.folder
    if checkpoint is not None:
        log.info("%s is unfinished; going on from %s", folder, checkpoint.name)
    check_fit(config)
    tokenizer, splits = loaded(config, kept or Kept())
    set_seed(config.training.seed)
    built = build_model(config, kept)
    for note in built.notes:
        log.info("%s", note)
    parameters = count_parameters(built.model, config.strategy.formula(shape_of(built.model.config)))
    if processes.is_first():
        if checkpoint is None:
            checkpoints.keep_only(folder, set())
        checkpoints.remove_unsealed(folder)
        atomic.write_text(folder / CONFIG, to_yaml(config.model_dump()))
    outcome = train(config, built, splits, tokenizer, folder, checkpoint, callbacks)
    result = Result(
        task=config.task,
        strategy=config.strategy.name,
        model=Backbone(id=config.model.id, revision=built.config.revision, fingerprint=built.fingerprint),
        seed=config.training.seed,
        config=config.model_dump(),
        scores=outcome.scores,
        headline=outcome.headline,
        parameters=parameters,
        speed=outcome.speed,
        storage=Storage(folder=str(folder), adapter_bytes=0),
        history=outcome.history,
        warnings=[*built.notes, *outcome.warnings],
        versions=versions(),
        config_hash=config.hash(),
    )
    return _keep(result, config, built, tokenizer) if processes.is_first() else result


def loaded(config: RunConfig, kept: Kept) -> tuple[PreTrainedTokenizerBase, Splits]:
    """Tokenizer and tokenised data of a run, read once for all runs that share them."""
    tokenizer = kept.get(f"tokenizer {config.model!r}", lambda: load_tokenizer(config.model))
    splits = kept.get(f"data {config.task} {config.data!r} {config.model!r}", lambda: load_splits(config, tokenizer))
    return tokenizer, splits


def load(folder: str | Path, *, model: str | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A trained model in evaluation mode, and its tokenizer.

    Args:
        folder: a run folder, or the ``adapter`` folder in it.
        model: where the backbone lies now, if not where it lay in training.

    Returns:
        A sequence classifier whose logits equal the trained one's to the bit; label names in ``config.id2label``.

    Raises:
        UsageError: the folder holds no adapter.
        RunError: the backbone is another one, or a file is damaged.
    """
    folder = Path(folder)
    folder = folder / ADAPTER if (folder / ADAPTER).is_dir() else folder
    built = _rebuild(folder, model)
    return built.model.eval(), load_tokenizer(ModelConfig(id=str(folder)))


def evaluate_run(
    folder: Path,
    *,
    split: str | None = None,
    batch_size: int | None = None,
    model: str | None = None,
    demo: bool = False,
) -> Result:
    """Rebuild a run from disk and score it again; nothing in the folder changes.

    Args:
        folder: the run folder.
        split: one labelled split; None takes the task's validation splits.
        batch_size: rows a forward pass; None takes the run's own, which gives the same scores to the last bit.
        model: where the backbone lies now, if not where it lay in training.
        demo: take the embedded backbone, unless ``model`` names one, and the embedded data.

    Returns:
        The stored result with scores, headline, evaluation speed and warnings measured anew.
    """
    stored, _ = read_result(folder), read_adapter_config(folder / ADAPTER)
    config, model = _asked(_again(stored.config, folder / FILE), batch_size, model, demo)
    names = config.record.validation if split is None else (split,)
    tokenizer = load_tokenizer(ModelConfig(id=str(folder / ADAPTER)))
    splits = load_rows(config, tokenizer, names)
    built = _rebuild(folder / ADAPTER, model)
    return _rescored(stored, evaluate(config, built, splits, tokenizer, folder), folder)


def ablate_run(
    folder: Path,
    *,
    split: str | None = None,
    sub_layer: SubLayer | None = None,
    batch_size: int | None = None,
    model: str | None = None,
    demo: bool = False,
) -> Ablation:
    """Score a run again without the adapters of every contiguous span of layers; nothing in the folder changes.

    Args:
        folder: the run folder.
        split: one labelled split; None takes the one that chose the best checkpoint.
        sub_layer: take out only the adapters of this kind.
        batch_size: as of ``evaluate_run``, like the others.
        model: see there.
        demo: see there.
    """
    stored, _ = read_result(folder), read_adapter_config(folder / ADAPTER)
    config, model = _asked(_again(stored.config, folder / FILE), batch_size, model, demo)
    name = split or config.record.validation[0]
    tokenizer = load_tokenizer(ModelConfig(id=str(folder / ADAPTER)))
    rows = load_rows(config, tokenizer, [name])[name]
    built = _rebuild(folder / ADAPTER, model)
    found = ablated(config, built, rows, tokenizer, sub_layer)
    metrics = list(config.record.metrics)
    return Ablation(
        run=str(folder),
        task=config.task,
        split=name,
        layers=len(layers_of(built.model)),
        sub_layer=sub_layer,
        metric="accuracy" if "accuracy" in metrics else config.record.headline,
        metrics=metrics,
        whole=found.pop(WHOLE),
        majority=majority(config.record, rows["labels"]),
        spans=[{"first": first, "last": last, "scores": scores} for (first, last), scores in found.items()],
        config=stored.config,
        versions=versions(),
    )


def predictor(
    folder: Path, *, batch_size: int | None = None, model: str | None = None, demo: bool = False
) -> Predictor:
    """A run rebuilt from disk, ready to predict; arguments as of ``evaluate_run``."""
    stored = read_result(folder)
    config, model = _asked(_again(stored.config, folder / FILE), batch_size, model, demo)
    tokenizer = load_tokenizer(ModelConfig(id=str(folder / ADAPTER)))
    return Predictor(config, _rebuild(folder / ADAPTER, model), tokenizer)


def _asked(config: RunConfig, batch_size: int | None, model: str | None, demo: bool) -> tuple[RunConfig, str | None]:
    """A stored configuration with what is asked for now, and where the backbone lies."""
    if demo:
        model = model or DEMO
        config = config.model_copy(update={"data": config.data.model_copy(update={"source": DEMO})})
    if batch_size is not None:
        training = config.training.model_copy(update={"eval_batch_size": batch_size})
        config = config.model_copy(update={"training": training})
    return config, model


def _keep(result: Result, config: RunConfig, built: Built, tokenizer: PreTrainedTokenizerBase) -> Result:
    """Write the adapter folder, then the result, then let the optimiser's state go."""
    folder = Path(result.storage.folder)
    try:
        with atomic.new_folder(folder / ADAPTER) as adapter:
            save_adapter(adapter, built.model, built.fresh, _described(built, config))
            tokenizer.save_pretrained(adapter)
            (adapter / "README.md").write_text(model_card(result), encoding="utf-8")
            size = sum(file.stat().st_size for file in adapter.glob("adapter_*"))
        result = result.model_copy(update={"storage": Storage(folder=str(folder), adapter_bytes=size)})
        result.save(folder)
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error}; free some space and run the same again") from error
    checkpoints.keep_only(folder, set())
    return result


def _described(built: Built, config: RunConfig) -> AdapterConfig:
    return AdapterConfig(
        task=config.task,
        labels=list(config.record.labels),
        model=built.config.model_dump(),
        fingerprint=built.fingerprint,
        strategy=config.strategy.to_dict(),
        max_length=config.data.max_length,
        data={name: getattr(config.data, name) for name in _OWN} if config.task == CUSTOM else {},
    )


def _rebuild(folder: Path, model: str | None) -> Built:
    """Backbone and adapter from an adapter folder: build, inject, then load; nothing missing, nothing left over."""
    adapter = read_adapter_config(folder)
    path = folder / store.CONFIG
    section = {**adapter.model, "id": model, "revision": None} if model else adapter.model
    strange = sorted(adapter.data.keys() - set(_OWN))
    if strange:
        raise RunError(f"{path}: data.{strange[0]} has no place in it; the file is damaged")
    values = {"task": adapter.task, "model": section, "strategy": adapter.strategy}
    config = _again({**values, "data": {"max_length": adapter.max_length, **adapter.data}}, path)
    if ".." in Path(config.model.id).parts:
        raise RunError(f"{path}: model.id leads out of its folder; name the backbone with --model")
    if list(config.record.labels) != adapter.labels:
        raise RunError(f"{folder}: labels {adapter.labels} are not those of {config.task}; the file is damaged")
    store.check_size(folder, config.strategy.formula(shape_of(load_config(config.model, {}))).trained)
    built = build_model(config)
    check_backbone(adapter, built.config.id, built.fingerprint)
    load_weights(built.model, built.fresh, folder, adapter)
    return built


def _again(values: dict[str, Any], path: Path) -> RunConfig:
    """A configuration that was stored in a file of ours."""
    try:
        config = parse_config(values)
        left = [name for name in ("text_column", "metric") if getattr(config.data, name) is None]
        if config.task == CUSTOM and left:
            raise FieldError(("data", left[0]), "is missing")
    except FieldError as error:
        raise RunError(f"{path}: {error}; the file is damaged, or of another version") from None
    return config


def _rescored(stored: Result, outcome: Outcome, folder: Path) -> Result:
    fresh = {
        "scores": outcome.scores,
        "headline": outcome.headline,
        "speed": stored.speed.model_copy(
            update={"device": outcome.speed.device, "eval_examples_per_second": outcome.speed.eval_examples_per_second}
        ),
        "storage": stored.storage.model_copy(update={"folder": str(folder)}),
        "warnings": [note for note in stored.warnings if not note.startswith(COLLAPSED)] + outcome.warnings,
    }
    return stored.model_copy(update=fresh)
