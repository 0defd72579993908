"""The mapping network, from noise to w+ latents, of this project's networks and of the teacher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import leaky_relu

LATENT_DIM = 512


class MappingNetwork(keras.Model):
    """Gaussian noise to w+ latents of plausible faces.

    Neighbouring rows of a block share one vector, as in the encoder.

    Attributes:
      rows: Rows of the latent.
      layers_count: Hidden layers.
      units: Width of a hidden layer.
    """

    def __init__(self, rows: int = 12, layers_count: int = 4, units: int = LATENT_DIM, **kwargs):
        super().__init__(**kwargs)
        self.rows = rows
        self.layers_count = layers_count
        self.units = units
        self._hidden = [
            keras.layers.Dense(units, kernel_initializer="he_normal", name=f"dense{index}")
            for index in range(layers_count)
        ]
        # Small: latents start at their mean, not in directions that no face lies in.
        self._out = keras.layers.Dense(
            rows // 2 * LATENT_DIM,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            name="latent",
        )

    def build(self, input_shape=None):
        """Creates all weights."""
        self.built = True
        self([tf.zeros((1, LATENT_DIM)), tf.zeros((1, 0))])

    def set_mean(self, distinct_rows: np.ndarray) -> None:
        """Starts training at a mean latent, [rows / 2 * 512], flat, one row a block."""
        self._out.bias.assign(distinct_rows)

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None):
        """Maps.

        Args:
          inputs: `[noise [batch, 512], label [batch, 0]]`; the label is there for callers of the
            published network and is ignored.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          Latents [batch, rows, 512], ready for the synthesis network (`w_avg` included).
        """
        del training
        x = inputs[0]
        x = x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=1, keepdims=True) + 1e-8)
        for layer in self._hidden:
            x = leaky_relu(layer(x))
        x = tf.reshape(self._out(x), (-1, self.rows // 2, LATENT_DIM))
        return tf.repeat(x, 2, axis=1)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"rows": self.rows, "layers_count": self.layers_count, "units": self.units}
