"""Texts for the tasks of one backbone: tokenised as each task was in training, and padded to one batch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.splits import encode_texts, padding_multiple
from adapter_tune.modeling.backbone import load_saved_tokenizer
from adapter_tune.multitask.model import LoadedTask, MultiTask


class TaskTexts:
    """Tokenises texts for the tasks of a ``MultiTask``. Any number of threads may use one object.

    Args:
        model: the backbone with its tasks.
    """

    def __init__(self, model: MultiTask) -> None:
        self.model = model
        self._tokenizers: dict[str, PreTrainedTokenizerBase] = {}
        self._loading = threading.Lock()
        self._encoding = threading.Lock()  # a tokenizer in Rust may not be used by two threads with different limits

    def key(self, task: LoadedTask) -> tuple[str, int]:
        """What decides the tokens of a text: tasks with the same key tokenise texts alike."""
        return task.tokenizer, task.max_length

    def encode(self, task: LoadedTask, texts: Sequence[list[str]]) -> tuple[list[dict[str, list[int]]], list[bool]]:
        """Tokenise rows of texts.

        Args:
            task: the task that the rows are for.
            texts: one or two columns, in the task's order.

        Returns:
            The tokens of each row, without padding, and whether it was truncated.

        Raises:
            RunError: the adapter folder has no tokenizer.
        """
        tokenizer = self._tokenizer(task)
        with self._encoding:
            return encode_texts(texts, tokenizer, task.max_length)

    def pad(self, rows: Sequence[dict[str, list[int]]], task: LoadedTask) -> dict[str, Tensor]:
        """One batch (rows, tokens) of rows of any tasks, padded to the longest row.

        Args:
            rows: tokens, as ``encode`` returns them.
            task: any of the tasks; they have the same backbone, so the padding is the same.
        """
        multiple = padding_multiple(DataConfig(max_length=task.max_length), self.model.compute.device)
        collate = DataCollatorWithPadding(self._tokenizer(task), pad_to_multiple_of=multiple if multiple > 1 else None)
        batch: Any = collate([dict(row) for row in rows])
        return dict(batch)

    def _tokenizer(self, task: LoadedTask) -> PreTrainedTokenizerBase:
        """The task's tokenizer; one for all tasks whose files are equal."""
        with self._loading:
            if task.tokenizer not in self._tokenizers:
                self._tokenizers[task.tokenizer] = load_saved_tokenizer(task.folder, self.model.model.config)
            return self._tokenizers[task.tokenizer]
