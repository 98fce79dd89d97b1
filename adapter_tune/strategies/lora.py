"""LoRA for comparison, implemented by the peft package (an optional extra)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field

from adapter_tune.adapters.families import Projection, family_of
from adapter_tune.adapters.formula import Formula, ProjectionShape, Shape
from adapter_tune.adapters.layer_ranges import LayerRangeOption, layers_in
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.strategies.base import Strategy, strategy

if TYPE_CHECKING:
    from torch import nn

PROJECTIONS: tuple[Projection, ...] = get_args(Projection)


def load_peft() -> Any:
    """The peft package.

    Raises:
        RunError: it is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise RunError(f"strategy lora needs the peft package ({error}): pip install 'adapter-tune[lora]'") from None
    return peft


def _in_order(names: list[Projection]) -> list[Projection]:
    """The names in the order of ``PROJECTIONS``, each once."""
    return [name for name in PROJECTIONS if name in names]


@strategy("lora")
class Lora(Strategy):
    """Low-rank updates of projections; needs the peft package: pip install 'adapter-tune[lora]'."""

    paper: ClassVar[str] = "Hu et al. 2022"
    learning_rate: ClassVar[float] = 5e-4  # table 9 of the paper, RoBERTa-base
    drawing: ClassVar[str] = """
        x -> W x + alpha/r * B A x*     for queries and values, or others; A: d_in to r, B: r to d_out  * trained"""

    r: int = Field(default=8, ge=1, le=65_536)
    """Rank of the update."""
    alpha: float = Field(default=16.0, gt=0, le=65_536)
    """The update is multiplied by alpha / r."""
    rank_stabilized: bool = False
    """Multiply by alpha / sqrt(r) instead (rsLoRA)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of the update's input."""
    projections: Annotated[list[Projection], AfterValidator(_in_order)] = Field(["query", "value"], min_length=1)
    """What gets updates: query, key, value, attention_output, feed_forward_input, feed_forward_output."""
    layers: LayerRangeOption = "all"
    """Layers that get updates: all, a range such as 6-11, top-6, or a list."""
    layer_norm: Literal["all", "none"] = "none"
    """Trained LayerNorms: all of the encoder, or none."""

    def apply(self, model: nn.Module) -> None:
        """Let peft wrap the projections, and unfreeze again what peft freezes.

        peft renames the projections: ``query.weight`` becomes ``query.base_layer.weight``.

        Raises:
            RunError: peft is not installed, or the model has LoRA already.
            UsageError: a language adapter has replaced a projection.
        """
        peft = load_peft()
        from adapter_tune.adapters.model_parts import added_parameters, base_of, layer_norms, layers_of, unfreeze

        if added_parameters(model):
            raise RunError("the model has LoRA or adapters already: load the backbone again")
        layers = layers_of(model)
        chosen = [layers[index] for index in layers_in(self.layers, len(layers))]
        linear = family_of(model.config).linear
        for name in self.projections:
            if any(hasattr(layer.get_submodule(linear[name]), "in_backbone") for layer in chosen):
                raise UsageError(
                    f"strategy.projections: {name} is followed by a bottleneck of the language adapter, and peft "
                    "cannot wrap it then; leave it out"
                )
        targets = {id(layer.get_submodule(linear[name])) for layer in chosen for name in self.projections}
        names = [name for name, module in base_of(model).named_modules() if id(module) in targets]
        trained = [p for p in model.parameters() if p.requires_grad]
        config = peft.LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            use_rslora=self.rank_stabilized,
            lora_dropout=self.dropout,
            target_modules=names,
        )
        peft.inject_adapter_in_model(config, base_of(model))
        for parameter in trained:
            parameter.requires_grad_(True)
        if self.layer_norm == "all":
            unfreeze(*layer_norms(base_of(model)))

    def formula(self, shape: Shape) -> Formula:
        """Each projection has r (d_in + d_out) parameters (Hu et al. 2022, section 4)."""
        layers = len(layers_in(self.layers, shape.layers))
        chosen = [each for each in shape.projections if not set(each.names).isdisjoint(self.projections)]
        sizes = [self._size(each) for each in chosen]
        is_uniform = len(set(sizes)) == 1
        norms = " + LayerNorms" if self.layer_norm == "all" else ""
        filled = f"{self.r}*({chosen[0].d_in} + {chosen[0].d_out})" + (f" + {shape.norms}" if norms else "")
        return Formula(
            adapters=layers * sum(sizes),
            layer_norm=shape.norms if self.layer_norm == "all" else 0,
            adapter_count=layers * len(sizes),
            per_adapter=sizes[0] if is_uniform else None,
            text=f"r(d_in + d_out){norms}" + ("" if is_uniform else ", d_in and d_out by projection"),
            filled=filled if is_uniform else "",
        )

    def _size(self, projection: ProjectionShape) -> int:
        return self.r * (projection.d_in + projection.d_out)

    def tag(self) -> str:
        """``r8``."""
        return f"r{self.r}"
