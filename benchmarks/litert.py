"""LiteRT interpreters, the share of a model that XNNPACK runs, and the drift control."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks.report import Coverage
from task_bundle.tflite import schema


def make_interpreter(model: bytes, threads: int = 1, xnnpack: bool = True) -> Any:
    """Loads a model.

    Args:
      model: TFLite flatbuffer.
      threads: Number of threads to use.
      xnnpack: Whether the XNNPACK delegate runs the operators that it supports. TFLite's own
        kernels run the others.

    Returns:
      An `ai_edge_litert.interpreter.Interpreter` with its tensors allocated.

    Raises:
      ValueError: LiteRT cannot read the model.
      RuntimeError: LiteRT cannot run it.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=model, num_threads=threads, experimental_op_resolver_type=resolver
    )
    interpreter.allocate_tensors()
    return interpreter


def coverage(model: bytes) -> Coverage:
    """Counts the operators that the XNNPACK delegate runs.

    LiteRT keeps the replaced operators in its list and appends a DELEGATE operator for each
    partition. The operators of a partition are found by walking back from its outputs.

    Args:
      model: TFLite flatbuffer.

    Returns:
      The counts of operators and partitions.

    Raises:
      ValueError: LiteRT cannot read the model.
      RuntimeError: LiteRT cannot run it.
    """
    operators = make_interpreter(model)._get_ops_details()
    parts = [o for o in operators if o["op_name"] == "DELEGATE"]
    originals = [o for o in operators if o["op_name"] != "DELEGATE"]
    maker = {int(t): i for i, o in enumerate(originals) for t in o["outputs"]}
    taken: set[int] = set()
    for part in parts:
        outside = {int(t) for t in part["inputs"]}
        waiting = [int(t) for t in part["outputs"]]
        while waiting:
            tensor = waiting.pop()
            index = maker.get(tensor)
            if tensor in outside or index is None or index in taken:
                continue
            taken.add(index)
            waiting += [int(t) for t in originals[index]["inputs"]]
    return Coverage(delegated=len(taken), operators=len(originals), partitions=len(parts))


@functools.cache
def control_model() -> bytes:
    """Returns the drift control, a small convolutional network with the same bytes everywhere.

    Its time shows how fast the machine is at the moment, whatever bundle is measured. It has a
    quarter of a billion multiply-accumulates in convolutions like the stylizer's, which take a few
    milliseconds.
    """
    return convolutions(side=48, channels=64, layers=3)


def convolutions(side: int, channels: int, layers: int) -> bytes:
    """Makes a model of 3x3 convolutions, with weights that are the same on every machine.

    Args:
      side: Side of all feature maps in pixels.
      channels: Channels of all feature maps.
      layers: Number of convolutions, one after the other.

    Returns:
      TFLite flatbuffer with float32 input and output of the shape [1, side, side, channels].
    """
    tfl = schema.model_schema()
    model = tfl.ModelT()
    model.version = 3
    code = tfl.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = tfl.BuiltinOperator.CONV_2D
    code.version = 1
    model.operatorCodes = [code]
    model.buffers = [tfl.BufferT()]
    graph = tfl.SubGraphT()
    graph.name = "main"
    graph.tensors, graph.operators = [], []

    def tensor(name: str, shape: list[int], data: Any = None) -> int:
        made = tfl.TensorT()
        made.name, made.shape, made.type = name, np.array(shape, np.int32), tfl.TensorType.FLOAT32
        made.buffer = 0
        if data is not None:
            buffer = tfl.BufferT()
            buffer.data = np.frombuffer(np.asarray(data, "<f4").tobytes(), np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    count = 9 * channels * channels
    # Multiples of the golden ratio modulo 1 spread evenly over [-1, 1). A random generator could
    # return other numbers in another version of NumPy.
    noise = 2.0 * np.modf(np.arange(count) * 0.6180339887498949)[0] - 1.0
    kernel = (noise / np.sqrt(9 * channels)).reshape(channels, 3, 3, channels)
    image = tensor("image", [1, side, side, channels])
    graph.inputs = np.array([image], np.int32)
    for layer in range(layers):
        options = tfl.Conv2DOptionsT()
        options.strideW = options.strideH = 1
        options.dilationWFactor = options.dilationHFactor = 1
        options.padding = tfl.Padding.SAME
        operator = tfl.OperatorT()
        operator.opcodeIndex = 0
        operator.builtinOptionsType = tfl.BuiltinOptions.Conv2DOptions
        operator.builtinOptions = options
        weights = tensor(f"weights_{layer}", [channels, 3, 3, channels], kernel)
        bias = tensor(f"bias_{layer}", [channels], np.zeros(channels))
        output = tensor(f"layer_{layer}", [1, side, side, channels])
        operator.inputs = np.array([image, weights, bias], np.int32)
        operator.outputs = np.array([output], np.int32)
        graph.operators.append(operator)
        image = output
    graph.outputs = np.array([image], np.int32)
    model.subgraphs = [graph]
    return schema.pack_model(model)


def make_control() -> Any:
    """Returns an interpreter of the drift control with its input set: XNNPACK, one thread."""
    interpreter = make_interpreter(control_model())
    detail = interpreter.get_input_details()[0]
    count = int(np.prod(detail["shape"]))
    values = np.modf(np.arange(count) * 0.6180339887498949)[0].reshape(detail["shape"])
    interpreter.set_tensor(detail["index"], values.astype(np.float32))
    return interpreter
