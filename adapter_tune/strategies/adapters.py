"""Strategies that put bottleneck adapters into the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from adapter_tune.counts import Formula, Shape
from adapter_tune.strategies.base import Strategy, strategy

if TYPE_CHECKING:
    from torch import nn

Activation = Literal["gelu", "relu", "silu", "tanh", "identity"]


@strategy("houlsby")
class Houlsby(Strategy):
    """Two adapters in every layer, after the attention's and the feed-forward's dropout, and their LayerNorms."""

    paper: ClassVar[str] = "Houlsby et al. 2019"
    learning_rate: ClassVar[float] = 3e-4  # the released code's example

    m: int = Field(default=64, ge=1, le=65_536)
    """Bottleneck size."""
    activation: Activation = "gelu"
    """Between the two projections; the released code has GELU."""
    init_std: float = Field(default=1e-2, gt=0, le=100)
    """Standard deviation of the initial weights, cut at two deviations: 1e-2 in the paper, 1e-3 in its code."""
    layer_norm: Literal["adapter", "all", "none"] = "adapter"
    """LayerNorms trained: those behind an adapter (the formula's 2d), all with the embeddings' (the code), none."""

    def apply(self, model: nn.Module) -> None:
        """Attach an adapter at every site and unfreeze the LayerNorms that ``layer_norm`` names."""
        from adapter_tune.adapter import Bottleneck
        from adapter_tune.surgery import attach, base_of, layer_norms, sites, unfreeze

        for site in sites(model):
            weight = site.norm.weight
            adapted = attach(site, Bottleneck(len(weight), self.m, self.activation, self.init_std, weight.device))
            unfreeze(adapted.adapter)
            if self.layer_norm == "adapter":
                unfreeze(site.norm)
        if self.layer_norm == "all":
            unfreeze(*layer_norms(base_of(model)))

    def formula(self, shape: Shape) -> Formula:
        """2md + d + m an adapter, 2d its LayerNorm (Houlsby et al. 2019, section 2.1)."""
        d, m, count = shape.d, self.m, 2 * shape.layers
        with_norm = self.layer_norm != "none"
        norms = {"adapter": count, "all": count + 1, "none": 0}[self.layer_norm]
        return Formula(
            adapters=count * (2 * m * d + d + m),
            layer_norm=norms * 2 * d,
            adapter_count=count,
            per_adapter=2 * m * d + (3 * d if with_norm else d) + m,
            text="2md + 3d + m" if with_norm else "2md + d + m",
            filled=f"2*{m}*{d} + {3 if with_norm else 1}*{d} + {m}",
        )
