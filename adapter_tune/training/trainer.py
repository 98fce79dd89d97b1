"""The HF Trainer as this project needs it: adapter-only checkpoints, its own order of rows, scores."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback
from transformers import ProgressCallback as DefaultProgressCallback

from adapter_tune.adapters.bottleneck import TokenBatchNorm
from adapter_tune.adapters.model_parts import added_buffers
from adapter_tune.config.schema import RunConfig, TrainingConfig
from adapter_tune.data.flat_rows import FlatRows, RowNumbers, can_be_flat, unwrapped
from adapter_tune.data.samplers import LengthGroupedSampler, LongestFirstSampler
from adapter_tune.data.splits import Splits, collator, lengths
from adapter_tune.foundation.errors import RunError, first_line, is_out_of_memory
from adapter_tune.modeling import sharding
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.modeling.fast_paths import prepare_to_compute
from adapter_tune.modeling.frozen_layer_cache import FrozenLayerCache, cache_folder
from adapter_tune.run_files import adapter_files, checkpoints
from adapter_tune.training.arguments import arguments
from adapter_tune.training.cuda_graphs import CudaGraphs, StepGraphs
from adapter_tune.training.loss_log import LossLog
from adapter_tune.training.resume import BestCheckpoint
from adapter_tune.training.scorer import Scorer
from adapter_tune.training.speed_monitor import SpeedMonitor, reset_peak_memory

_OWN_ROWS = "own_rows"
"""In a batch: how many of its rows are this process's own; the others only fill the batch up."""


