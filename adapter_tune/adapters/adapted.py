"""The modules that hold an adapter in a backbone: each replaces a module, and says how the adapter's output enters."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

Insertion = Literal["serial", "parallel", "multiplicative", "after_norm", "norm_skip", "after_sub_layer"]


class Adapted(nn.Module):
    """A sub-layer's dropout followed by an adapter: dense -> dropout -> adapter -> add -> LayerNorm.

    It replaces the dropout, which has no tensors, so every name in the backbone's state dict stays. With h the output
    of the dropout, x the input of the sub-layer and A the adapter (a ``Bottleneck``, or any module from d to d values),
    the result is

        serial           h + A(h)         the adapter of the paper, its skip connection included
        parallel         h + A(x)
        multiplicative   h * (1 + A(x))
        after_norm       h + A(n)         n = N(h + x); N is the LayerNorm that follows the residual addition
        norm_skip        n + A(n)
        after_sub_layer  h                and A is added to what N computes afterwards: n + A(n) (``follow_norm``)

    and h itself while ``bypassed``. If A has a ``sum_norm``, the sum is normalised by it.

    Args:
        dropout: the module that is replaced.
        adapter: A.
        insertion: one of those above.
        norm: N, for ``after_norm`` and ``norm_skip``; it stays where it is in the model.
    """

    def __init__(
        self,
        dropout: nn.Module | None,
        adapter: nn.Module,
        insertion: Insertion = "serial",
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.adapter: Any = adapter  # which module it is depends on the strategy
        self.insertion = insertion
        self._norm = (norm,)  # in a tuple: not a child, or each of its tensors would have two names
        self.bypassed = False
        self.in_backbone = False
        """Whether it is a part of the frozen backbone, beneath the adapter of a task (a language adapter's)."""
        self.input: Tensor | None = None

    def capture_input(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Store the sub-layer's input: a forward pre-hook of the module that receives it first."""
        self.input = args[0] if args else kwargs["hidden_states"]

    def forward(self, x: Tensor) -> Tensor:
        """``x``: (..., d), the output of the sub-layer's projection."""
        hidden = self.without_adapter(x)
        sub_layer_input, self.input = self.input, None
        return hidden if self.bypassed or self.follows_norm else self.adapt(hidden, sub_layer_input)

    def follow_norm(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Adapt what N computes, n: (..., d); a forward hook of N, for ``after_sub_layer``."""
        return output if self.bypassed else self.adapt(output, None)

    def adapt(self, hidden: Tensor, sub_layer_input: Tensor | None) -> Tensor:
        """What the adapter makes of h, or of n for ``after_sub_layer``.

        Args:
            hidden: (..., d)
            sub_layer_input: x, for the insertions that read it.
        """
        adapter_input = self._adapter_input(hidden, sub_layer_input)
        adapter_output: Tensor = self.adapter(adapter_input)
        if self.insertion == "multiplicative":
            out = hidden * (1 + adapter_output)
        else:
            out = (adapter_input if self.insertion == "norm_skip" else hidden) + adapter_output
        sum_norm = getattr(self.adapter, "sum_norm", None)
        return out if sum_norm is None else sum_norm(out).to(out.dtype)

    def _adapter_input(self, hidden: Tensor, sub_layer_input: Tensor | None) -> Tensor:
        if self.insertion in ("serial", "after_sub_layer"):
            return hidden
        assert sub_layer_input is not None
        if self.insertion in ("parallel", "multiplicative"):
            return sub_layer_input
        assert self.norm is not None
        normed: Tensor = self.norm.forward(hidden + sub_layer_input)  # without hooks, which are for its own output
        return normed

    @property
    def follows_norm(self) -> bool:
        """Whether the adapter changes what the LayerNorm computes, and not what it reads."""
        return self.insertion == "after_sub_layer"

    @property
    def norm(self) -> nn.Module | None:
        """The LayerNorm that the adapter computes itself; None where it reads no LayerNorm's output, or follows it."""
        return self._norm[0]

    def read_norm(self, norm: nn.Module) -> None:
        """Read another LayerNorm from now on."""
        self._norm = (norm,)

    def without_adapter(self, x: Tensor) -> Tensor:
        """The output of the replaced module."""
        assert self.dropout is not None
        out: Tensor = self.dropout(x)
        return out

    def original(self) -> nn.Module:
        """The module that this one replaced."""
        assert self.dropout is not None
        return self.dropout


class AdaptedProjection(Adapted):
    """The same where no dropout follows the projection: it replaces the projection and keeps its tensors' names.

    The projection may be one that has been replaced already, by an adapter that is in the backbone.
    """

    def __init__(
        self,
        projection: nn.Linear,
        adapter: nn.Module,
        insertion: Insertion = "serial",
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__(None, adapter, insertion, norm)
        self.weight = projection.weight
        self.bias = projection.bias
        self._projection = (projection,)  # in a tuple: not a child, or each tensor would have two names
        self.beneath = projection if isinstance(projection, AdaptedProjection) else None

    def without_adapter(self, x: Tensor) -> Tensor:
        """The output of the projection, or of the adapter beneath this one."""
        if self.beneath is not None:
            beneath: Tensor = self.beneath(x)
            return beneath
        return nn.functional.linear(x, self.weight, self.bias)

    def original(self) -> nn.Module:
        """The projection, with the current tensors."""
        projection = self._projection[0]
        projection.weight = self.weight
        projection.bias = self.bias
        return projection.train(self.training)
