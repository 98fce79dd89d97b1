"""An ONNX model with 8-bit weights; activations are quantised as they are computed, with a scale for each token."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from adapter_tune.exchange.onnx_folder import onnx_package

_EXTERNAL = ".data"
"""What the name of a file with weights has after that of its model."""
_LAST_AXIS = "token_scale/axis"
_SMALLEST = "token_scale/smallest"  # of a token of zeros, which is not divided by 0


def quantize(model: Path, output: Path) -> None:
    """Write a model with the weights of matrix products and embeddings in 8 bits.

    Weights are signed, with a scale for each output column (per channel). onnxruntime quantises an activation with one
    scale for the whole batch, in which single tokens with large values leave few of the 256 steps to the others. So
    each token is divided by its largest value before the product, and its result multiplied by it afterwards.

    Args:
        model: the model in float32.
        output: the file to write.
    """
    quantization = onnx_package("onnxruntime.quantization")
    contents = _without_shapes_of_weights(model)
    _scale_tokens(contents.graph)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # onnxruntime recommends another step of its own through the root logger
    try:
        quantization.quantize_dynamic(
            contents,
            str(output),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            use_external_data_format=model.with_name(model.name + _EXTERNAL).is_file(),
        )
    finally:
        root.setLevel(level)


def _without_shapes_of_weights(path: Path) -> Any:
    """Read a model without the declared shapes of its weights.

    The quantizer of onnxruntime 1.23, the newest for Python 3.10, transposes a weight but not its declared shape, and
    then fails because the two differ. Without the declared shape the tensor's own counts.
    """
    model = onnx_package("onnx").load(str(path))
    weights = {tensor.name for tensor in model.graph.initializer}
    declared = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(declared)
    return model


def _scale_tokens(graph: Any) -> None:
    """Replace every product x W with a weight W by s (x/s) W, in place; s is the largest absolute value of a token."""
    helper = onnx_package("onnx.helper")
    numpy_helper = onnx_package("onnx.numpy_helper")
    weights = {tensor.name for tensor in graph.initializer}
    nodes: list[Any] = []
    scaled: dict[str, tuple[str, str]] = {}  # by activation, which may be the input of several products
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            nodes.append(node)
            continue
        x, weight = node.input
        (y,) = node.output
        if x not in scaled:
            largest, scale, ratio = (f"{x}/{name}" for name in ("largest", "scale", "scaled"))
            nodes.append(helper.make_node("Abs", [x], [f"{x}/absolute"]))
            nodes.append(helper.make_node("ReduceMax", [f"{x}/absolute", _LAST_AXIS], [largest], keepdims=1))
            nodes.append(helper.make_node("Max", [largest, _SMALLEST], [scale]))
            nodes.append(helper.make_node("Div", [x, scale], [ratio]))
            scaled[x] = (ratio, scale)
        ratio, scale = scaled[x]
        nodes.append(helper.make_node("MatMul", [ratio, weight], [f"{y}/scaled"], name=node.name))
        nodes.append(helper.make_node("Mul", [f"{y}/scaled", scale], [y]))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), _LAST_AXIS))
    graph.initializer.append(numpy_helper.from_array(np.array(np.finfo(np.float32).tiny), _SMALLEST))
