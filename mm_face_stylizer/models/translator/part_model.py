"""Single parts of a translator as models, to measure how long each takes."""

from __future__ import annotations

import math

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.translator.blocks import Convolution, ResidualBlock, Unit
from mm_face_stylizer.models.translator.parts import Part


class PartModel(keras.Model):
    """A part of a translator, untrained: the operators of an export do not depend on weights."""

    def __init__(self, part: Part):
        """Creates the weights.

        Args:
          part: The part; its channels are numbers.
        """
        super().__init__(name=f"part_{part.kind}")
        kind, filters = part.kind, part.outputs
        self._activation = None
        # Of the last convolution; more than the three colors are those of several pixels.
        self._enlarged = math.isqrt(filters // 3) if kind == "last" else 1
        if kind == "block":
            self._layer = ResidualBlock(part.inputs, filters, "float32", "part")
        elif kind == "attention":
            # What class-activation attention is once it is folded.
            self._layer = Convolution(filters, part.kernel, "float32", "part")
            self._activation = tf.nn.relu
        elif kind == "last":
            self._layer = Convolution(filters, part.kernel, "float32", "part")
            self._activation = tf.tanh
        else:
            self._layer = Unit(
                filters,
                part.kernel,
                "float32",
                "part",
                strides=2 if kind == "down" else part.stride,
                upsample=kind == "up",
            )
        self(np.zeros((1, 16, 16, part.inputs), np.float32))

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the part to features [batch, side, side, inputs]."""
        del training
        x = self._layer(x)
        x = x if self._activation is None else self._activation(x)
        return x if self._enlarged == 1 else tf.nn.depth_to_space(x, self._enlarged)
