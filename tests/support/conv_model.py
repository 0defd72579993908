"""Stylizers small enough to be made on the spot without TensorFlow."""

from collections.abc import Sequence

import numpy as np

from task_bundle.tflite import schema


def make_stylizer(
    size: int = 64,
    shape: Sequence[int] | None = None,
    shape_signature: Sequence[int] | None = None,
    gain: float = 1.0,
    dtype: str = "FLOAT32",
    custom_op: str | None = None,
    subgraphs: int = 1,
    inputs: int = 1,
) -> bytes:
    """Makes a 1x1 convolution, by default the identity, as a TFLite model.

    Its defects are what `check_stylizer` must find.
    """
    tfl = schema.model_schema()
    shape = [1, size, size, 3] if shape is None else list(shape)
    channels = shape[-1]

    model = tfl.ModelT()
    model.version = 3
    model.buffers = [tfl.BufferT() for _ in range(3)]
    weights = (gain * np.eye(channels, dtype="<f4")).reshape(channels, 1, 1, channels)
    model.buffers[1].data = np.frombuffer(weights.tobytes(), np.uint8)
    model.buffers[2].data = np.zeros(4 * channels, np.uint8)

    def tensor(name: str, sizes: Sequence[int], kind: str, buffer: int = 0):
        made = tfl.TensorT()
        made.name, made.buffer = name, buffer
        made.shape = np.array(sizes, np.int32)
        made.type = getattr(tfl.TensorType, kind)
        return made

    image = tensor("photo", shape, dtype)
    if shape_signature is not None:
        image.shapeSignature = np.array(shape_signature, np.int32)
    code = tfl.OperatorCodeT()
    code.version = 1
    operator = tfl.OperatorT()
    if custom_op is None:
        code.builtinCode = code.deprecatedBuiltinCode = tfl.BuiltinOperator.CONV_2D
        options = tfl.Conv2DOptionsT()
        options.strideW = options.strideH = 1
        options.dilationWFactor = options.dilationHFactor = 1
        operator.builtinOptionsType = tfl.BuiltinOptions.Conv2DOptions
        operator.builtinOptions = options
    else:
        code.builtinCode = code.deprecatedBuiltinCode = tfl.BuiltinOperator.CUSTOM
        code.customCode = custom_op
    model.operatorCodes = [code]
    operator.opcodeIndex = 0
    operator.inputs = np.array([0, 1, 2], np.int32)
    operator.outputs = np.array([3], np.int32)
    graph = tfl.SubGraphT()
    graph.name = "main"
    graph.tensors = [
        image,
        tensor("weights", weights.shape, "FLOAT32", 1),
        tensor("bias", [channels], "FLOAT32", 2),
        tensor("stylized", shape, dtype),
    ]
    graph.operators = [operator]
    graph.inputs = np.array([0] * inputs, np.int32)
    graph.outputs = np.array([3], np.int32)
    model.subgraphs = [graph] * subgraphs
    return schema.pack_model(model)
