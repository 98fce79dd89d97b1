"""What is counted, in plain arithmetic: a backbone's shape, a strategy's closed formula, and the count.

No torch here, so that listing and counting by formula are instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class Shape:
    """The sizes of a BERT-family encoder that decide its parameter counts."""

    layers: int
    d: int
    """Hidden size."""
    intermediate: int
    heads: int
    vocabulary: int = 30_522
    positions: int = 512
    token_types: int = 2

    @classmethod
    def of(cls, config: Any) -> Shape:
        """The shape that a transformers configuration of the BERT family describes."""
        return cls(
            layers=config.num_hidden_layers,
            d=config.hidden_size,
            intermediate=config.intermediate_size,
            heads=config.num_attention_heads,
            vocabulary=config.vocab_size,
            positions=config.max_position_embeddings,
            token_types=config.type_vocab_size,
        )

    @property
    def embedding_weights(self) -> int:
        """Word, position and token-type embeddings, their LayerNorm aside."""
        return (self.vocabulary + self.positions + self.token_types) * self.d

    @property
    def layer_weights(self) -> int:
        """Projections of one layer (query, key, value, output; up, down), its two LayerNorms aside."""
        d, f = self.d, self.intermediate
        return 4 * (d * d + d) + (d * f + f) + (f * d + d)


@dataclass(frozen=True)
class Formula:
    """What a strategy trains in the backbone, by closed formula; head and pooler are not its business."""

    adapters: int = 0
    layer_norm: int = 0
    other: int = 0
    adapter_count: int = 0
    per_adapter: int | None = None
    """One adapter with the LayerNorm that belongs to it; None for a strategy without adapters."""
    text: str = ""
    """The formula as one reads it: ``2md + 3d + m``."""
    filled: str = ""
    """The same with the numbers in: ``2*64*768 + 3*768 + 64``."""

    @property
    def total(self) -> int | None:
        """Adapters and the LayerNorms that belong to them; None without adapters."""
        return None if self.per_adapter is None else self.per_adapter * self.adapter_count


class Groups(BaseModel):
    """Trained parameters by what they are."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    adapters: int
    layer_norm: int
    head: int
    pooler: int
    other: int

    @property
    def total(self) -> int:
        """All that is trained."""
        return self.adapters + self.layer_norm + self.head + self.pooler + self.other


class ParameterCount(BaseModel):
    """Parameters of a model as counted from its tensors, with what the formula says beside them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    backbone: int
    """The unadapted encoder: embeddings, layers, pooler; no head."""
    groups: Groups
    trained: int
    total: int
    """Everything: backbone, head, adapters."""
    trained_percent: float
    """Trained, in percent of the unadapted model (backbone and head)."""
    trained_percent_encoder: float
    """Trained, in percent of the encoder layers alone (the paper's way of putting it)."""
    per_adapter: int | None
    adapter_count: int
    formula: int | None
    """Adapters and their LayerNorms by the closed formula; None for a strategy without adapters."""
