"""A discriminator of pairs: is this picture the painting of this photo in this style?

Its input is a photo together with either the painting of that photo or the output of the synthesis
network. It classifies overlapping patches; a patch is about a quarter of the picture wide.

Sources: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017),
section 3.2.2, for pairs and patches; Miyato and Koyama, "cGANs with
Projection Discriminator" (2018), for the style.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import leaky_relu
from mm_face_stylizer.models.weights import named_weights

_CHANNELS = (32, 64, 96, 128)
_STRIDES = (2, 2, 2, 1)
_EMBEDDING = "embedding"


class PairDiscriminator(keras.Model):
    """Maps a photo and a picture to a map of logits, which are higher for real paintings.

    Attributes:
      styles: Number of styles; each has an embedding.
    """

    def __init__(self, styles: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.styles = styles
        # With seeds of their own, the initial weights are always the same.
        self._convolutions = [
            keras.layers.Conv2D(
                channels,
                4,
                stride,
                padding="same",
                kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_in", seed=index),
                name=f"stage{index}",
            )
            for index, (channels, stride) in enumerate(zip(_CHANNELS, _STRIDES, strict=True))
        ]
        self._logits = keras.layers.Conv2D(
            1,
            4,
            padding="same",
            kernel_initializer=keras.initializers.GlorotUniform(seed=len(_STRIDES)),
            name="logits",
        )

    def build(self, input_shape=None):
        """Creates all weights."""
        self.embedding = self.add_weight(
            name=_EMBEDDING, shape=(self.styles, _CHANNELS[-1]), initializer="zeros"
        )
        self.built = True
        picture = np.zeros((1, 64, 64, 3), np.float32)
        self((picture, picture, np.zeros(1, np.int32)))

    def call(self, inputs, training: bool | None = None) -> tf.Tensor:
        """Computes the logits.

        Args:
          inputs: A tuple of photos and pictures, each float32 [batch, height, width, 3] in about
            [-1, 1] with height and width divisible by 8, and the styles' indices, int32 [batch].
          training: Ignored; the network computes the same in training and in inference.

        Returns:
          Logits, float32 [batch, height / 8, width / 8, 1].
        """
        del training
        photos, pictures, styles = inputs
        x = tf.concat([photos, pictures], axis=-1)
        for convolution in self._convolutions:
            x = leaky_relu(convolution(x))
        style = tf.gather(self.embedding, styles)[:, tf.newaxis, tf.newaxis]
        return self._logits(x) + tf.reduce_sum(x * style, axis=-1, keepdims=True)

    def only(self, style: int) -> PairDiscriminator:
        """Copies the network for one of its styles.

        Args:
          style: Index of the style.
        """
        copy = PairDiscriminator(1)
        copy.build()
        own = named_weights(self)
        for name, variable in named_weights(copy).items():
            value = own[name]
            variable.assign(value[style : style + 1] if name == _EMBEDDING else value)
        return copy

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"styles": self.styles}
