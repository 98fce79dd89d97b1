"""What is counted, in plain arithmetic: a backbone's shape, a strategy's closed formula, and the count.

This file does not import torch, so listing strategies and counting by formula take no time.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class ProjectionShape:
    """The size of a linear module in a layer."""

    names: tuple[str, ...]
    """What it computes, as ``Family.linear`` names it: several names where one matrix computes several."""
    d_in: int
    d_out: int


@dataclass(frozen=True)
class Shape:
    """The sizes of an encoder that decide its parameter counts; ``families.py`` computes them from a configuration."""

    layers: int
    d: int
    """Hidden size."""
    layer: int
    """Parameters of one layer without its LayerNorms."""
    layer_biases: int
    """Biases among the parameters of ``layer``."""
    embeddings: int
    """Parameters outside the layers (embeddings and their projection), without LayerNorms and pooler."""
    embedding_biases: int
    """Biases among the parameters of ``embeddings``."""
    norm: int
    """Parameters of one LayerNorm in a layer: 2d, or d where it has no bias."""
    layer_norms: tuple[int, ...]
    """Number of LayerNorms in each layer."""
    embedding_norms: int
    """Parameters of the LayerNorms below the first layer."""
    top_norms: int = 0
    """Parameters of the LayerNorms above the last layer."""
    post_norm: bool = True
    """A LayerNorm follows every sub-layer; False where norms come before them (ModernBERT)."""
    norm_bias: bool = True
    pooler: int = 0
    projections: tuple[ProjectionShape, ...] = ()
    """The linear modules of one layer that can get low-rank updates."""

    def norms_in(self, layers: int | None = None) -> int:
        """Parameters of the LayerNorms in the upper ``layers`` layers, in all of them by default."""
        first = 0 if layers is None else self.layers - layers
        return sum(self.layer_norms[first:]) * self.norm

    @property
    def norms(self) -> int:
        """Parameters of all LayerNorms."""
        return self.embedding_norms + self.norms_in() + self.top_norms

    @property
    def total(self) -> int:
        """Parameters of the encoder, pooler included."""
        return self.embeddings + self.layers * self.layer + self.norms + self.pooler


@dataclass(frozen=True)
class Formula:
    """What a strategy trains in the backbone, by closed formula; head and pooler are not counted here."""

    adapters: int = 0
    layer_norm: int = 0
    other: int = 0
    adapter_count: int = 0
    adapter_norms: int = 0
    """Trained parameters of the LayerNorms after adapters; part of ``layer_norm``."""
    per_adapter: int | None = None
    """One adapter with the LayerNorm after it; None without adapters, and where their sizes differ."""
    text: str = ""
    """The formula in symbols: ``2md + 3d + m``."""
    filled: str = ""
    """The formula in numbers: ``2*64*768 + 3*768 + 64``."""

    @property
    def total(self) -> int | None:
        """Adapters and the LayerNorms after them; None without adapters."""
        return self.adapters + self.adapter_norms if self.adapter_count else None

    @property
    def trained(self) -> int:
        """All parameters that are trained in the backbone."""
        return self.adapters + self.layer_norm + self.other


class Groups(BaseModel):
    """Numbers of trained parameters by group."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    adapters: int
    layer_norm: int
    head: int
    pooler: int
    other: int

    @property
    def total(self) -> int:
        """All trained parameters."""
        return self.adapters + self.layer_norm + self.head + self.pooler + self.other


class ParameterCount(BaseModel):
    """Parameters of a model, counted from its tensors, and the closed formula's result to compare with."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    backbone: int
    """The encoder without adapters: embeddings, layers, pooler, a frozen language adapter; no head."""
    language_adapter: int = 0
    """The language adapter; part of ``backbone``."""
    groups: Groups
    trained: int
    total: int
    """Everything: backbone, head, adapters."""
    trained_percent: float
    """Trained parameters in percent of the model without adapters (backbone and head)."""
    trained_percent_encoder: float
    """Trained parameters in percent of the encoder layers alone (as the paper reports them)."""
    per_adapter: int | None
    """One adapter with its trained LayerNorm; None without adapters, and where their sizes differ."""
    adapter_count: int
    adapter_norms: int = 0
    """Trained parameters of the LayerNorms after adapters; part of ``groups.layer_norm``."""
    formula: int | None
    """Adapters and the LayerNorms after them by the closed formula; None for a strategy without adapters."""
