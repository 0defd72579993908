"""The discriminator of the face prior: encoded portraits and drawn latents apart.

It sees the pyramid of small maps that the prior draws, the finest first, and joins the coarser ones
where its own maps have come down to their side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.equalized_layers import EqualizedConv2D, EqualizedDense

# By side; the finest map is the largest part of the work and knows least of the whole.
_CHANNELS = {4: 96, 8: 64, 16: 48}
_UNITS = 128


class LatentDiscriminator(keras.Model):
    """Maps by side to a logit, positive for encoded portraits.

    Attributes:
      shapes: Shape of each map by its side, as `FacePrior.coordinate_shapes` has them.
      width: Factor on the channels of every layer.
    """

    def __init__(self, shapes: Mapping[int, Sequence[int]], width: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.shapes = {int(side): tuple(shape) for side, shape in shapes.items()}
        self.width = width
        self._sides = sorted(self.shapes, reverse=True)
        self._join, self._mix, self._halve = {}, {}, {}
        for side in self._sides:
            channels = max(8, int(_CHANNELS[side] * width))
            # Keras tracks dictionaries whose keys are text.
            key, name = str(side), f"map{side}"
            self._join[key] = EqualizedConv2D(channels, 1, name=f"{name}_join")
            self._mix[key] = EqualizedConv2D(channels, 3, name=f"{name}_mix")
            if side > min(self._sides):
                coarser = max(8, int(_CHANNELS[side // 2] * width))
                self._halve[key] = EqualizedConv2D(
                    coarser, 3, downsample=True, name=f"{name}_halve"
                )
        self._dense = EqualizedDense(max(8, int(_UNITS * width)), name="dense")
        self._logit = EqualizedDense(1, activate=False, name="logit")

    def build(self, input_shape=None):
        """Creates all weights."""
        self.built = True
        self({side: tf.zeros((2, *shape)) for side, shape in self.shapes.items()})

    def call(self, maps: Mapping[int, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Judges.

        Args:
          maps: By side, [batch, side, side, coordinates] each.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          Logits [batch, 1].
        """
        del training
        x = None
        for side in self._sides:
            key = str(side)
            joined = self._join[key](maps[side])
            # The sum of two has twice the variance.
            x = joined if x is None else (x + joined) * np.float32(np.sqrt(0.5))
            x = self._mix[key](x)
            if key in self._halve:
                x = self._halve[key](x)
        # How unlike each other those of a batch are: a prior that draws one face is found out.
        spread = tf.sqrt(tf.math.reduce_variance(x, axis=0) + 1e-8)
        spread = tf.reduce_mean(spread, keepdims=True)
        spread = tf.tile(spread[tf.newaxis], (tf.shape(x)[0], *x.shape[1:3], 1))
        x = tf.concat([x, spread], axis=-1)
        return self._logit(self._dense(tf.reshape(x, (-1, int(np.prod(x.shape[1:]))))))

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"shapes": self.shapes, "width": self.width}
