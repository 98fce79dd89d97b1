"""The base of the strategies that put bottleneck adapters into the layers: their options, surgery and formula."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field, WithJsonSchema

from adapter_tune.adapters.families import SubLayer
from adapter_tune.adapters.formula import Formula, Shape
from adapter_tune.adapters.layer_ranges import LayerRangeOption, layers_in
from adapter_tune.foundation.errors import UsageError
from adapter_tune.strategies.base import Strategy

if TYPE_CHECKING:
    from torch import nn

    from adapter_tune.adapters.adapted import Insertion
    from adapter_tune.adapters.bottleneck import BottleneckConfig

_WIDEST = 65_536

Activation = Literal[
    "gelu",
    "gelu_pytorch_tanh",
    "hardswish",
    "identity",
    "leaky_relu",
    "linear",
    "mish",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "swish",
    "tanh",
]


Scale = Annotated[float, Field(gt=0, le=1000)] | Literal["learnt", "channel"]


def _check_size(value: object) -> object:
    """Return a bottleneck size, or a list with one per layer, as it is; a pydantic validator."""
    if isinstance(value, tuple | list):
        if all(type(m) is int and 0 <= m <= _WIDEST for m in value) and any(value):
            return list(value)
        problem = "needs one number from 0 to 65536 per layer, and at least one above 0"
        raise ValueError(f"a list {problem}, got {reprlib.repr(value)}")
    if type(value) is int and 1 <= value <= _WIDEST:
        return value
    raise ValueError("should be a whole number from 1 to 65536, or a list with one number per layer")


_SIZE = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": _WIDEST},
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": _WIDEST},
            "contains": {"type": "integer", "minimum": 1},
        },
    ]
}


class Injection(Strategy):
    """Base of the strategies with adapters: their options, surgery and formula."""

    sub_layers: ClassVar[tuple[SubLayer, ...]] = ("attention", "feed_forward")
    insertion: ClassVar[Insertion] = "serial"
    learning_rate: ClassVar[float] = 3e-4  # as in the example of the released code

    m: Annotated[int | list[int], BeforeValidator(_check_size), WithJsonSchema(_SIZE)] = 64
    """Bottleneck size, or a list with one size per layer; 0 means no adapter in that layer."""
    layers: LayerRangeOption = "all"
    """Layers that get adapters: all, a range such as 6-11, top-6, or a list."""
    activation: Activation = "gelu"
    """Activation between the projections; the released code uses GELU."""
    depth: int = Field(default=1, ge=1, le=64)
    """Number of bottleneck layers in an adapter; each one after the first adds m^2 + m parameters."""
    norm: Literal["none", "layer", "batch"] = "none"
    """Normalisation before each activation; batch ignores padding. Adds 2m parameters per bottleneck layer."""
    init_std: float = Field(default=1e-2, gt=0, le=100)
    """Standard deviation of the initial weights (normal, truncated at two deviations); paper 1e-2, its code 1e-3."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout in the bottleneck, before the up-projection."""
    layer_norm: Literal["adapter", "all", "none"] = "adapter"
    """Trained LayerNorms: adapter (those after an adapter, 2d in the formula), all (as in the released code), none."""
    scale: Scale = 1.0
    """Factor on the adapter's output; learnt: a trained factor (initially 1), channel: one for each of its d values."""
    input_norm: bool = False
    """Whether the adapter begins with a LayerNorm of its own; adds 2d parameters."""
    output_norm: Literal["none", "adapter", "sum"] = "none"
    """A LayerNorm of its own on the adapter's output (adapter), or after the addition (sum); adds 2d parameters."""

    def sizes(self, layers: int) -> list[int]:
        """Return the bottleneck size of each layer; 0 means no adapter.

        Raises:
            UsageError: ``m`` or ``layers`` does not fit a backbone with so many layers.
        """
        chosen = layers_in(self.layers, layers)
        if isinstance(self.m, list) and len(self.m) != layers:
            raise UsageError(f"strategy.m: the list has {len(self.m)} numbers, but the backbone has {layers} layers")
        m_by_layer = self.m if isinstance(self.m, list) else [self.m] * layers
        sizes = [m if layer in chosen else 0 for layer, m in enumerate(m_by_layer)]
        if not any(sizes):
            raise UsageError("strategy.m: it is 0 in every layer of strategy.layers, so there would be no adapter")
        return sizes

    def bottleneck_config(self) -> BottleneckConfig:
        """Return the options that decide what is inside a bottleneck."""
        from adapter_tune.adapters.bottleneck import BottleneckConfig

        return BottleneckConfig(
            activation=self.activation,
            depth=self.depth,
            norm=self.norm,
            init_std=self.init_std,
            dropout=self.dropout,
            scale=self.scale,
            input_norm=self.input_norm,
            output_norm=self.output_norm,
        )

    def apply(self, model: nn.Module) -> None:
        """Attach an adapter at every chosen site and unfreeze the LayerNorms that ``layer_norm`` names."""
        from adapter_tune.adapters.bottleneck import Bottleneck
        from adapter_tune.adapters.model_parts import base_of, layer_norms, layers_of, unfreeze
        from adapter_tune.adapters.surgery import attach, sites, track_attention_mask

        sizes = self.sizes(len(layers_of(model)))
        d = cast("Any", model.config).hidden_size
        config = self.bottleneck_config()
        mask_holder = track_attention_mask(model) if self.norm == "batch" else None
        self._check_norms(all(site.norm is not None for site in sites(model)))
        for site in sites(model):
            m = sizes[site.layer]
            if m == 0 or site.sub_layer not in self.chosen_sub_layers():
                continue
            device = cast("Any", site.projection).weight.device
            adapter = Bottleneck(d, m, config, device, mask_holder)
            attach(model, site, adapter, self.chosen_insertion())
            unfreeze(adapter)
            if self.layer_norm == "adapter" and site.norm is not None:
                unfreeze(site.norm)
        if self.layer_norm == "all":
            unfreeze(*layer_norms(base_of(model)))

    def formula(self, shape: Shape) -> Formula:
        """2md + d + m per adapter, 2d per LayerNorm (Houlsby et al. 2019, section 2.1), and what the options add.

        Raises:
            UsageError: the adapters would read the LayerNorms after the sub-layers, and there are none.
        """
        self._check_norms(shape.post_norm)
        sizes = [m for m in self.sizes(shape.layers) if m > 0 for _ in self.chosen_sub_layers()]
        norm = self._norm_after_adapter(shape)
        norms = norm * len(sizes)
        terms = self._terms(sizes[0], shape)
        is_uniform = len(set(sizes)) == 1
        return Formula(
            adapters=sum(self._adapter_size(m, shape.d) for m in sizes),
            layer_norm=shape.norms if self.layer_norm == "all" else norms,
            adapter_count=len(sizes),
            adapter_norms=norms,
            per_adapter=self._adapter_size(sizes[0], shape.d) + norm if is_uniform else None,
            text=" + ".join(terms) + ("" if is_uniform else ", m by layer"),
            filled=" + ".join(terms.values()) if is_uniform else "",
        )

    def chosen_sub_layers(self) -> tuple[SubLayer, ...]:
        """The sub-layers that get an adapter."""
        return self.sub_layers

    def chosen_insertion(self) -> Insertion:
        """How the adapters are inserted."""
        return self.insertion

    def _check_norms(self, after_sub_layers: bool) -> None:
        if self.insertion in ("after_norm", "after_sub_layer") and not after_sub_layers:
            raise UsageError(
                f"strategy {self.name}: its adapters read the LayerNorm after a sub-layer, and this backbone has its "
                "LayerNorms before them; choose another strategy, such as feed_forward_only"
            )

    def _norm_after_adapter(self, shape: Shape) -> int:
        """Trained parameters of the LayerNorm after one adapter."""
        return shape.norm if self.layer_norm != "none" and shape.post_norm else 0

    def _adapter_size(self, m: int, d: int) -> int:
        """Parameters of one adapter without its LayerNorm."""
        size = 2 * m * d + d + m
        size += (self.depth - 1) * (m * m + m)
        if self.norm != "none":
            size += 2 * m * self.depth
        if self.scale == "learnt":
            size += 1
        return size + d * self._extra_vectors()

    def _extra_vectors(self) -> int:
        """Number of vectors of d parameters that options add to an adapter."""
        return 2 * self.input_norm + 2 * (self.output_norm != "none") + (self.scale == "channel")

    def _terms(self, m: int, shape: Shape) -> dict[str, str]:
        """The terms of the formula for one adapter: each in symbols, and in numbers."""
        d = shape.d
        times_d = 1 + self._norm_after_adapter(shape) // d + self._extra_vectors()
        terms = {"2md": f"2*{m}*{d}"}
        terms[f"{times_d}d" if times_d > 1 else "d"] = f"{times_d}*{d}"
        terms["m"] = f"{m}"
        if self.depth > 1:
            terms[f"{self.depth - 1}(m^2 + m)"] = f"{self.depth - 1}*({m}^2 + {m})"
        if self.norm != "none":
            terms[f"{2 * self.depth}m"] = f"{2 * self.depth}*{m}"
        if self.scale == "learnt":
            terms["1"] = "1"
        return terms

    def tag(self) -> str:
        """``m64``; ``mlist`` for a list of sizes."""
        return f"m{self.m}" if isinstance(self.m, int) else "mlist"
