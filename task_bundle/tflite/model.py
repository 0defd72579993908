"""Describes TFLite models, and checks the inputs and outputs of a bundle's models."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from task_bundle.errors import BundleError
from task_bundle.tflite import schema

_CUSTOM = "CUSTOM:"


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model.

    Attributes:
      name: the name of the tensor in the graph.
      shape: the sizes; -1 for a dynamic size.
      dtype: the name of the TFLite type in lower case, such as 'float32'.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ModelInfo:
    """A summary of a model.

    Attributes:
      inputs: the inputs of the first subgraph.
      outputs: the outputs of the first subgraph.
      ops: the number of operators by name, in all subgraphs; custom operators are 'CUSTOM:name'.
      parameters: the number of weights: elements of constant tensors that operators read, each
        buffer once, without shapes, axes, indices and other plain integers.
      macs: the multiply-accumulates of one run, in the convolutions and matrix products of the
        first subgraph.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ops: dict[str, int]
    parameters: int
    macs: int


def check_stylizer(model: bytes) -> None:
    """Checks that every runtime can use a model as a bundle's stylizer.

    Args:
      model: a TFLite flatbuffer.

    Raises:
      BundleError: the model fails `check_stylizer_images`, has a dynamic batch size, several
        subgraphs, or custom operators. The message says which.
    """
    check_stylizer_images(model)
    for kind, tensors in zip(
        ("input", "output"), _inputs_and_outputs(model, "the stylizer"), strict=True
    ):
        _check_fixed(f"the stylizer's {kind}", _tensor_info(tensors[0]).shape)
    unpacked = schema.unpack_model(model, "the stylizer")
    if len(unpacked.subgraphs) != 1:
        raise BundleError(
            f"the stylizer has {len(unpacked.subgraphs)} subgraphs; it must have one, without"
            " variables or control flow"
        )
    custom = sorted({n.removeprefix(_CUSTOM) for n in _op_names(unpacked) if _CUSTOM in n})
    if custom:
        raise BundleError(
            f"the stylizer has custom operators ({', '.join(custom)}), which other runtimes and"
            " the GPU do not know; convert with TFLite's builtin operators only"
        )


def check_stylizer_images(model: bytes, name: str = "the stylizer") -> None:
    """Checks that a model has the input and the output that MediaPipe's own FaceStylizer needs.

    The batch size may be dynamic, as in models of Model Maker, if the default is 1.

    Args:
      model: a TFLite flatbuffer.
      name: how error messages call the model.

    Raises:
      BundleError: the model is damaged; has not exactly one input and one output; one of them is
        not float32 of the fixed shape [1, height, width, 3]; or their aspect ratios differ, so that
        the output does not fit the place of the input in the photo. The message says which.
    """
    sizes = []
    for kind, tensors in zip(("input", "output"), _inputs_and_outputs(model, name), strict=True):
        if len(tensors) != 1:
            raise BundleError(f"{name} has {len(tensors)} {kind}s; it must have one")
        info = _tensor_info(tensors[0])
        if info.shape[:1] == (-1,):
            # Runtimes do not resize the input, so the batch size is the default in `shape`.
            info = replace(info, shape=(*_shape(tensors[0])[:1], *info.shape[1:]))
        _check_image(f"{name}'s {kind}", info)
        sizes.append(picture_size(info))
    (width, height), (new_width, new_height) = sizes
    if width * new_height != height * new_width:
        raise BundleError(
            f"{name} makes pictures of {new_width} x {new_height} pixels out of {width} x {height};"
            " their proportions must be the same"
        )


def picture_size(tensor: TensorInfo) -> tuple[int, int]:
    """Returns width and height of the image in a tensor of shape [1, height, width, 3]."""
    _, height, width, _ = tensor.shape
    return width, height


def check_face_detector(model: bytes, name: str = "the face detector") -> None:
    """Checks that a model has the input and outputs of BlazeFace short range.

    MediaPipe accepts no other detector, but does not check: its calculators abort the process if
    the shapes differ.

    Args:
      model: a TFLite flatbuffer.
      name: how error messages call the model.

    Raises:
      BundleError: the model is not a TFLite model, or has other inputs or outputs.
    """
    _, outputs = _check_photo_model(model, name)
    if [_shape(tensor) for tensor in outputs] != [[1, 896, 16], [1, 896, 1]]:
        raise BundleError(
            f"{name} is not MediaPipe's short range face detector: its outputs have the shapes"
            f" {[_shape(tensor) for tensor in outputs]}"
        )


