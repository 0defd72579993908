"""Measures how long each operator of a model takes.

LiteRT's Python wheels give no access to its profiler (as of ai-edge-litert 2.3, where it is in the
C library without a stable interface). Therefore each operator is cut out of the model and run alone
with XNNPACK. Caches are then warmer than in the whole model, and nothing is fused across operators,
so that the sum of the times is close to the time of the whole model but not equal to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.litert import make_interpreter
from benchmarks.report import OperatorTime
from task_bundle.tflite import schema

_CALLS = 15
_WARM_UP = 3


def profile(model: bytes) -> tuple[OperatorTime, ...]:
    """Times the operators of a model's first subgraph with XNNPACK on one thread.

    Args:
      model: TFLite flatbuffer.

    Returns:
      The operators, slowest first; their times are medians. Operators that only unpack constants,
      such as DEQUANTIZE of float16 weights, are part of the operators that read them.

    Raises:
      BundleError: the content is not a TFLite model.
      RuntimeError: LiteRT cannot run an operator alone.
      ValueError: LiteRT cannot read the model of an operator.
    """
    times = []
    for kind, name, alone in _operators(model):
        interpreter = make_interpreter(alone)
        random = np.random.default_rng(0)
        for detail in interpreter.get_input_details():
            values = random.uniform(0.0, 1.0, detail["shape"])
            scale = 1.0 if np.issubdtype(detail["dtype"], np.floating) else 100.0
            interpreter.set_tensor(detail["index"], (scale * values).astype(detail["dtype"]))
        samples = []
        for _ in range(_WARM_UP + _CALLS):
            begin = time.perf_counter_ns()
            interpreter.invoke()
            samples.append(time.perf_counter_ns() - begin)
        median = float(np.median(samples[_WARM_UP:]))
        times.append(OperatorTime(operator=kind, name=name, mean_ms=round(median / 1e6, 5)))
    return tuple(sorted(times, key=lambda one: one.mean_ms, reverse=True))


def _operators(model: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Yields each operator's kind, the name of its output, and a model of this operator alone."""
    unpacked = schema.unpack_model(model)
    graph = unpacked.subgraphs[0]
    constant = {i for i, t in enumerate(graph.tensors) if _data(unpacked, t) is not None}
    # By output tensor, the operators that unpack constants: they run once, when a model is loaded.
    unpackers: dict[int, Any] = {}
    for operator in graph.operators:
        if all(int(i) in constant or int(i) in unpackers for i in operator.inputs if i >= 0):
            unpackers |= {int(i): operator for i in operator.outputs}
    names = _names(unpacked)
    for operator in graph.operators:
        if int(operator.outputs[0]) in unpackers:
            continue
        alone = _single_operator_model(unpacked, operator, constant, unpackers)
        output = graph.tensors[int(operator.outputs[0])]
        yield names[operator.opcodeIndex], schema.text(output.name), alone


def _data(unpacked: Any, tensor: Any) -> Any:
    return unpacked.buffers[tensor.buffer].data if tensor.buffer else None


def _names(unpacked: Any) -> list[str]:
    kinds = schema.model_schema().BuiltinOperator
    # Old converters only fill the deprecated field, new ones both.
    return [
        schema.enum_name(kinds, max(code.builtinCode, code.deprecatedBuiltinCode))
        for code in unpacked.operatorCodes
    ]


def _single_operator_model(
    unpacked: Any, operator: Any, constant: set[int], unpackers: dict[int, Any]
) -> bytes:
    """Makes a model of one operator and of the operators that unpack its constants."""
    tfl = schema.model_schema()
    graph = unpacked.subgraphs[0]
    made = tfl.ModelT()
    made.version = unpacked.version
    made.operatorCodes = unpacked.operatorCodes
    made.buffers = [tfl.BufferT()]
    only = tfl.SubGraphT()
    only.name = "alone"
    only.tensors, only.operators = [], []
    places: dict[int, int] = {-1: -1}
    inputs = []

    def place(index: int) -> int:
        """Copies a tensor, and the operators that unpack it, into the new graph."""
        if index in places:
            return places[index]
        if index in unpackers:
            add(unpackers[index])
            return places[index]
        copy(index)
        if index not in constant:
            inputs.append(places[index])
        return places[index]

    def copy(index: int) -> None:
        old = graph.tensors[index]
        tensor = tfl.TensorT()
        tensor.name, tensor.shape, tensor.type = old.name, old.shape, old.type
        tensor.quantization = old.quantization
        tensor.buffer = 0
        data = _data(unpacked, old)
        if data is not None:
            made.buffers.append(unpacked.buffers[old.buffer])
            tensor.buffer = len(made.buffers) - 1
        only.tensors.append(tensor)
        places[index] = len(only.tensors) - 1

    def add(old: Any) -> None:
        taken = [place(int(i)) for i in old.inputs]
        for index in old.outputs:
            copy(int(index))
        new = tfl.OperatorT()
        new.opcodeIndex = old.opcodeIndex
        new.builtinOptionsType, new.builtinOptions = old.builtinOptionsType, old.builtinOptions
        new.inputs = np.array(taken, np.int32)
        new.outputs = np.array([places[int(i)] for i in old.outputs], np.int32)
        only.operators.append(new)

    add(operator)
    only.inputs = np.array(inputs, np.int32)
    only.outputs = np.array([places[int(i)] for i in operator.outputs], np.int32)
    made.subgraphs = [only]
    return schema.pack_model(made)
