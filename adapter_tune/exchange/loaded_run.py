"""A trained run as an export computes with it: the whole model in float32, without fast paths, and its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.modeling.backbone import load_saved_tokenizer
from adapter_tune.modeling.build import PreparedModel
from adapter_tune.run_files.adapter_files import AdapterConfig
from adapter_tune.runs.loading import load_prepared

_SEED = 0
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class LoadedRun:
    """A run that is exported, with its backbone."""

    folder: Path
    """The adapter folder."""
    adapter: AdapterConfig
    config: ResolvedConfig
    prepared: PreparedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def model(self) -> Any:
        """The classifier in evaluation mode, without fast paths."""
        return self.prepared.model

    @property
    def inputs(self) -> list[str]:
        """The names of the model's inputs, as the tokenizer makes them."""
        return list(self.tokenizer(*["a"] * len(self.config.task_spec.text)))

    def logits(self, batch: Batch) -> Tensor:
        """Logits (rows, labels) of a batch."""
        return logits_of(self.model, batch)

    def batches(self) -> list[Batch]:
        """Batches of random tokens with several numbers of rows and tokens, padded, to compare two models on."""
        longest = self.config.data.max_length
        shapes = [(1, 1), (1, min(7, longest)), (3, min(16, longest)), (5, min(33, longest)), (2, longest)]
        generator = torch.Generator().manual_seed(_SEED)
        return [self._random_batch(rows, tokens, generator) for rows, tokens in shapes]

    def _random_batch(self, rows: int, tokens: int, generator: torch.Generator) -> Batch:
        lengths = torch.randint(1, tokens + 1, (rows, 1), generator=generator)
        lengths[0] = tokens
        mask = torch.arange(tokens).expand(rows, tokens) < lengths
        ids = torch.randint(0, self.model.config.vocab_size, (rows, tokens), generator=generator)
        has_types = getattr(self.model.config, "type_vocab_size", 0) > 1
        second = (torch.arange(tokens) >= tokens // 2) & mask if has_types else torch.zeros_like(mask)
        batch = {
            "input_ids": ids.masked_fill(~mask, self.tokenizer.pad_token_id),
            "token_type_ids": second.long(),
            "attention_mask": mask.long(),
        }
        return {name: batch[name] for name in self.inputs}


def load_run(
    folder: Path,
    adapter: AdapterConfig,
    config: ResolvedConfig,
    model: str | None,
    language_adapter: str | None = None,
) -> LoadedRun:
    """Load a run with its backbone.

    Args:
        folder: the adapter folder.
        adapter: its configuration.
        config: that of the run.
        model: path or id of the backbone, if it has moved since training.
        language_adapter: folder of the language adapter, if that has moved, or of one for another language.

    Raises:
        RunError: the backbone is not the one of the training, or a file is damaged.
    """
    prepared = load_prepared(folder, model, language_adapter)
    prepared.model.eval()
    return LoadedRun(folder, adapter, config, prepared, load_saved_tokenizer(folder, prepared.model.config))


def logits_of(model: Any, batch: Batch) -> Tensor:
    """Logits (rows, labels) that a classifier computes of a batch."""
    with torch.inference_mode():
        logits: Tensor = model(**batch).logits
    return logits


def save_tokenizer(run: LoadedRun, folder: Path) -> None:
    """Save the tokenizer with the run's maximum length, at which it truncates if truncation is on."""
    length = run.tokenizer.model_max_length
    run.tokenizer.model_max_length = run.config.data.max_length
    try:
        run.tokenizer.save_pretrained(folder)
    finally:
        run.tokenizer.model_max_length = length
