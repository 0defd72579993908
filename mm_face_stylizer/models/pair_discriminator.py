"""The pair discriminator: is this the painting of that photo, in that style?

It sees a photo beside a painting of it, or beside what the synthesis network drew, and judges
patches of about a quarter of the side. Sources: Isola et al., "Image-to-Image Translation with
Conditional Adversarial Networks" (2017), section 3.2.2, for pairs and patches; Miyato and Koyama,
"cGANs with Projection Discriminator" (2018), for the style.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import leaky_relu

_CHANNELS = (32, 64, 96, 128)
_STRIDES = (2, 2, 2, 1)


class PairDiscriminator(keras.Model):
    """A photo and a picture to a map of logits, higher for a painting.

    Attributes:
      styles: Number of styles that it tells apart.
    """

    def __init__(self, styles: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.styles = styles
        self._convolutions = [
            keras.layers.Conv2D(
                channels,
                4,
                stride,
                padding="same",
                kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_in"),
                name=f"stage{index}",
            )
            for index, (channels, stride) in enumerate(zip(_CHANNELS, _STRIDES, strict=True))
        ]
        self._logits = keras.layers.Conv2D(1, 4, padding="same", name="logits")

    def build(self, input_shape=None):
        """Creates all weights."""
        self.embedding = self.add_weight(
            name="embedding", shape=(self.styles, _CHANNELS[-1]), initializer="zeros"
        )
        self.built = True
        picture = np.zeros((1, 64, 64, 3), np.float32)
        self((picture, picture, np.zeros(1, np.int32)))

    def call(self, inputs, training: bool | None = None) -> tf.Tensor:
        """Judges.

        Args:
          inputs: Photos and pictures, each [batch, height, width, 3] in about [-1, 1] with sides
            divisible by 8, and the pictures' styles, int32 [batch].
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          Logits [batch, height / 8, width / 8, 1].
        """
        del training
        photos, pictures, styles = inputs
        x = tf.concat([photos, pictures], axis=-1)
        for convolution in self._convolutions:
            x = leaky_relu(convolution(x))
        style = tf.gather(self.embedding, styles)[:, tf.newaxis, tf.newaxis]
        return self._logits(x) + tf.reduce_sum(x * style, axis=-1, keepdims=True)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"styles": self.styles}
