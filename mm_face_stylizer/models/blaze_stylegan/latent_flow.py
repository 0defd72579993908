"""A small transformer that predicts the velocity of latents between noise and a face.

All maps are converted to one grid of at most 8 x 8 cells, finer ones by space-to-depth, coarser
ones by repetition; each cell is a token. Because faces are aligned, a position always shows the
same part of a face, so position embeddings are learned; attention lets one eye match the other.
Source of the blocks: Peebles and Xie, "Scalable Diffusion Models with Transformers" (2023); their
modulation is shared by all blocks, as in Chen et al., "PixArt-alpha" (2023), and a depthwise
convolution lets neighbors agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf

_GRID = 8
_HEADS = 4
_UNITS_A_HEAD = 48
_BLOCKS = 6
_EXPANSION = 3
# Shift, scale and gate, for attention and for the dense layers.
_MODULATIONS = 6
_FREQUENCIES, _HIGHEST = 32, 200.0
_EPSILON = 1e-5


class LatentFlow(keras.Model):
    """Maps latents and a time to the latents' velocity, which is zero before training.

    Attributes:
      shapes: Shape of each map by its side, [side, side, channels].
      width: Factor on the channels of every layer.
    """

    def __init__(self, shapes: Mapping[int, Sequence[int]], width: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.shapes = {int(side): tuple(shape) for side, shape in shapes.items()}
        self.width = width
        self._grid = min(_GRID, max(self.shapes))
        self._channels = {
            side: shape[-1] * max(1, side // self._grid) ** 2 for side, shape in self.shapes.items()
        }
        units = _HEADS * max(4, int(_UNITS_A_HEAD * width))
        dense = keras.layers.Dense
        self._enter = dense(units, name="enter")
        self._time = [dense(units, "silu", name=f"time{index}") for index in range(2)]
        self._modulation = dense(_MODULATIONS * units, kernel_initializer="zeros", name="modulate")
        self._blocks = [_Block(units, name=f"block{index}") for index in range(_BLOCKS)]
        self._norm = keras.layers.LayerNormalization(epsilon=_EPSILON, name="norm")
        self._leave = dense(sum(self._channels.values()), kernel_initializer="zeros", name="leave")

    def build(self, input_shape=None):
        """Creates all weights."""
        self._position = self.add_weight(
            name="position",
            shape=(1, self._grid, self._grid, self._enter.units),
            initializer=keras.initializers.RandomNormal(stddev=0.1),
        )
        self.built = True
        maps = {side: tf.zeros((1, *shape)) for side, shape in self.shapes.items()}
        self((maps, tf.zeros((1,))))

    def call(self, inputs, training: bool | None = None) -> dict[int, tf.Tensor]:
        """Predicts the velocity.

        Args:
          inputs: Maps by side, [batch, side, side, channels] each, and times in [0, 1], [batch].
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          Velocities, of the maps' shapes.
        """
        del training
        maps, time = inputs
        modulation = self._modulated(time)
        joined = tf.concat([self._to_grid(maps[side], side) for side in self.shapes], axis=-1)
        x = self._enter(joined) + self._position
        for block in self._blocks:
            x = block((x, modulation))
        parts = tf.split(self._leave(self._norm(x)), list(self._channels.values()), axis=-1)
        return {
            side: self._from_grid(part, side) for side, part in zip(self.shapes, parts, strict=True)
        }

    def _modulated(self, time):
        frequencies = np.geomspace(1.0, _HIGHEST, _FREQUENCIES).astype(np.float32)
        time = time[:, tf.newaxis]
        x = tf.concat([time, tf.sin(time * frequencies), tf.cos(time * frequencies)], axis=-1)
        for layer in self._time:
            x = layer(x)
        return tf.reshape(self._modulation(x), (-1, _MODULATIONS, self._enter.units))

    def _to_grid(self, maps, side):
        if side > self._grid:
            return tf.nn.space_to_depth(maps, side // self._grid)
        times = self._grid // side
        return tf.repeat(tf.repeat(maps, times, axis=1), times, axis=2) if times > 1 else maps

    def _from_grid(self, maps, side):
        if side > self._grid:
            return tf.nn.depth_to_space(maps, side // self._grid)
        times = self._grid // side
        return tf.nn.avg_pool2d(maps, times, times, "VALID") if times > 1 else maps

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"shapes": self.shapes, "width": self.width}


class _Block(keras.layers.Layer):
    """Attention, then dense layers with a depthwise convolution, modulated by the time."""

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self._units = units

        def norm(name):
            # Modulation shifts and scales.
            return keras.layers.LayerNormalization(
                center=False, scale=False, epsilon=_EPSILON, name=name
            )

        self._norms = [norm("norm0"), norm("norm1")]
        # Not Keras' own attention, whose weights have the same names in every block.
        self._look = keras.layers.Dense(3 * units, name=f"{self.name}_look")
        self._see = keras.layers.Dense(units, name=f"{self.name}_see")
        self._expand = keras.layers.Dense(_EXPANSION * units, name=f"{self.name}_expand")
        self._mix = keras.layers.DepthwiseConv2D(3, padding="same", name=f"{self.name}_mix")
        self._reduce = keras.layers.Dense(units, name=f"{self.name}_reduce")

    def build(self, input_shape):
        self._offset = self.add_weight(
            name="offset",
            shape=(_MODULATIONS, self._units),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )
        super().build(input_shape)

    def call(self, inputs):
        x, modulation = inputs
        modulation = (modulation + self._offset)[:, :, tf.newaxis, tf.newaxis]
        shift, scale, gate, dense_shift, dense_scale, dense_gate = tf.unstack(modulation, axis=1)
        x += gate * self._attention(self._norms[0](x) * (1.0 + scale) + shift)
        y = self._expand(self._norms[1](x) * (1.0 + dense_scale) + dense_shift)
        return x + dense_gate * self._reduce(tf.nn.silu(self._mix(y)))

    def _attention(self, x):
        tokens = int(np.prod(x.shape[1:3]))
        size = self._units // _HEADS
        heads = tf.reshape(self._look(x), (-1, tokens, 3, _HEADS, size))
        query, key, value = tf.unstack(tf.transpose(heads, (2, 0, 3, 1, 4)))
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * size**-0.5)
        seen = tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3))
        return self._see(tf.reshape(seen, (-1, *x.shape[1:])))
