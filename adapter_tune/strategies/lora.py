"""LoRA for comparison, implemented by the peft package (an optional extra)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from adapter_tune.adapters.families import family_of
from adapter_tune.adapters.formula import Formula, Shape
from adapter_tune.adapters.layer_ranges import LayerRangeOption, layers_in
from adapter_tune.foundation.errors import RunError
from adapter_tune.strategies.base import Strategy, strategy

if TYPE_CHECKING:
    from torch import nn


@strategy("lora")
class Lora(Strategy):
    """Low-rank updates of the query and value projections; needs the peft package: pip install 'adapter-tune[lora]'."""

    paper: ClassVar[str] = "Hu et al. 2022"
    learning_rate: ClassVar[float] = 5e-4  # table 9 of the paper, RoBERTa-base
    drawing: ClassVar[str] = """
        x -> W x + alpha/r * B A x*          for queries and values; A: d to r, B: r to d          * trained"""

    r: int = Field(default=8, ge=1, le=65_536)
    """Rank of the update."""
    alpha: float = Field(default=16.0, gt=0, le=65_536)
    """The update is multiplied by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of the update's input."""
    layers: LayerRangeOption = "all"
    """Layers that get updates: all, a range such as 6-11, top-6, or a list."""

    def apply(self, model: nn.Module) -> None:
        """Let peft wrap the projections, and unfreeze again what peft freezes.

        peft renames the projections: ``query.weight`` becomes ``query.base_layer.weight``.

        Raises:
            RunError: peft is not installed, or the model has LoRA already.
        """
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise RunError(
                f"strategy lora needs the peft package ({error}): pip install 'adapter-tune[lora]'"
            ) from None
        from adapter_tune.adapters.model_parts import added_parameters, base_of, layers_of

        if added_parameters(model):
            raise RunError("the model has LoRA or adapters already: load the backbone again")
        layers = layers_of(model)
        chosen = [layers[index] for index in layers_in(self.layers, len(layers))]
        paths = family_of(model.config).query_value
        targets = {id(layer.get_submodule(path)) for layer in chosen for path in paths}
        names = [name for name, module in base_of(model).named_modules() if id(module) in targets]
        trained = [p for p in model.parameters() if p.requires_grad]
        config = LoraConfig(r=self.r, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=names)
        inject_adapter_in_model(config, base_of(model))
        for parameter in trained:
            parameter.requires_grad_(True)

    def formula(self, shape: Shape) -> Formula:
        """Each projection has r (d_in + d_out) parameters (Hu et al. 2022, section 4)."""
        layers = len(layers_in(self.layers, shape.layers))
        widths = shape.query_value
        is_uniform = len(set(widths)) == 1
        return Formula(
            adapters=layers * sum(self.r * (shape.d + width) for width in widths),
            adapter_count=layers * len(widths),
            per_adapter=self.r * (shape.d + widths[0]) if is_uniform else None,
            text="r(d_in + d_out)",
            filled=f"{self.r}*({shape.d} + {widths[0]})",
        )

    def tag(self) -> str:
        """``r8``."""
        return f"r{self.r}"
