"""Converts Keras networks to a TFLite model of the stylizer.

The TFLite model has one subgraph with builtin operators only, static shapes, no variables and no
random operators. Batch normalization is folded into the convolutions. The input and output are
float32 in [0, 1].
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf, with_constants
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.export_options import check_precision
from task_bundle.silence import native_errors_afterwards


class Exportable(Protocol):
    """The methods that networks of any family need for the export."""

    def inference(self) -> keras.Model:
        """Returns the model for inference.

        Its input and output are RGB images, float32 [batch, side, side, 3] in [0, 1]. It has an
        attribute `side`, in pixels.
        """

    def calibration_pictures(self) -> np.ndarray:
        """Returns images to calibrate int8 with, float32 [count, side, side, 3] in [0, 1]."""


def convert(
    model: keras.Model,
    input_shapes: Sequence[Sequence[int]],
    precision: str = "float16",
    calibration: Callable[[], Iterable[Sequence[np.ndarray]]] | None = None,
) -> bytes:
    """Converts a Keras model to TFLite with static shapes.

    Args:
      model: A model with float32 inputs and one output.
      input_shapes: Static shape of each input, including the batch dimension.
      precision: `float32`; `float16` (weights in half precision, which halves the size); or `int8`
        (weights and activations quantized, with float32 inputs and output).
      calibration: Function that returns an iterable of lists of input arrays, as the
        `representative_dataset` of `tf.lite.TFLiteConverter`. Required for `int8`, otherwise
        ignored.

    Returns:
      The TFLite flatbuffer.

    Raises:
      ValueError: `precision` is unknown, or it is `int8` and `calibration` is None.
    """
    check_precision(precision)
    if precision == "int8" and calibration is None:
        raise InvalidArgumentError("precision is 'int8'; it needs calibration images")
    specification = [
        tf.TensorSpec(shape, tf.float32, name=f"input_{index}")
        for index, shape in enumerate(input_shapes)
    ]

    @graph_function(input_signature=specification)
    def serve(*inputs):
        return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    # The converter gets a graph of constants and an empty module. It would save and load a model
    # layer by layer, and a module with variables one variable after the other, which takes longer
    # than the rest of the conversion. Without a module it would write no signature.
    with native_errors_afterwards():
        frozen = with_constants(serve.get_concrete_function(), lower_control_flow=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module())
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = calibration
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with quiet_keras(), native_errors_afterwards():
        return converter.convert()


@contextlib.contextmanager
def quiet_keras():
    """Suppresses log messages below errors and the standard output; exceptions pass through."""
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
    """Converts the trained networks of a stylizer to TFLite.

    Args:
      networks: Trained networks of any family.
      precision: See `convert`.
      calibration_images: Images to calibrate `int8` with, float32 [count, side, side, 3] in [0, 1];
        `networks.calibration_pictures()` if None.

    Returns:
      A TFLite flatbuffer without metadata.

    Raises:
      ValueError: `precision` is unknown.
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
