"""Joins two models into one graph, in which the second runs on the output of the first."""

from typing import Any

import numpy as np

from task_bundle.errors import BundleError
from task_bundle.tflite import schema
from task_bundle.tflite.model import check_stylizer, describe


def join_models(first: bytes, second: bytes, prefix: str = "second/") -> bytes:
    """Joins two image-to-image models.

    Each model keeps its own operators, weights and quantization, because the images between them
    are float32.

    Args:
      first: a TFLite flatbuffer that passes `check_stylizer`.
      second: another one, whose input has the shape of the first one's output.
      prefix: prefix that the names of the second model's tensors get.

    Returns:
      A TFLite flatbuffer with one graph, from the first model's input to the second one's output.
      It has no metadata. The same models always give the same bytes.

    Raises:
      BundleError: a model fails `check_stylizer`, or the shapes do not fit.
    """
    for model in (first, second):
        check_stylizer(model)
    (between,), (taken,) = describe(first).outputs, describe(second).inputs
    if between.shape != taken.shape:
        raise BundleError(
            f"the models cannot be joined: one makes pictures of the shape {list(between.shape)},"
            f" the other takes {list(taken.shape)}"
        )
    joined, added = (schema.unpack_model(model) for model in (first, second))
    for model in (joined, added):
        _drop_metadata(model)
    graph, tail = joined.subgraphs[0], added.subgraphs[0]

    # Buffer 0 is the empty one of all tensors that are computed.
    first_buffer = len(joined.buffers) - 1
    joined.buffers += added.buffers[1:]
    codes = _merge_codes(joined, added)

    # The second model's input is the first one's output; its other tensors follow the first one's.
    places: dict[int, int] = {int(tail.inputs[0]): int(graph.outputs[0])}
    for index, tensor in enumerate(tail.tensors):
        if index in places:
            continue
        places[index] = len(graph.tensors)
        if tensor.buffer > 0:
            tensor.buffer += first_buffer
        tensor.name = prefix + schema.text(tensor.name)
        graph.tensors.append(tensor)
    for operator in tail.operators or []:
        operator.opcodeIndex = codes[operator.opcodeIndex]
        for field in ("inputs", "outputs", "intermediates"):
            indices = getattr(operator, field)
            if indices is not None:
                # -1 stands for an optional input that is missing.
                moved = [places.get(int(index), -1) for index in indices]
                setattr(operator, field, np.array(moved, np.int32))
        graph.operators.append(operator)
    output = places[int(tail.outputs[0])]
    graph.outputs = np.array([output], np.int32)
    for signature in joined.signatureDefs or []:
        for item in signature.outputs or []:
            item.tensorIndex = output
    return schema.pack_model(joined)


def _drop_metadata(model: Any) -> None:
    """Removes all metadata, which describe the model as it was."""
    for entry in model.metadata or []:
        if 0 < entry.buffer < len(model.buffers):
            model.buffers[entry.buffer].data = None
    model.metadata = None


def _merge_codes(joined: Any, added: Any) -> list[int]:
    """Adds the missing operator codes; returns the new index of each code of the added model."""

    def key(code: Any) -> tuple[int, int, str]:
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return number, code.version, schema.text(code.customCode)

    known = {key(code): index for index, code in enumerate(joined.operatorCodes)}
    places = []
    for code in added.operatorCodes:
        if key(code) not in known:
            known[key(code)] = len(joined.operatorCodes)
            joined.operatorCodes.append(code)
        places.append(known[key(code)])
    return places