def check_face_landmarks(model: bytes, name: str = "the landmark model") -> None:
    """Checks that a model has the input and outputs of a face mesh of 468 or 478 points.

    Args:
      model: a TFLite flatbuffer.
      name: how error messages call the model.

    Raises:
      BundleError: the model is not a TFLite model, or has other inputs or outputs.
    """
    _, outputs = _check_photo_model(model, name)
    sizes = [math.prod(_shape(tensor)) for tensor in outputs]
    # Google's current model has a third output, the score of a visible tongue. A model with more
    # than three is the attention mesh, whose points are distributed over several outputs.
    if sizes[:2] not in ([3 * 468, 1], [3 * 478, 1]) or len(sizes) > 3:
        raise BundleError(
            f"{name} is not a face landmark model with 468 or 478 points and a presence score:"
            f" its outputs have {sizes} values"
        )


def _check_photo_model(model: bytes, name: str) -> tuple[list[Any], list[Any]]:
    """Checks that the input is one square image; returns the input and output tensors."""
    inputs, outputs = _inputs_and_outputs(model, name)
    shape = _shape(inputs[0]) if len(inputs) == 1 else []
    if len(shape) != 4 or shape[0] != 1 or shape[1] != shape[2] or shape[3] != 3:
        raise BundleError(
            f"{name} takes {[_shape(tensor) for tensor in inputs]}; it must be one picture of the"
            " shape [1, side, side, 3]"
        )
    for tensor in (*inputs, *outputs):
        info = _tensor_info(tensor)
        if info.dtype != "float32":
            raise BundleError(f"{name}: {info.name} is {info.dtype}; it must be float32")
    return inputs, outputs


def _inputs_and_outputs(model: bytes, name: str) -> tuple[list[Any], list[Any]]:
    """Returns the input and the output `Tensor`s of the first subgraph."""
    root = schema.read_model(model, name)
    if root.SubgraphsLength() == 0:
        raise BundleError(f"{name} is a TFLite model without a graph")
    graph = root.Subgraphs(0)
    inputs = [graph.Inputs(i) for i in range(graph.InputsLength())]
    outputs = [graph.Outputs(i) for i in range(graph.OutputsLength())]
    for index in (*inputs, *outputs):
        if not 0 <= index < graph.TensorsLength():
            raise BundleError(f"{name} is damaged: it has no tensor {index}")
    return [graph.Tensors(i) for i in inputs], [graph.Tensors(i) for i in outputs]


def describe(model: bytes) -> ModelInfo:
    """Describes a TFLite model.

    Args:
      model: a TFLite flatbuffer, not necessarily a stylizer.

    Returns:
      The inputs, outputs, operators, number of parameters and multiply-accumulates.

    Raises:
      BundleError: the model is damaged or not a TFLite model.
    """
    inputs, outputs = _inputs_and_outputs(model, "the model")
    unpacked = schema.unpack_model(model)
    return ModelInfo(
        inputs=tuple(_tensor_info(tensor) for tensor in inputs),
        outputs=tuple(_tensor_info(tensor) for tensor in outputs),
        ops=dict(Counter(_op_names(unpacked)).most_common()),
        parameters=_parameters(unpacked),
        macs=_macs(unpacked),
    )


def _check_image(what: str, tensor: TensorInfo) -> None:
    shape = list(tensor.shape)
    if tensor.dtype != "float32":
        raise BundleError(
            f"{what} is {tensor.dtype}; it must be float32 (quantize with float input and output)"
        )
    if len(shape) != 4:
        raise BundleError(f"{what} has shape {shape}; it must be [1, height, width, 3]")
    _check_fixed(what, tensor.shape)
    if shape[0] != 1:
        raise BundleError(f"{what} has batch size {shape[0]}; it must be 1")
    if shape[3] != 3:
        raise BundleError(f"{what} has {shape[3]} channels; it must have 3 (RGB)")


def _check_fixed(what: str, shape: tuple[int, ...]) -> None:
    if any(size < 1 for size in shape):
        raise BundleError(f"{what} has the dynamic shape {list(shape)}; fix every size")


def _indices(values: Any) -> list[int]:
    return [] if values is None else [int(v) for v in values]


def _tensor(graph: Any, index: int) -> Any:
    if not 0 <= index < len(graph.tensors or []):
        raise BundleError(f"the model is damaged: it has no tensor {index}")
    return graph.tensors[index]


def _shape(tensor: Any) -> list[int]:
    return [tensor.Shape(i) for i in range(tensor.ShapeLength())]


