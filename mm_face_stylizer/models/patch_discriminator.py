"""The patch discriminator, which tells real from generated pictures patch by patch.

Fully convolutional, so that it judges crops during training as well as whole pictures. Source of
the patch form: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks"
(2017), section 3.2.2.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import leaky_relu

_CHANNELS = (32, 64, 128, 192, 256)
_DETAIL_GAIN = 8.0


class Discriminator(keras.Model):
    """Maps an image to a map of logits, positive for real.

    Attributes:
      width: Factor on the channels of every layer.
    """

    def __init__(self, width: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        channels = [max(8, int(count * width)) for count in _CHANNELS]

        def convolution(filters, kernel_size, strides, name):
            return keras.layers.Conv2D(
                filters,
                kernel_size,
                strides,
                padding="same",
                kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_in"),
                name=name,
            )

        self._stages = [
            convolution(filters, 4, 2, f"stage{index}") for index, filters in enumerate(channels)
        ]
        self._mix = convolution(channels[-1], 3, 1, "mix")
        self._logits = convolution(1, 1, 1, "logits")

    def build(self, input_shape=None):
        """Creates all weights."""
        self.built = True
        self(np.zeros((1, 64, 64, 3), np.float32))

    def features(self, image: tf.Tensor) -> list[tf.Tensor]:
        """Feature maps before the logits.

        Args:
          image: [batch, height, width, 3] in [-1, 1], sides divisible by 32.

        Returns:
          Six maps, at 1/2, 1/4, 1/8, 1/16, 1/32 and 1/32 of the side.
        """
        # Soft and sharp pictures differ mainly in their finest detail, a small part of the signal.
        # Amplified, the discriminator finds it within tens of steps instead of thousands.
        detail = image - tf.nn.avg_pool2d(image, 3, 1, "SAME")
        x = tf.concat([image, _DETAIL_GAIN * detail], axis=-1)
        maps = []
        for stage in self._stages:
            x = leaky_relu(stage(x))
            maps.append(x)
        maps.append(leaky_relu(self._mix(x)))
        return maps

    def mean_features(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Averages the feature maps over pixels: [batch, channels] for each layer.

        Such means characterize a style without depending on where things are in the picture.

        Args:
          images: See `features`.
        """
        return [tf.reduce_mean(maps, axis=(1, 2)) for maps in self.features(images)]

    def call(self, image: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the logits of patches.

        Args:
          image: [batch, height, width, 3] in [-1, 1], sides divisible by 32.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          Logits [batch, height / 32, width / 32, 1].
        """
        del training
        return self._logits(self.features(image)[-1])

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"width": self.width}
