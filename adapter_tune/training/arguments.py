"""A configuration as the HF Trainer's arguments, and what is refused of it before anything is loaded."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from dataclasses import fields
from pathlib import Path

from transformers import TrainingArguments

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import TrainingConfig
from adapter_tune.foundation import distributed
from adapter_tune.foundation.errors import UsageError
from adapter_tune.modeling.gpu_checks import check_gpus
from adapter_tune.modeling.precision import ComputeSettings, resolve_compute
from adapter_tune.training.logger_libraries import trackio_project
from adapter_tune.training.loggers import check_loggers

log = logging.getLogger("adapter_tune")


def arguments(config: ResolvedConfig, folder: Path) -> TrainingArguments:
    """The one place where a configuration becomes the Trainer's arguments."""
    t = config.training
    task = config.task_spec
    compute = resolve_compute(t)
    names = {f.name for f in fields(TrainingArguments)}  # renamed in transformers 5.2x, the old name deprecated
    checkpointing = "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
    args = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=t.epochs,
        max_steps=t.max_steps or -1,
        learning_rate=config.learning_rate,
        per_device_train_batch_size=distributed.per_process_batch_size(t.batch_size),
        per_device_eval_batch_size=t.eval_batch_size,
        gradient_accumulation_steps=t.gradient_accumulation,
        lr_scheduler_type="linear",
        warmup_steps=t.warmup,  # below 1 it is a share of all steps
        # The fused kernel skips a step that overflowed without saying so, and the schedule would still advance.
        optim="adamw_torch" if compute.precision == "fp16" else "adamw_torch_fused",
        weight_decay=t.weight_decay,
        adam_epsilon=t.adam_epsilon,
        max_grad_norm=t.max_grad_norm,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model=f"{task.validation[0]}_{task.headline}",
        greater_is_better=True,
        logging_steps=t.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # AdapterTrainer ends such a run
        seed=t.seed,
        full_determinism=t.deterministic,
        use_cpu=compute.device == "cpu",
        bf16=compute.precision == "bf16",
        fp16=compute.precision == "fp16",
        dataloader_pin_memory=compute.device == "cuda",
        accelerator_config={"non_blocking": compute.device == "cuda"},
        remove_unused_columns=False,
        label_names=["labels"],
        ddp_find_unused_parameters=False,
        ddp_backend="gloo" if distributed.world_size() > 1 and compute.device == "cpu" else None,
        disable_tqdm=True,
        report_to="none",
        run_name=folder.name,
        project=trackio_project(),
        **{checkpointing: t.gradient_checkpointing},
        **{f"{checkpointing}_kwargs": {"use_reentrant": False} if t.gradient_checkpointing else None},
    )
    args.report_to = []  # a variable of Kubeflow's adds its logger; ours are callbacks (training/loggers.py)
    args._n_gpu = min(1, args.n_gpu)  # several GPUs in one process would mean DataParallel
    args.mixed_precision = "no" if compute.precision == "float32" else compute.precision  # not the launcher's
    return args


def check_training(config: ResolvedConfig) -> None:
    """Refuse what the machine or the task cannot do, before anything is loaded.

    Raises:
        RunError: the machine has no such device.
        UsageError: the device cannot compute in the precision, or class weights are wanted for a task without classes.
    """
    distributed.check_launcher()
    check_loggers(config.training.report_to)
    compute = resolve_compute(config.training)
    _compare_with_launcher(config.training, compute)
    check_gpus(config.training, compute)
    distributed.per_process_batch_size(config.training.batch_size)
    if config.training.shard_backbone and distributed.world_size() == 1:
        raise UsageError(
            "training.shard_backbone needs several processes; start the run with torchrun, or remove the option"
        )
    if config.training.shard_backbone and config.model.language_adapter is not None:
        raise UsageError("training.shard_backbone does not shard a language adapter; remove the option")
    if config.training.compile:
        _check_compiler(config.training, compute.device)
    if config.training.class_weights != "none" and config.task_spec.is_regression:
        raise UsageError("training.class_weights: balanced needs classes, not a regression; remove the option")


def _check_compiler(training: TrainingConfig, device: str) -> None:
    """Refuse ``training.compile`` with options that it excludes, and where torch.compile has nothing to compile with.

    Raises:
        UsageError: this is so.
    """
    if not training.fast:
        raise UsageError("training.compile is one of the fast paths; remove it, or training.fast=false")
    if training.gradient_checkpointing:
        raise UsageError("training.compile chooses what is recomputed; remove it, or training.gradient_checkpointing")
    if device == "cpu" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        raise UsageError("training.compile needs a C++ compiler; install g++, or remove the option")
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        raise UsageError(
            "training.compile needs triton on a GPU; install it (pip install triton), or remove the option"
        )
    if device == "mps":
        raise UsageError("training.compile is only for GPUs of NVIDIA and AMD, and CPUs; remove the option")


def _compare_with_launcher(training: TrainingConfig, compute: ComputeSettings) -> None:
    """Say where accelerate launch asks for something else than the configuration, which decides.

    Raises:
        UsageError: the launcher asks for the CPU, and the run would take another device.
    """
    if distributed.launcher_uses_cpu() and compute.device != "cpu":
        raise UsageError(f"the launcher asks for the CPU, and this run takes {compute.device}; set training.device=cpu")
    precision = distributed.launcher_precision()
    if precision not in (None, compute.precision):
        log.info("the launcher's %s is not used: training.precision gives %s", precision, compute.precision)
    steps = distributed.launcher_accumulation()
    if steps not in (None, str(training.gradient_accumulation)):
        log.info(
            "the launcher's %s steps of gradient accumulation are not used: training.gradient_accumulation is %d",
            steps,
            training.gradient_accumulation,
        )
