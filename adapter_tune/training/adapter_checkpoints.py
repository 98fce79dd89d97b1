"""A Trainer whose checkpoints hold what is trained and never the backbone, and are complete or absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer

from adapter_tune.foundation.errors import RunError, first_line, is_out_of_memory
from adapter_tune.run_files import adapter_files, checkpoints

_MPS_GENERATOR = "rng_state_mps.pth"


class AdapterCheckpointTrainer(Trainer):
    """Writes and reads checkpoints by ``run_files``; keeps the newest one and the best one."""

    newly_initialized: frozenset[str]
    """Parameters of the backbone that were not in its checkpoint, so that ours must hold them."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if self.args.should_save:
            adapter_files.save_weights(self.model, self.newly_initialized, Path(output_dir or self.args.output_dir))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        run = Path(self.args.output_dir)
        step = self.state.global_step
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

    def _load_best_model(self) -> None:
        adapter_files.load_weights(self.model, self.newly_initialized, Path(self.state.best_model_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with _unreadable_checkpoint_as_run_error(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self.args.device.type == "mps":  # the Trainer stores those of the other devices
            torch.save(torch.mps.get_rng_state(), Path(output_dir) / _MPS_GENERATOR)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _unreadable_checkpoint_as_run_error(checkpoint):
            super()._load_rng_state(checkpoint)
            if checkpoint is not None and self.args.device.type == "mps":
                torch.mps.set_rng_state(torch.load(Path(checkpoint) / _MPS_GENERATOR, weights_only=True))


@contextmanager
def _unreadable_checkpoint_as_run_error(checkpoint: str | None) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # unpickling raises whatever the bytes make it
        raise RunError(
            f"{checkpoint}: cannot be read ({first_line(error)}); remove it, or start again with --no-resume"
        ) from error
