"""The mapping network, which maps noise to w+ latents, and the size of a latent's rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import leaky_relu

LATENT_DIM = 512


class MappingNetwork(keras.Model):
    """Maps Gaussian noise to w+ latents of plausible faces.

    Both rows of a block are the same vector, as in the encoder's latents.

    Attributes:
      rows: Rows of the latent.
      layers_count: Number of hidden layers.
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
        # The kernel is small so that latents start close to their mean, and not in directions in
        # which there are no faces.
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
        """Sets the mean of the latents.

        Args:
          distinct_rows: The mean latent with one row per block, flattened, [rows / 2 * 512].
        """
        self._out.bias.assign(distinct_rows)

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None):
        """Maps.

        Args:
          inputs: `[noise [batch, 512], label [batch, 0]]`; the label is ignored, and is accepted
            for callers of the published network.
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
