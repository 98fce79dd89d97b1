"""An ONNX model with 8-bit weights; activations are quantised as they are computed (dynamic quantisation)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from adapter_tune.exchange.onnx_folder import onnx_package

_EXTERNAL = ".data"
"""What the name of a file with weights has after that of its model."""


def quantize(model: Path, output: Path) -> None:
    """Write a model with the weights of matrix products and embeddings in 8 bits.

    Weights are signed, with a scale for each output column (per channel). The scale of an activation is that of the
    whole batch, so a row's result depends slightly on the rows beside it. Most of the loss comes from this, and other
    schemes were no better at the same speed (docs/exchange.md).

    Args:
        model: the model in float32.
        output: the file to write.
    """
    quantization = onnx_package("onnxruntime.quantization")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # onnxruntime recommends another step of its own through the root logger
    try:
        quantization.quantize_dynamic(
            _without_shapes_of_weights(model),
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
