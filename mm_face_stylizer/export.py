"""Keras networks to a TFLite stylizer with a clean graph.

One subgraph, builtin operators, static shapes, no variables, no randomness, batch normalisation
folded, float32 input and output in [0, 1].
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import InvalidArgumentError


class Exportable(Protocol):
    """Networks of any family, as far as the export has to know them."""

    def inference(self) -> keras.Model:
        """The inference graph, photo in [0, 1] to picture in [0, 1], with `side` in pixels."""

    def calibration_pictures(self) -> np.ndarray:
        """Photos for int8, float32 [count, side, side, 3] in [0, 1]."""


PRECISIONS = ("float32", "float16", "int8")


def check_precision(precision: str, strength: float = 1.0) -> None:
    """Checks export options before the training whose result they concern.

    Args:
      precision: One of `PRECISIONS`.
      strength: Between 0 and 1.

    Raises:
      ValueError: A value is none of these.
    """
    if precision not in PRECISIONS:
        raise InvalidArgumentError(
            f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}"
        )
    if not 0.0 <= strength <= 1.0:
        raise InvalidArgumentError(f"strength is {strength!r}; it must be a number in [0, 1]")


def convert(
    model: keras.Model,
    input_shapes: Sequence[Sequence[int]],
    precision: str = "float16",
    calibration: Callable[[], Iterable[Sequence[np.ndarray]]] | None = None,
) -> bytes:
    """Converts a Keras model to TFLite with static shapes.

    Args:
      model: Any model with float32 inputs and one output.
      input_shapes: Static shape of each input, the batch included.
      precision: `float32`; `float16` (weights only, half the size); or `int8` (weights and
        activations, float32 input and output).
      calibration: Yields lists of inputs, as the converter's representative data set; needed for
        `int8` alone.

    Returns:
      The flatbuffer.

    Raises:
      ValueError: The precision is unknown, or `int8` comes without calibration pictures.
    """
    check_precision(precision)
    if precision == "int8" and calibration is None:
        raise InvalidArgumentError("precision 'int8' needs calibration pictures")
    specification = [
        tf.TensorSpec(shape, tf.float32, name=f"input_{index}")
        for index, shape in enumerate(input_shapes)
    ]

    @tf.function(input_signature=specification)
    def serve(*inputs):
        return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    # A bare module and not the model: for that, the converter would save and load every Keras layer
    # as a function of its own, which takes four times as long as all the rest.
    variables = tf.Module()
    variables.all = model.variables
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [serve.get_concrete_function()], variables
    )
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = calibration
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with quiet_keras():
        return converter.convert()


@contextlib.contextmanager
def quiet_keras():
    """Holds back the converter's notices; its errors are exceptions and come through."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def export_stylizer(
    networks: Exportable, precision: str = "float16", calibration_images: np.ndarray | None = None
) -> bytes:
    """Exports a whole stylizer of any family.

    Args:
      networks: Trained networks.
      precision: See `convert`.
      calibration_images: float32 [count, side, side, 3] in [0, 1], for `int8`; the networks' own
        `calibration_pictures` if None.

    Returns:
      A TFLite flatbuffer without metadata.
    """
    calibration = None
    if precision == "int8":
        if calibration_images is None:
            calibration_images = networks.calibration_pictures()

        def calibration():
            for image in calibration_images:
                yield [image[np.newaxis].astype(np.float32)]

    stylizer = networks.inference()
    return convert(stylizer, [(1, stylizer.side, stylizer.side, 3)], precision, calibration)