class AdapterTrainer(Trainer):
    """A Trainer whose checkpoints hold what is trained and never the backbone."""

    def __init__(self, config: RunConfig, prepared: PreparedModel, tokenizer: PreTrainedTokenizerBase, folder: Path,
                 splits: Splits, callbacks: list[TrainerCallback], speed_monitor: SpeedMonitor) -> None:  # fmt: skip
        if config.training.deterministic:  # cuBLAS reads it before its first product
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self.newly_initialized = prepared.newly_initialized
        self.speed_monitor = speed_monitor
        self.loss_log = LossLog()
        self.is_over = False
        """Whether training had ended at the checkpoint from which it resumes."""
        self.loss_scale: Tensor | float = 1.0
        """Makes the average over processes equal to the mean over the rows of all of them."""
        self.precision = prepare_to_compute(prepared, config.training)
        speed_monitor.precision = self.precision
        reset_peak_memory()
        args = arguments(config, folder)
        args.ddp_broadcast_buffers = bool(added_buffers(prepared.model))  # running statistics; all else is constant
        self.class_weights = _class_weights(config, splits, args.device)
        self.frozen_layer_cache = _frozen_layer_cache(config, prepared, splits, tokenizer, args)
        if self.frozen_layer_cache is None:
            splits = _flat_rows(config, splits, tokenizer, args.device)
        else:
            splits = self.frozen_layer_cache.splits
            speed_monitor.seconds = self.frozen_layer_cache.seconds
        self.is_sharded = config.training.shard_backbone and splits.train is not None
        if self.is_sharded:
            sharding.shard(prepared.model, prepared.newly_initialized, args.device)
        is_flat = all(isinstance(rows, FlatRows) for rows in splits.validation.values())
        collate = unwrapped if is_flat else collator(config.data, tokenizer, args.device.type)
        super().__init__(
            model=prepared.model,
            args=args,
            data_collator=self.frozen_layer_cache or collate,
            train_dataset=splits.train,
            eval_dataset=splits.validation,
            compute_metrics=Scorer(config.task_spec),
            callbacks=[BestCheckpoint(), self.loss_log, *callbacks],
        )
        for callback in list(self.callback_handler.callbacks):
            if type(callback) in (PrinterCallback, DefaultProgressCallback):
                self.remove_callback(callback)
        # The model's forward takes **kwargs but does not divide its loss by them: let the Trainer average it.
        self.model_accepts_loss_kwargs = False
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.step_graphs: StepGraphs | None = None
        self.eval_graphs: CudaGraphs | None = None
        if is_flat:
            self.args.dataloader_pin_memory = False  # batches are made on the device
            self._use_graphs(config.training, splits.train)

    def _use_graphs(self, t: TrainingConfig, rows: FlatRows | None) -> None:
        """Let CUDA graphs compute on one GPU: evaluation, and training where a step is one batch and has no state."""
        if not (t.fast and self._is_on_one_gpu()):
            return
        evaluate = partial(_evaluated, super().prediction_step, self.model)
        self.eval_graphs = CudaGraphs(evaluate, "batches in evaluation", self.args.device)
        is_plain = t.gradient_accumulation == 1 and not t.gradient_checkpointing and self.precision != "fp16"
        if rows is not None and is_plain and not any(isinstance(m, TokenBatchNorm) for m in self.model.modules()):
            self.train_dataset = RowNumbers(rows)
            step = partial(super().training_step, self.model)
            self.step_graphs = StepGraphs(rows, step, self.trained, self.args.max_grad_norm)

    def _is_on_one_gpu(self) -> bool:
        return bool(self.args.world_size == 1 and self.args.device.type == "cuda")

    def set_initial_training_values(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The number of epochs first; none where training was over at the checkpoint that it goes on from."""
        epochs, *rest = super().set_initial_training_values(*args, **kwargs)
        return (0 if self.is_over else epochs, *rest)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        rows = self.train_dataset if train_dataset is None else train_dataset
        whole = self.args.train_batch_size * self.args.world_size  # the order is that of one process
        return LengthGroupedSampler(_lengths(rows), whole, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> LongestFirstSampler:
        return LongestFirstSampler(_lengths(eval_dataset))

    def _move_model_to_device(self, model: nn.Module, device: torch.device) -> None:
        if not self.is_sharded:  # they are where they belong
            super()._move_model_to_device(model, device)

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: Any = None) -> nn.Module:
        if not (self.is_sharded and training and model is self.model):
            wrapped: nn.Module = super()._wrap_model(model, training, dataloader)
            return wrapped
        options = {"broadcast_buffers": self.args.ddp_broadcast_buffers, "find_unused_parameters": False}
        ready = self.accelerator.prepare_model(model, device_placement=False, evaluation_mode=True)
        return sharding.replicated(ready, self.args.device, **options)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        ready: dict[str, Any] = super()._prepare_inputs(inputs)
        if self.frozen_layer_cache is not None:
            self.frozen_layer_cache.take(ready)
        return ready

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[dict[str, Any]], Any]:
        """The batches of a step; an epoch's last one without the rows that only fill up the processes' batches."""
        batches, items = super().get_batch_samples(*args, **kwargs)
        processes = self.args.world_size
        batch_size = self.args.train_batch_size
        last_rows = len(self.train_dataset) % (batch_size * processes)
        if processes > 1 and last_rows and self.accelerator.gradient_state.end_of_dataloader:
            own_rows = min(max(last_rows - self.args.process_index * batch_size, 0), batch_size)
            batches[-1] = {key: value[: max(own_rows, 1)] for key, value in batches[-1].items()}
            batches[-1][_OWN_ROWS] = own_rows
        return batches, items

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The model's own loss, or cross-entropy with class weights."""
        if self.class_weights is None:
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            return loss if kwargs.get("return_outputs") else loss * self.loss_scale
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        logits = outputs.logits.float()
        loss = nn.functional.cross_entropy(logits, labels, weight=self.class_weights)
        return (loss, {"loss": loss, **outputs}) if kwargs.get("return_outputs") else loss * self.loss_scale

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Always 0: nothing reads it, and the Trainer's own count walks through the model at every step."""
        return 0

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; gradients are reset without a walk through the frozen backbone at every step."""
        self.model.zero_grad = self._reset_gradients
        try:
            return super().train(*args, **kwargs)
        finally:
            del self.model.zero_grad

    def _reset_gradients(self, set_to_none: bool = True) -> None:
        for parameter in self.trained:
            parameter.grad = None

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Count the batch, then train on it."""
        if self.step_graphs is not None:
            loss = self._graph_step(model, self.step_graphs, inputs["rows"])
        else:
            own_rows = inputs.pop(_OWN_ROWS, None)
            mask = inputs["attention_mask"][:own_rows]
            self.speed_monitor.count(len(mask), mask.numel(), mask.sum())
            self.loss_scale = self._loss_scale(inputs["labels"], own_rows)
            loss = super().training_step(model, inputs, num_items_in_batch)
        self.loss_log.add(loss)
        if self._checks_every_loss():
            self._check_losses(self.state.global_step + 1)
        return loss

    def _graph_step(self, model: nn.Module, graphs: StepGraphs, row_numbers: list[int]) -> Tensor:
        """A step on the rows with these numbers: by a graph where their shape has one."""
        rows = graphs.rows
        width = rows.width(row_numbers)
        real_tokens = int(rows.lengths[row_numbers].sum())
        self.speed_monitor.count(len(row_numbers), len(row_numbers) * width, real_tokens)
        numbers = torch.tensor(row_numbers)
        loss = graphs(numbers, width)
        if loss is None:
            batch = rows.gather(numbers.to(rows.device, non_blocking=True), width)
            loss = super().training_step(model, batch)
        return loss

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> Any:
        """Loss, logits and labels of a batch."""
        if self.eval_graphs is not None and model is self.model and not model.training:
            outputs = self.eval_graphs(dict(inputs))
            if outputs is not None:
                loss, logits, labels = (tensor.clone() for tensor in outputs)  # the next batch overwrites them
                return loss, logits, labels
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        if self.step_graphs is not None and self.step_graphs.norm is not None:
            return self.step_graphs.norm
        if self.args.world_size == 1 and self.accelerator.scaler is None:  # only what is trained is looked at
            return nn.utils.clip_grad_norm_(self.trained, self.args.max_grad_norm)
        return super()._clip_grad_norm(model)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        if grad_norm is None and self.step_graphs is not None:
            grad_norm = self.step_graphs.norm
        return super()._get_grad_norm(model, grad_norm)

    def _loss_scale(self, labels: Tensor, own_rows: int | None) -> Tensor | float:
        """What makes the average over processes equal to the (weighted) mean over the rows of all of them."""
        if self.args.world_size == 1 or (own_rows is None and self.class_weights is None):
            return 1.0
        labels = labels[:own_rows]
        weights = torch.ones_like(labels) if self.class_weights is None else self.class_weights[labels]
        weight_here = weights.float().sum()
        mean_weight: Tensor = self.accelerator.reduce(weight_here, "mean")
        return weight_here / mean_weight

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log a line; its loss is the mean since the last one, steps before a resume included."""
        if "loss" in logs:
            step = self.state.global_step
            self._check_losses(step)
            mean = self.loss_log.mean(step)
            logs["loss"] = float(self.accelerator.gather(mean).mean())
            if not math.isfinite(logs["loss"]):  # of another process
                self._stop_on_loss(logs["loss"], step)
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the model; during training a loss that is not a number ends the run first."""
        if self.is_in_train:
            self._check_losses(self.state.global_step)
        scores: dict[str, float] = super().evaluate(*args, **kwargs)
        return scores

    def _checks_every_loss(self) -> bool:
        """Whether the loss is checked after every step: on a GPU that would make the host wait for the device."""
        return bool(self.args.device.type == "cpu")

    def _check_losses(self, step: int) -> None:
        if not self.loss_log.is_finite:
            self._stop_on_loss(float(self.loss_log.total), step)

    def _stop_on_loss(self, loss: float, step: int) -> NoReturn:
        last = checkpoints.newest(Path(self.args.output_dir))
        at = "at" if self._checks_every_loss() else "at or before"
        raise RunError(
            f"the loss is {loss} {at} step {step}, with learning rate {self._get_learning_rate():.3g} (the last good "
            f"checkpoint: {last.name if last else 'none'}, in {self.args.output_dir}); lower --lr, or set "
            "training.precision=float32"
        )

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if self.args.should_save:
            adapter_files.save_weights(self.model, self.newly_initialized, Path(output_dir or self.args.output_dir))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        run = Path(self.args.output_dir)
        step = self.state.global_step
        self._check_losses(step)
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()  # every process writes its generators
            if self.args.should_save:
                checkpoints.seal(run / f"checkpoint-{step}")
                checkpoints.keep_only(run, {step, self.state.best_global_step or step})
        except (OSError, RuntimeError, RunError) as error:  # torch.save reports a full disk as a RuntimeError
            shutil.rmtree(run / f"checkpoint-{step}", ignore_errors=True)
            if is_out_of_memory(error) or "CUDA error" in str(error):  # the disk is not the cause
                raise
            raise RunError(
                f"cannot write a checkpoint to {self.args.output_dir}: {first_line(error)}; "
                "free some space and run the same command again"
            ) from error

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        adapter_files.load_weights(model or self.model, self.newly_initialized, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with _naming(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _naming(checkpoint):
            super()._load_rng_state(checkpoint)

    def _load_best_model(self) -> None:
        adapter_files.load_weights(self.model, self.newly_initialized, Path(self.state.best_model_checkpoint))


def _evaluated(
    step: Callable[..., tuple[Tensor, ...]], model: nn.Module, batch: dict[str, Tensor]
) -> tuple[Tensor, ...]:
    return step(model, dict(batch), False)


def _frozen_layer_cache(
    config: RunConfig, prepared: PreparedModel, splits: Splits, tokenizer: PreTrainedTokenizerBase, args: Any
) -> FrozenLayerCache | None:
    """The outputs of the frozen layers, computed by the first process; None where a run has no use for them."""
    folder = cache_folder(config, prepared, splits)
    if folder is None:
        return None
    with args.main_process_first(desc="outputs of the frozen layers"):
        return FrozenLayerCache(folder, config, prepared, splits, tokenizer)


def _flat_rows(config: RunConfig, splits: Splits, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> Splits:
    """The splits as flat tensors on the device, or unchanged where they hold more than such tensors can."""
    given = [rows for rows in (splits.train, *splits.validation.values()) if rows is not None]
    if not all(can_be_flat(rows, tokenizer) for rows in given):
        return splits

    def flat(rows: Any) -> FlatRows:
        return FlatRows(rows, config.data, tokenizer, device)

    train = None if splits.train is None else flat(splits.train)
    return Splits(train, {name: flat(rows) for name, rows in splits.validation.items()})


def _lengths(rows: Any) -> Any:
    """Tokens of every row of a split."""
    return rows.lengths if isinstance(rows, FlatRows | RowNumbers) else lengths(rows)


def _class_weights(config: RunConfig, splits: Splits, device: torch.device) -> Tensor | None:
    """Rows / (classes * rows of the class), as scikit-learn's ``balanced``; None where classes are not weighed."""
    task = config.task_spec
    if config.training.class_weights == "none" or splits.train is None:
        return None
    counts = np.bincount(np.asarray(splits.train["labels"]), minlength=task.num_labels)
    weights = counts.sum() / (task.num_labels * np.maximum(counts, 1))
    return torch.tensor(weights, dtype=torch.float32, device=device)


@contextmanager
def _naming(checkpoint: str | None) -> Iterator[None]:
    """Name the checkpoint in the error where it cannot be read."""
    try:
        yield
    except Exception as error:  # unpickling raises whatever the bytes make it
        raise RunError(
            f"{checkpoint}: cannot be read ({first_line(error)}); remove it, or start again with --no-resume"
        ) from error
