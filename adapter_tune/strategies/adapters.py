"""Strategies that put bottleneck adapters into the layers: the same options, different sub-layers and insertions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from adapter_tune.adapters.families import SubLayer
from adapter_tune.strategies.base import strategy
from adapter_tune.strategies.injection import Activation, Injection, Scale

if TYPE_CHECKING:
    from adapter_tune.adapters.adapted import Insertion


@strategy("houlsby")
class Houlsby(Injection):
    """Two adapters per layer, after attention and feed-forward network, and the LayerNorms that follow them."""

    paper: ClassVar[str] = "Houlsby et al. 2019"
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> [adapter] -> + x -> LayerNorm -> x'
        x' -> feed-forward -> dropout -> [adapter] -> + x' -> LayerNorm
        [adapter]: h -> down (d to m) -> activation -> up (m to d) -> + h"""


@strategy("attention_only")
class AttentionOnly(Injection):
    """One adapter per layer, after the attention, and the LayerNorm that follows it."""

    paper: ClassVar[str] = "Houlsby et al. 2019, section 3.6"
    sub_layers: ClassVar[tuple[SubLayer, ...]] = ("attention",)
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> [adapter] -> + x -> LayerNorm -> x'
        x' -> feed-forward -> dropout -> + x' -> LayerNorm"""


@strategy("feed_forward_only")
class FeedForwardOnly(Injection):
    """One adapter per layer, after the feed-forward network, and the LayerNorm that follows it."""

    paper: ClassVar[str] = "Pfeiffer et al. 2021"
    sub_layers: ClassVar[tuple[SubLayer, ...]] = ("feed_forward",)
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> + x -> LayerNorm -> x'
        x' -> feed-forward -> dropout -> [adapter] -> + x' -> LayerNorm"""


class AnySubLayer(Injection):
    """Base of the strategies whose sub-layers are an option."""

    sub_layer: Literal["both", "attention", "feed_forward"] = "both"
    """Sub-layers that get adapters: both, attention, feed_forward."""

    def chosen_sub_layers(self) -> tuple[SubLayer, ...]:
        """The sub-layers that get an adapter."""
        return self.sub_layers if self.sub_layer == "both" else (self.sub_layer,)


@strategy("parallel")
class Parallel(AnySubLayer):
    """Two bottlenecks per layer that read the sub-layer's input; their output is added before the LayerNorm."""

    paper: ClassVar[str] = "Houlsby et al. 2019, section 3.6; He et al. 2022"
    insertion: ClassVar[Insertion] = "parallel"
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> h
        x -> [bottleneck] -> a,  h + a -> + x -> LayerNorm -> x'
        the same around the feed-forward; [bottleneck]: down -> activation -> up, no skip"""


@strategy("multiplicative")
class Multiplicative(AnySubLayer):
    """Two bottlenecks per layer that read the sub-layer's input x and scale its output h: h * (1 + A(x))."""

    paper: ClassVar[str] = "Houlsby et al. 2019, section 3.6"
    insertion: ClassVar[Insertion] = "multiplicative"
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> h
        x -> [bottleneck] -> a,  h * (1 + a) -> + x -> LayerNorm -> x'
        the same around the feed-forward; [bottleneck]: down -> activation -> up, no skip"""


@strategy("pfeiffer")
class Pfeiffer(AnySubLayer):
    """One adapter per layer, after the feed-forward network, that reads the LayerNorm's output; the norm is frozen."""

    paper: ClassVar[str] = "Pfeiffer et al. 2021, as in AdapterHub (seq_bn)"
    insertion: ClassVar[Insertion] = "after_norm"
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> + x -> LayerNorm -> x'
        x' -> feed-forward -> dropout -> h,  h + x' -> LayerNorm -> [bottleneck] -> a,  h + a -> + x' -> LayerNorm
        [bottleneck]: down -> activation -> up, no skip; the two LayerNorms are the same one"""

    sub_layer: Literal["both", "attention", "feed_forward"] = "feed_forward"
    """Sub-layers that get adapters: both, attention, feed_forward."""
    activation: Activation = "relu"
    """Activation between the projections; AdapterHub uses ReLU."""
    layer_norm: Literal["adapter", "all", "none"] = "none"
    """Trained LayerNorms: adapter (those after an adapter), all, none (as in AdapterHub)."""
    skip: Literal["sub_layer", "norm"] = "sub_layer"
    """What the adapter's output is added to: h (sub_layer, as in AdapterHub's seq_bn), or the LayerNorm's output."""

    def chosen_insertion(self) -> Insertion:
        """How the adapters are inserted."""
        return "after_norm" if self.skip == "sub_layer" else "norm_skip"


@strategy("adapter_plus")
class AdapterPlus(AnySubLayer):
    """One adapter per layer, after the whole feed-forward sub-layer, with a factor per channel; the norm is frozen."""

    paper: ClassVar[str] = "Steitz and Roth 2024, as in AdapterHub (AdapterPlusConfig)"
    insertion: ClassVar[Insertion] = "after_sub_layer"
    drawing: ClassVar[str] = """
        x -> attention -> dropout -> + x -> LayerNorm -> x'
        x' -> feed-forward -> dropout -> + x' -> LayerNorm -> [adapter]
        [adapter]: n -> down (d to m) -> activation -> up (m to d) -> * scale -> + n"""

    sub_layer: Literal["both", "attention", "feed_forward"] = "feed_forward"
    """Sub-layers that get adapters: both, attention, feed_forward."""
    layer_norm: Literal["adapter", "all", "none"] = "none"
    """Trained LayerNorms: adapter (those before an adapter), all, none (as in AdapterHub)."""
    scale: Scale = "channel"
    """Factor on the adapter's output; channel: a trained one for each of its d values, learnt: one trained factor."""