def _tensor_info(tensor: Any) -> TensorInfo:
    types = schema.model_schema().TensorType
    # The shape signature, if there is one, has -1 for dynamic sizes; `shape` has their defaults.
    signature = [tensor.ShapeSignature(i) for i in range(tensor.ShapeSignatureLength())]
    return TensorInfo(
        name=schema.text(tensor.Name()),
        shape=tuple(signature or _shape(tensor)),
        dtype=schema.enum_name(types, tensor.Type()).lower(),
    )


def _size(values: Any) -> int:
    return 0 if values is None else len(values)


def _op_name(model: Any, operator: Any) -> str:
    ops = schema.model_schema().BuiltinOperator
    if not 0 <= operator.opcodeIndex < _size(model.operatorCodes):
        raise BundleError("the model is damaged: an operator has no code")
    code = model.operatorCodes[operator.opcodeIndex]
    # Old converters only write the deprecated field, which has one byte. New ones write both, as
    # far as the code fits.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == ops.CUSTOM:
        return f"{_CUSTOM}{schema.text(code.customCode)}"
    return schema.enum_name(ops, number)


def _op_names(model: Any) -> list[str]:
    return [_op_name(model, o) for graph in model.subgraphs for o in graph.operators or []]


def _parameters(model: Any) -> int:
    types = schema.model_schema().TensorType
    weights = {types.FLOAT32, types.FLOAT16, types.FLOAT64, types.INT8, types.UINT8, types.INT16}
    weights |= {getattr(types, t) for t in ("BFLOAT16", "INT4", "INT2") if hasattr(types, t)}
    sizes: dict[int, int] = {}
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            for index in _indices(operator.inputs):
                if index < 0:  # An optional input that is missing.
                    continue
                tensor = _tensor(graph, index)
                if not _is_constant(model, tensor):
                    continue
                # Biases of int8 layers are int32. Unlike shapes and axes they have scales.
                scales = tensor.quantization and _size(tensor.quantization.scale)
                if tensor.type in weights or (tensor.type == types.INT32 and scales):
                    sizes[tensor.buffer] = _elements(tensor)
    return sum(sizes.values())


def _is_constant(model: Any, tensor: Any) -> bool:
    if not 0 <= tensor.buffer < len(model.buffers):
        raise BundleError("the model is damaged: a tensor has no buffer")
    # For TFLite buffer 0 means "no buffer", whatever its content.
    return tensor.buffer > 0 and _size(model.buffers[tensor.buffer].data) > 0


def _elements(tensor: Any) -> int:
    return math.prod(_indices(tensor.shape))


def _macs(model: Any) -> int:
    graph = model.subgraphs[0]
    total = 0
    for operator in graph.operators or []:
        name = _op_name(model, operator)
        count = _MACS.get(name)
        if count is not None:
            inputs = [_tensor(graph, i) if i >= 0 else None for i in _indices(operator.inputs)]
            outputs = [_tensor(graph, i) for i in _indices(operator.outputs)]
            try:
                total += count(operator, inputs, outputs)
            except (IndexError, AttributeError, TypeError) as error:
                raise BundleError(f"the model is damaged: a {name} lacks tensors") from error
    return total


def _conv_macs(_: Any, inputs: list[Any], outputs: list[Any]) -> int:
    # Weights are [out, height, width, in]; with groups, `in` is the number of channels of a group.
    return _elements(outputs[0]) * math.prod(_indices(inputs[1].shape[1:]))


def _depthwise_macs(_: Any, inputs: list[Any], outputs: list[Any]) -> int:
    return _elements(outputs[0]) * math.prod(_indices(inputs[1].shape[1:3]))


def _transpose_conv_macs(_: Any, inputs: list[Any], outputs: list[Any]) -> int:
    # The inputs are output shape, weights and image; each value of the image is multiplied with
    # every weight of its channel.
    return _elements(inputs[2]) * math.prod(_indices(inputs[1].shape[:3]))


def _dense_macs(_: Any, inputs: list[Any], outputs: list[Any]) -> int:
    return _elements(outputs[0]) * int(inputs[1].shape[-1])


def _matmul_macs(operator: Any, inputs: list[Any], outputs: list[Any]) -> int:
    transposed = operator.builtinOptions is not None and operator.builtinOptions.adjX
    return _elements(outputs[0]) * int(inputs[0].shape[-2 if transposed else -1])


_MACS = {
    "CONV_2D": _conv_macs,
    "DEPTHWISE_CONV_2D": _depthwise_macs,
    "TRANSPOSE_CONV": _transpose_conv_macs,
    "FULLY_CONNECTED": _dense_macs,
    "BATCH_MATMUL": _matmul_macs,
}
