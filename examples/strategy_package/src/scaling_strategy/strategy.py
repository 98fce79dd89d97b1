"""The strategy. This file does not import torch, so that commands start at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from adapter_tune import Strategy, strategy
from adapter_tune.adapters.formula import Formula, Shape

if TYPE_CHECKING:
    from torch import nn


@strategy("scaling")
class Scaling(Strategy):
    """Every value of a sub-layer's output is scaled by 1 + s, with a trained s."""

    paper: ClassVar[str] = "an example, after Liu et al. 2022"
    learning_rate: ClassVar[float] = 3e-3
    drawing: ClassVar[str] = """
        x -> sub-layer -> dropout -> h -> h + s* h -> + x -> LayerNorm          * trained"""

    sub_layer: Literal["both", "attention", "feed_forward"] = "both"
    """Sub-layers whose output is scaled."""

    def apply(self, model: nn.Module) -> None:
        """Attach a vector behind every chosen sub-layer."""
        from adapter_tune.adapters.surgery import attach, sites
        from scaling_strategy.modules import Scaling as ScalingModule

        config: Any = model.config
        for site in sites(model):
            if self.sub_layer in ("both", site.sub_layer):
                attach(model, site, ScalingModule(config.hidden_size))

    def formula(self, shape: Shape) -> Formula:
        """One vector of d values per chosen sub-layer."""
        per_layer = 2 if self.sub_layer == "both" else 1
        count = per_layer * shape.layers
        return Formula(
            adapters=count * shape.d,
            adapter_count=count,
            per_adapter=shape.d,
            text="d",
            filled=f"{shape.d}",
        )
