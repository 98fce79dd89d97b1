"""Which private parts of the libraries are overridden or called: a new version says here which one has moved."""

from __future__ import annotations

import inspect
from typing import Any

import optuna
import pytest
import torch
from transformers import Trainer, masking_utils
from transformers.trainer_callback import ExportableState

from adapter_tune.training.adapter_checkpoints import AdapterCheckpointTrainer
from adapter_tune.training.trainer import AdapterTrainer

OVERRIDDEN: dict[str, list[str]] = {
    "_clip_grad_norm": ["model"],
    "_get_eval_sampler": ["eval_dataset"],
    "_get_grad_norm": ["model", "grad_norm"],
    "_get_train_sampler": ["train_dataset"],
    "_load_best_model": [],
    "_load_from_checkpoint": ["resume_from_checkpoint", "model"],
    "_load_optimizer_and_scheduler": ["checkpoint"],
    "_load_rng_state": ["checkpoint"],
    "_move_model_to_device": ["model", "device"],
    "_prepare_inputs": ["inputs"],
    "_save": ["output_dir", "state_dict"],
    "_save_checkpoint": ["model", "trial"],
    "_save_rng_state": ["output_dir"],
    "_wrap_model": ["model", "training", "dataloader"],
    "compute_loss": ["model", "inputs", "return_outputs", "num_items_in_batch"],
    "floating_point_ops": ["inputs"],
    "get_batch_samples": ["epoch_iterator", "num_batches", "device"],
    "log": ["logs", "start_time"],
    "prediction_step": ["model", "inputs", "prediction_loss_only", "ignore_keys"],
    "training_step": ["model", "inputs", "num_items_in_batch"],
}
"""Methods of the Trainer that ``AdapterTrainer`` overrides, with the arguments that it counts on, in order."""

PUBLIC = {"__init__", "train", "evaluate", "set_initial_training_values"}
"""Overridden as well, and called by their keywords alone or handed through."""

CALLED: list[tuple[Any, str]] = [
    (Trainer, "_get_learning_rate"),
    (Trainer, "_maybe_log_save_evaluate"),
    (masking_utils, "sdpa_mask"),
    (masking_utils, "_ignore_bidirectional_mask_sdpa"),
    (ExportableState, "state"),
    (torch._C, "_current_graph_task_id"),
    (torch.cpu, "_is_avx512_bf16_supported"),
    (torch.cpu, "_is_amx_tile_supported"),
    (torch, "_foreach_copy_"),
    (optuna.study.Study, "_storage"),
]


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_an_overridden_method_is_there_with_its_arguments(name: str) -> None:
    arguments = list(inspect.signature(getattr(Trainer, name)).parameters)[1:]
    assert arguments[: len(OVERRIDDEN[name])] == OVERRIDDEN[name]


def test_all_that_is_overridden_is_listed() -> None:
    own_names = {name for cls in (AdapterTrainer, AdapterCheckpointTrainer) for name in vars(cls)}
    ours = {name for name in own_names if hasattr(Trainer, name) and callable(getattr(Trainer, name))}
    inherited = {name for name in ours if name not in vars(object) or name == "__init__"}
    assert inherited == {*OVERRIDDEN, *PUBLIC}


def test_the_trainer_itself_calls_what_is_overridden() -> None:
    source = inspect.getsource(Trainer)
    for name in OVERRIDDEN:
        assert f"self.{name}" in source, name


@pytest.mark.parametrize(("owner", "name"), CALLED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_private_part_that_is_called_is_there(owner: Any, name: str) -> None:
    if owner is optuna.study.Study:
        owner = optuna.create_study()
    assert hasattr(owner, name)
