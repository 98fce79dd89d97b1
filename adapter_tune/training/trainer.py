"""The HF Trainer as this project needs it: its own order of rows, batches and loss; scores; CUDA graphs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from transformers import ProgressCallback as DefaultProgressCallback

from adapter_tune.adapters.model_parts import added_buffers
from adapter_tune.adapters.token_batch_norm import TokenBatchNorm
from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import TrainingConfig
from adapter_tune.data.flat_rows import FlatRows, RowNumbers
from adapter_tune.data.samplers import LengthGroupedSampler, LongestFirstSampler
from adapter_tune.data.splits import Splits
from adapter_tune.foundation.errors import RunError
from adapter_tune.modeling import sharding
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.modeling.fast_paths import prepare_to_compute
from adapter_tune.modeling.fused_projections import fuse_projections
from adapter_tune.run_files import checkpoints
from adapter_tune.training.adapter_checkpoints import AdapterCheckpointTrainer
from adapter_tune.training.arguments import arguments
from adapter_tune.training.batches import batch_source, row_lengths
from adapter_tune.training.cuda_graphs import CudaGraphs, StepGraphs
from adapter_tune.training.loss_log import LossLog
from adapter_tune.training.loss_weights import (
    balanced_class_weights,
    batch_loss_scale,
    own_rows_of_last_batch,
    weighted_loss,
)
from adapter_tune.training.resume import BestCheckpoint
from adapter_tune.training.scorer import Scorer
from adapter_tune.training.speed_monitor import SpeedMonitor, reset_peak_memory

_OWN_ROWS = "own_rows"
"""In a batch: how many of its rows are this process's own; the others only fill the batch up."""
_LOSS_SCALE = "loss_scale"
"""In a batch: the factor of its mean loss."""


class AdapterTrainer(AdapterCheckpointTrainer):
    """Trains and evaluates a prepared model."""

    def __init__(
        self,
        config: ResolvedConfig,
        prepared: PreparedModel,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        splits: Splits,
        callbacks: list[TrainerCallback],
        speed_monitor: SpeedMonitor,
    ) -> None:
        if config.training.deterministic:  # cuBLAS reads it before its first product
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self.newly_initialized = prepared.newly_initialized
        self.speed_monitor = speed_monitor
        self.loss_log = LossLog()
        self.is_over = False
        """Whether training had ended at the checkpoint from which it resumes."""
        self.loss_scale = 1.0
        """Makes the average over processes equal to the mean over the rows of all of them."""
        self.precision = prepare_to_compute(prepared, config.training)
        speed_monitor.precision = self.precision
        reset_peak_memory()
        args = arguments(config, folder)
        args.ddp_broadcast_buffers = bool(added_buffers(prepared.model))  # running statistics; all else is constant
        self.task = config.task_spec
        self.class_weights = balanced_class_weights(config, splits, args.device)
        source = batch_source(config, prepared, splits, tokenizer, args)
        self.frozen_layer_cache = source.frozen_layer_cache
        if self.frozen_layer_cache is not None:
            speed_monitor.seconds = self.frozen_layer_cache.seconds
        self.is_sharded = config.training.shard_backbone and splits.train is not None
        if self.is_sharded:
            sharding.shard(prepared.model, prepared.newly_initialized, args.device)
        super().__init__(
            model=prepared.model,
            args=args,
            data_collator=source.collate,
            train_dataset=source.splits.train,
            eval_dataset=source.splits.validation,
            compute_metrics=Scorer(self.task),
            callbacks=[BestCheckpoint(), self.loss_log, *callbacks],
        )
        self._remove_default_progress()
        # The model's forward takes **kwargs but does not divide its loss by them: let the Trainer average it.
        self.model_accepts_loss_kwargs = False
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        is_fast_on_one_gpu = config.training.fast and self._is_on_one_gpu()
        if is_fast_on_one_gpu:
            fuse_projections(self.model)
        if config.training.compile and splits.train is not None:
            self.model.compile(dynamic=True)  # lengths vary from batch to batch
        self.step_graphs: StepGraphs | None = None
        self.eval_graphs: CudaGraphs | None = None
        if source.is_flat:
            self.args.dataloader_pin_memory = False  # batches are made on the device
            if is_fast_on_one_gpu:
                self._use_graphs(config.training, source.splits.train)

    def _remove_default_progress(self) -> None:
        for callback in list(self.callback_handler.callbacks):
            if type(callback) in (PrinterCallback, DefaultProgressCallback):
                self.remove_callback(callback)

    def _use_graphs(self, training: TrainingConfig, rows: FlatRows | None) -> None:
        """Let CUDA graphs compute evaluation, and training if a step is one batch and changes no running statistics."""
        evaluate = partial(_evaluated, super().prediction_step, self.model)
        self.eval_graphs = CudaGraphs(evaluate, "batches in evaluation", self.args.device)
        is_one_batch = training.gradient_accumulation == 1 and not training.gradient_checkpointing
        has_statistics = any(isinstance(module, TokenBatchNorm) for module in self.model.modules())
        if rows is not None and is_one_batch and self.precision != "fp16" and not has_statistics:
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
        global_batch_size = self.args.train_batch_size * self.args.world_size  # the order is that of one process
        return LengthGroupedSampler(row_lengths(rows), global_batch_size, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> LongestFirstSampler:
        return LongestFirstSampler(row_lengths(eval_dataset))

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
        if self.step_graphs is None and batches:
            self._weigh(batches)
        return batches, items

    def _weigh(self, batches: list[dict[str, Any]]) -> None:
        """Add to each batch of a step the factor of its loss, so that the step's loss is a mean over all its rows."""
        processes = self.args.world_size
        global_rows = [len(batch["labels"]) * processes for batch in batches]
        own_rows = [len(batch["labels"]) for batch in batches]
        last_rows = len(self.train_dataset) % (self.args.train_batch_size * processes)
        if processes > 1 and last_rows and self.accelerator.gradient_state.end_of_dataloader:
            global_rows[-1] = last_rows
            own_rows[-1] = own_rows_of_last_batch(last_rows, self.args.train_batch_size, self.args.process_index)
            batches[-1] = {key: value[: max(own_rows[-1], 1)] for key, value in batches[-1].items()}
        for batch, rows in zip(batches, own_rows, strict=True):
            batch[_OWN_ROWS] = rows
            batch[_LOSS_SCALE] = batch_loss_scale(rows, sum(global_rows), len(batches), processes)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The model's own loss, or the loss with class weights."""
        if self.class_weights is None:
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            return loss if kwargs.get("return_outputs") else loss * self.loss_scale
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = weighted_loss(outputs.logits.float(), labels, self.class_weights, self.task)
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
            self.loss_scale = inputs.pop(_LOSS_SCALE)
            mask = inputs["attention_mask"][: inputs.pop(_OWN_ROWS)]
            self.speed_monitor.count(len(mask), mask.numel(), mask.sum())
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

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._check_losses(self.state.global_step)
        super()._save_checkpoint(model, trial)

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


def _evaluated(
    step: Callable[..., tuple[Tensor, ...]], model: nn.Module, batch: dict[str, Tensor]
) -> tuple[Tensor, ...]:
    return step(model, dict(batch), False)
