"""Changes the side of the pictures that a fully convolutional model takes and makes."""

from typing import Any

import numpy as np

from task_bundle.errors import BundleError
from task_bundle.tflite import schema
from task_bundle.tflite.model import check_stylizer, describe

# Operators that take the height and the width of what they compute from a constant.
_RESIZES = ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")


def resize_model(model: bytes, side: int) -> bytes:
    """Makes a model of square pictures one of pictures of another side.

    Its weights stay as they are: in a fully convolutional model they do not depend on the size of
    the pictures.

    Args:
      model: a TFLite flatbuffer that passes `check_stylizer`, of square pictures, in which all that
        is computed has the shape [1, height, width, channels].
      side: the new side of the input in pixels.

    Returns:
      A TFLite flatbuffer; the same bytes for the same arguments.

    Raises:
      BundleError: the model fails `check_stylizer`, is not square or not fully convolutional, or a
        feature map in it would have no whole number of pixels.
    """
    check_stylizer(model)
    (taken,) = describe(model).inputs
    height, width = taken.shape[1:3]
    if height != width:
        raise BundleError(f"a model of {width} x {height} pixels is not square")
    resized = schema.unpack_model(model)
    graph = resized.subgraphs[0]
    constant = {index for index, tensor in enumerate(graph.tensors) if _data(resized, tensor)}
    for index, tensor in enumerate(graph.tensors):
        if index in constant or _dequantized(resized, graph, index, constant):
            continue
        if tensor.shape is None or len(tensor.shape) != 4:
            raise BundleError(
                f"the model is not fully convolutional: {schema.text(tensor.name)} has the shape "
                f"{list(tensor.shape if tensor.shape is not None else ())}"
            )
        tensor.shape = np.array(tensor.shape, np.int32)
        tensor.shape[1:3] = [_scaled(length, height, side) for length in tensor.shape[1:3]]
        tensor.shapeSignature = None
    for operator in graph.operators:
        if _name(resized, operator) in _RESIZES:
            buffer = resized.buffers[graph.tensors[operator.inputs[1]].buffer]
            sizes = np.frombuffer(schema.buffer_bytes(buffer), "<i4")
            scaled = np.array([_scaled(length, height, side) for length in sizes], "<i4")
            buffer.data = np.frombuffer(scaled.tobytes(), np.uint8)
    return schema.pack_model(resized)


def _scaled(length: int, old: int, new: int) -> int:
    """Returns a length that has to the new side the ratio that it had to the old one."""
    if length * new % old:
        step = old // np.gcd(length, old)
        raise BundleError(f"the picture's side is {new} px; this model needs a multiple of {step}")
    return int(length) * new // old


def _data(model: Any, tensor: Any) -> bytes:
    return schema.buffer_bytes(model.buffers[tensor.buffer])


def _name(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return schema.enum_name(schema.model_schema().BuiltinOperator, number)


def _dequantized(model: Any, graph: Any, index: int, constant: set[int]) -> bool:
    """Returns whether a tensor is a constant in a smaller data type, converted."""
    return any(
        _name(model, operator) == "DEQUANTIZE"
        and int(operator.outputs[0]) == index
        and int(operator.inputs[0]) in constant
        for operator in graph.operators
    )
