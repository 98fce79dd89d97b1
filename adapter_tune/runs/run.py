"""A run is a function of its configuration. The only place that composes the steps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase, TrainerCallback, set_seed

from adapter_tune.adapters.families import shape_of
from adapter_tune.adapters.parameter_count import count_parameters
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import RunConfig
from adapter_tune.data.examples import label_examples
from adapter_tune.data.splits import Splits, load_splits
from adapter_tune.foundation import distributed
from adapter_tune.foundation.threads import LoadMeter
from adapter_tune.modeling.backbone import RunCache, load_tokenizer
from adapter_tune.modeling.build import PreparedModel, build_model, check_backbone_fits
from adapter_tune.run_files import checkpoints
from adapter_tune.run_files.data_paths import data_paths
from adapter_tune.run_files.init_from import described_init, start_from
from adapter_tune.run_files.result import FILE, Result, Storage, read_result, versions
from adapter_tune.run_files.run_lock import lock_run_folder
from adapter_tune.runs.resolve import resolve_run
from adapter_tune.runs.save import save_config, save_run, used_backbone
from adapter_tune.training.arguments import check_training
from adapter_tune.training.loggers import RunLoggers, described
from adapter_tune.training.loop import train

log = logging.getLogger("adapter_tune")


def run(
    config: RunConfig,
    *,
    force: bool = False,
    resume: bool = True,
    cache: RunCache | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Result:
    """Train and evaluate what a configuration says; a finished run is not run twice.

    Args:
        config: all that decides the run.
        force: run a finished one anew.
        resume: go on from the last checkpoint of an unfinished one.
        cache: what earlier runs of this process loaded.
        callbacks: the HF Trainer's, beside our own.

    Returns:
        The result, which is also in the run folder.

    Raises:
        AdapterTuneError: something the user wrote is wrong, or something failed on the way.
    """
    distributed.check_launcher()
    load = LoadMeter()
    resolved = resolve_run(config, cache.custom_data if cache else None)
    folder = resolved.folder
    if (folder / FILE).is_file() and not force:
        log.info("%s is finished; this is its stored result (--force trains again)", folder)
        if resolved.training.report_to:
            log.info("nothing is written to %s", ", ".join(resolved.training.report_to))
        return read_result(folder)
    check_training(resolved)
    with lock_run_folder(folder) if distributed.is_main_process() else nullcontext():
        checkpoint = None if force or not resume else checkpoints.newest(folder)
        return _run(resolved, checkpoint, cache, callbacks, load)


def _run(
    config: ResolvedConfig,
    checkpoint: Path | None,
    cache: RunCache | None,
    callbacks: Sequence[TrainerCallback],
    load: LoadMeter,
) -> Result:
    folder = config.folder
    if checkpoint is not None:
        log.info("%s is unfinished; resuming from %s", folder, checkpoint.name)
    check_backbone_fits(config)
    read_before = cache or RunCache()
    tokenizer, splits = load_tokenizer_and_splits(config, read_before)
    examples = _examples(config, read_before) if distributed.is_main_process() else {}
    set_seed(config.training.seed)
    prepared = _prepared(config, checkpoint, cache)
    for note in prepared.notes:
        log.info("%s", note)
    parameters = count_parameters(prepared.model, config.strategy.formula(shape_of(prepared.model.config)))
    if distributed.is_main_process():
        if checkpoint is None:
            checkpoints.keep_only(folder, set())
        checkpoints.remove_unsealed(folder)
        save_config(folder, config)
    backbone = used_backbone(config.model.id, prepared)
    facts = described(config, backbone, parameters)
    with RunLoggers(config.training.report_to, folder, facts, is_resumed=checkpoint is not None) as loggers:
        outcome = train(config, prepared, splits, tokenizer, folder, checkpoint, [*callbacks, loggers], load)
        warnings = [*prepared.notes, *outcome.warnings]
        loggers.finish(outcome.scores, outcome.headline, warnings)
    result = Result(
        task=config.task,
        strategy=config.strategy.name,
        model=backbone,
        seed=config.training.seed,
        config=config.model_dump(),
        scores=outcome.scores,
        headline=outcome.headline,
        parameters=parameters,
        speed=outcome.speed,
        storage=Storage(folder=str(folder), adapter_bytes=0),
        history=outcome.history,
        warnings=warnings,
        versions=versions(),
        config_hash=config.hash(),
        data_paths=data_paths(config, folder),
        examples=examples,
    )
    return save_run(result, config, prepared, tokenizer) if distributed.is_main_process() else result


def _prepared(config: ResolvedConfig, checkpoint: Path | None, cache: RunCache | None) -> PreparedModel:
    """The model ready to train; a checkpoint has the tensors of the run in ``init_from`` already, further trained."""
    prepared = build_model(config, cache)
    section = config.init_from
    if section.run is None:
        return prepared
    if checkpoint is None:
        start_from(section, prepared.model, prepared.config.id, prepared.fingerprint, prepared.newly_initialized)
    return replace(prepared, notes=[*prepared.notes, described_init(section)])


def _examples(config: ResolvedConfig, cache: RunCache) -> dict[str, list[str]]:
    """Texts of every class for the model card, read once for all runs on the same data."""
    key = f"{config.task} {config.data.model_dump_json()}"
    if key not in cache.examples:
        cache.examples[key] = label_examples(config)
    return cache.examples[key]


def load_tokenizer_and_splits(config: ResolvedConfig, cache: RunCache) -> tuple[PreTrainedTokenizerBase, Splits]:
    """Tokenizer and tokenised data of a run, read once for all runs that share them."""
    model = config.model.model_dump_json()
    if model not in cache.tokenizers:
        cache.tokenizers[model] = load_tokenizer(config.model)
    tokenizer = cache.tokenizers[model]
    key = f"{config.task} {config.data.model_dump_json()} {model}"
    if key not in cache.splits:
        cache.splits[key] = load_splits(config, tokenizer)
    return tokenizer, cache.splits[key]
