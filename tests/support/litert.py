"""Comparing a Keras model with its LiteRT export, number by number."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from mm_face_stylizer.export import convert


def run_litert(model: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    """Runs a flatbuffer on inputs in the order of its signature."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    # The converter orders inputs as it likes; their names are numbered.
    details = sorted(interpreter.get_input_details(), key=lambda detail: detail["name"])
    for detail, value in zip(details, inputs, strict=True):
        interpreter.set_tensor(detail["index"], np.asarray(value, detail["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def assert_same_as_litert(
    model, inputs, atol: float = 1e-4, exported: bytes | None = None
) -> bytes:
    """Compares a one-output model of batch 1 with its export.

    Args:
      model: The Keras model.
      inputs: One array for each of its inputs.
      atol: Tolerance, relative to the greatest output if that is above 1.
      exported: What the model was converted to; converted here, in float32, if None.

    Returns:
      The export.
    """
    if exported is None:
        exported = convert(model, [np.shape(value) for value in inputs], "float32")
    wanted = np.asarray(model(inputs[0] if len(inputs) == 1 else list(inputs), training=False))
    (found,) = run_litert(exported, *inputs)
    assert found.shape == wanted.shape
    atol *= max(1.0, float(np.abs(wanted).max()))
    assert np.ptp(wanted) > 10 * atol, "an all but constant output would agree with anything"
    np.testing.assert_allclose(found, wanted, atol=atol, rtol=0)
    return exported
