"""The backbone of a new configuration: a suggestion for this machine and these texts, and what its files say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch
from transformers import PreTrainedTokenizerBase

from adapter_tune.adapters.families import shape_of
from adapter_tune.adapters.formula import Shape
from adapter_tune.config.schema import ModelConfig
from adapter_tune.modeling.backbone import load_config, load_tokenizer, positions_of
from adapter_tune.setup.columns import Guess

_BASE = "google-bert/bert-base-uncased"
_SMALL = "sentence-transformers/all-MiniLM-L6-v2"
_MULTILINGUAL = "FacebookAI/xlm-roberta-base"
_LOOKED_AT = 200  # texts
_LATIN_END = 0x250  # the first character after the extended Latin letters


@dataclass(frozen=True)
class OpenBackbone:
    """What a configuration needs to know of a backbone; its weights are not loaded."""

    id: str
    tokenizer: PreTrainedTokenizerBase
    shape: Shape
    heads: int
    """Attention heads of a layer."""
    positions: int | None
    """Tokens that it has positions for; None without a limit."""


def open_backbone(model_id: str) -> OpenBackbone:
    """Read a backbone's configuration and tokenizer.

    Raises:
        UsageError: it is a file, or the folder of a run.
        RunError: there is none, its family is not supported, or the Hub cannot be reached.
    """
    model = ModelConfig(id=model_id)
    config = load_config(model, {})
    heads = int(config.num_attention_heads)  # DistilBERT's n_heads has this name, too
    return OpenBackbone(model_id, load_tokenizer(model), shape_of(config), heads, positions_of(config))


def suggested_backbone(texts: Sequence[str], device: str) -> Guess:
    """The backbone to start with.

    Args:
        texts: some of the texts to read; none for a task of GLUE, which is English.
        device: of this machine.
    """
    letters = [letter for text in texts[:_LOOKED_AT] for letter in text if letter.isalpha()]
    if sum(ord(letter) >= _LATIN_END for letter in letters) > 0.2 * len(letters):
        return Guess(_MULTILINGUAL, "many letters are not Latin, and this one reads 100 languages", is_open=True)
    if device == "cpu":
        reason = f"small, because there is no GPU; {_BASE} is better and slower, {_MULTILINGUAL} reads other languages"
        return Guess(_SMALL, reason, is_open=True)
    return Guess(_BASE, f"the paper's; {_MULTILINGUAL} reads other languages than English", is_open=True)


def free_memory(device: str) -> int:
    """The memory in bytes that is available on a device."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)
