"""Strategies that put bottleneck adapters into the layers: one set of options, other places and ways to join."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field

from adapter_tune.adapters.families import SubLayer
from adapter_tune.adapters.formula import Formula, Shape
from adapter_tune.adapters.layer_ranges import LayerRangeOption, layers_in
from adapter_tune.foundation.errors import UsageError
from adapter_tune.strategies.base import Strategy, strategy

if TYPE_CHECKING:
    from torch import nn

    from adapter_tune.adapters.bottleneck import Insertion

_WIDEST = 65_536

Activation = Literal[
    "gelu", "gelu_pytorch_tanh", "hardswish", "identity", "leaky_relu", "linear", "mish", "relu", "relu6", "sigmoid",
    "silu", "swish", "tanh",
]  # fmt: skip


def _size(value: object) -> object:
    if isinstance(value, tuple | list):
        if all(type(m) is int and 0 <= m <= _WIDEST for m in value) and any(value):
            return list(value)
        problem = "needs one number from 0 to 65536 a layer, and one above 0, or there is no adapter anywhere"
        raise ValueError(f"a list {problem}, got {reprlib.repr(value)}")
    if type(value) is int and 1 <= value <= _WIDEST:
        return value
    raise ValueError("should be a number from 1 to 65536, or a list with one a layer")


class Injection(Strategy):
    """Base of the strategies with adapters: their options, their surgery, their formula."""

    sub_layers: ClassVar[tuple[SubLayer, ...]] = ("attention", "feed_forward")
    join: ClassVar[Insertion] = "serial"
    learning_rate: ClassVar[float] = 3e-4  # the released code's example

    m: Annotated[int | list[int], BeforeValidator(_size)] = 64
    """Bottleneck size; a list has one number a layer, 0 for no adapter in it."""
    layers: LayerRangeOption = "all"
    """Layers that get adapters: all, a range such as 6-11, top-6, or a list."""
    activation: Activation = "gelu"
    """Between the projections; the released code has GELU."""
    depth: int = Field(default=1, ge=1, le=64)
    """Bottleneck layers in one adapter; each beyond the first adds m^2 + m."""
    norm: Literal["none", "layer", "batch"] = "none"
    """Normalisation in the bottleneck, before the activation; batch counts real tokens only. Adds 2m a layer of it."""
    init_std: float = Field(default=1e-2, gt=0, le=100)
    """Standard deviation of the initial weights, cut at two deviations: 1e-2 in the paper, 1e-3 in its code."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout in the bottleneck, before the projection up."""
    layer_norm: Literal["adapter", "all", "none"] = "adapter"
    """LayerNorms trained: those behind an adapter (the formula's 2d), all with the embeddings' (the code), none."""
    scale: Annotated[float, Field(gt=0, le=1000)] | Literal["learnt"] = 1.0
    """What the adapter's output is multiplied with; learnt begins at 1 and adds a parameter."""

    def sizes(self, layers: int) -> list[int]:
        """Bottleneck size by layer of a backbone with so many, 0 where there is no adapter.

        Raises:
            UsageError: ``m`` or ``layers`` does not fit the backbone.
        """
        chosen = layers_in(self.layers, layers)
        if isinstance(self.m, list) and len(self.m) != layers:
            raise UsageError(f"strategy.m: the list has {len(self.m)} numbers, but the backbone has {layers} layers")
        by_layer = self.m if isinstance(self.m, list) else [self.m] * layers
        sizes = [m if layer in chosen else 0 for layer, m in enumerate(by_layer)]
        if not any(sizes):
            raise UsageError("strategy.m: it is 0 in every layer of strategy.layers, so there is no adapter anywhere")
        return sizes

    def apply(self, model: nn.Module) -> None:
        """Attach an adapter at every chosen site and unfreeze the LayerNorms that ``layer_norm`` names."""
        from adapter_tune.adapters.bottleneck import Bottleneck, BottleneckConfig
        from adapter_tune.adapters.surgery import (
            attach,
            base_of,
            layer_norms,
            layers_of,
            sites,
            track_attention_mask,
            unfreeze,
        )

        sizes = self.sizes(len(layers_of(model)))
        d = cast("Any", model.config).hidden_size
        recipe = BottleneckConfig(self.activation, self.depth, self.norm, self.init_std, self.dropout, self.scale)
        tokens = track_attention_mask(model) if self.norm == "batch" else None
        for site in sites(model):
            m = sizes[site.layer]
            if m and site.sub_layer in self.sub_layers:
                device = cast("Any", site.projection).weight.device
                adapted = attach(model, site, Bottleneck(d, m, recipe, device, tokens), self.join)
                unfreeze(adapted.adapter)
                if self.layer_norm == "adapter" and site.norm is not None:
                    unfreeze(site.norm)
        if self.layer_norm == "all":
            unfreeze(*layer_norms(base_of(model)))

    def formula(self, shape: Shape) -> Formula:
        """2md + d + m an adapter, 2d its LayerNorm (Houlsby et al. 2019, section 2.1), and what the options add."""
        sizes = [m for m in self.sizes(shape.layers) if m for _ in self.sub_layers]
        has_norm = self.layer_norm != "none" and shape.post_norm
        behind = shape.norm * len(sizes) if has_norm else 0
        norms = {"adapter": behind, "all": shape.norms, "none": 0}[self.layer_norm]
        uniform = len(set(sizes)) == 1
        one = self._parts(sizes[0], shape) if uniform else {}
        return Formula(
            adapters=sum(self._alone(m, shape.d) for m in sizes),
            layer_norm=norms,
            adapter_count=len(sizes),
            adapter_norms=behind,
            per_adapter=self._alone(sizes[0], shape.d) + (shape.norm if has_norm else 0) if uniform else None,
            text=" + ".join(one) if uniform else self._text(shape, has_norm),
            filled=" + ".join(one.values()),
        )

    def _alone(self, m: int, d: int) -> int:
        """Parameters of one adapter, its LayerNorm aside."""
        deeper = (self.depth - 1) * (m * m + m)
        norms = 2 * m * self.depth if self.norm != "none" else 0
        return 2 * m * d + d + m + deeper + norms + (self.scale == "learnt")

    def _parts(self, m: int, shape: Shape) -> dict[str, str]:
        """The terms of the formula, as one reads them, each with the same with numbers in."""
        has_norm = self.layer_norm != "none" and shape.post_norm
        d, ds = shape.d, 1 + (shape.norm // shape.d if has_norm else 0)
        parts = {"2md": f"2*{m}*{d}", f"{ds}d" if ds > 1 else "d": f"{ds}*{d}", "m": f"{m}"}
        if self.depth > 1:
            parts[f"{self.depth - 1}(m^2 + m)"] = f"{self.depth - 1}*({m}^2 + {m})"
        if self.norm != "none":
            parts[f"{2 * self.depth}m"] = f"{2 * self.depth}*{m}"
        if self.scale == "learnt":
            parts["1"] = "1"
        return parts

    def _text(self, shape: Shape, has_norm: bool) -> str:
        return " + ".join(self._parts(1, shape)) + ", m by layer"

    def tag(self) -> str:
        """``m64``; ``mlist`` where layers differ."""
        return f"m{self.m}" if isinstance(self.m, int) else "mlist"


@strategy("houlsby")
class Houlsby(Injection):
    """Two adapters in every layer, after the attention's and the feed-forward's dropout, and their LayerNorms."""

    paper: ClassVar[str] = "Houlsby et al. 2019"
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> [adapter] -> + x -> LayerNorm -> x'
        x' -> feed-forward -> dropout -> [adapter] -> + x' -> LayerNorm
        [adapter]: h -> down (d to m) -> activation -> up (m to d) -> + h"""


@strategy("attention_only")
class AttentionOnly(Injection):
    """One adapter a layer, after the attention's dropout, and its LayerNorm."""

    paper: ClassVar[str] = "Houlsby et al. 2019, section 3.6"
    sub_layers: ClassVar[tuple[SubLayer, ...]] = ("attention",)
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> [adapter] -> + x -> LayerNorm -> x'
        x' -> feed-forward -> dropout -> + x' -> LayerNorm"""


@strategy("feed_forward_only")
class FeedForwardOnly(Injection):
    """One adapter a layer, after the feed-forward's dropout, and its LayerNorm."""

    paper: ClassVar[str] = "Pfeiffer et al. 2021"
    sub_layers: ClassVar[tuple[SubLayer, ...]] = ("feed_forward",)
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> + x -> LayerNorm -> x'
        x' -> feed-forward -> dropout -> [adapter] -> + x' -> LayerNorm"""


@strategy("parallel")
class Parallel(Injection):
    """Two bottlenecks a layer that read the sub-layer's input; what they give is added before the LayerNorm."""

    paper: ClassVar[str] = "Houlsby et al. 2019, section 3.6; He et al. 2022"
    join: ClassVar[Insertion] = "parallel"
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> h
        x -> [bottleneck] -> a,  h + a -> + x -> LayerNorm -> x'
        the same around the feed-forward; [bottleneck]: down -> activation -> up, no skip"""


@strategy("multiplicative")
class Multiplicative(Injection):
    """Two bottlenecks a layer that read the sub-layer's input x and scale what the sub-layer gives: h * (1 + A(x))."""

    paper: ClassVar[str] = "Houlsby et al. 2019, section 3.6"
    join: ClassVar[Insertion] = "multiplicative"
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> h
        x -> [bottleneck] -> a,  h * (1 + a) -> + x -> LayerNorm -> x'
        the same around the feed-forward; [bottleneck]: down -> activation -> up, no skip"""
