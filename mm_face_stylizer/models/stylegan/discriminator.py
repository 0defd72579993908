"""The teacher's discriminator: StyleGAN2's residual network with minibatch standard deviation.

It judges whole pictures and batches of them, and is used for the teacher only; all other trainings
use the small `patch_discriminator.Discriminator`. Sources: Karras et al.,
"Analyzing and Improving the Image Quality of StyleGAN" (2020), section 4.1 and appendix B;
"Progressive Growing of GANs" (2017), section 3.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.stylegan.equalized_layers import EqualizedConv2D, EqualizedDense
from mm_face_stylizer.models.stylegan.generator import teacher_channels, teacher_sides

# Number of pictures among which the deviation is computed. A batch must be smaller, or a multiple.
DEVIATION_GROUP = 4


def with_deviation(x: tf.Tensor) -> tf.Tensor:
    """Appends a channel with the standard deviation among the pictures of a group.

    With it, the discriminator detects a generator that always draws the same face.

    Args:
      x: [batch, side, side, channels], static side and channels; a batch of fewer than four is one
        group, others are multiples of four.

    Returns:
      [batch, side, side, channels + 1].
    """
    batch = tf.shape(x)[0]
    group = tf.minimum(DEVIATION_GROUP, batch)
    _, height, width, channels = x.shape
    grouped = tf.reshape(x, (group, -1, height, width, channels))
    centered = grouped - tf.reduce_mean(grouped, axis=0, keepdims=True)
    deviation = tf.sqrt(tf.reduce_mean(tf.square(centered), axis=0) + 1e-8)
    mean = tf.reduce_mean(deviation, axis=(1, 2, 3), keepdims=True)
    return tf.concat([x, tf.tile(mean, (group, height, width, 1))], axis=-1)


class StyleGanDiscriminator(keras.Model):
    """Maps each picture to one logit, positive for real.

    Attributes:
      image_size: Side of the pictures in pixels.
      width: Factor on the channels of every layer.
    """

    def __init__(
        self, image_size: int = 256, width: float = 1.0, conv_dtype: str = "float32", **kwargs
    ):
        super().__init__(**kwargs)
        self.image_size = image_size
        self.width = width
        sides = teacher_sides(image_size)[::-1]
        channels = [teacher_channels(side, width) for side in sides]
        self._from_rgb = EqualizedConv2D(channels[0], 1, name="from_rgb")
        self._blocks = []
        for side, inner, outer in zip(sides, channels, channels[1:], strict=False):
            self._blocks.append(
                (
                    EqualizedConv2D(inner, 3, conv_dtype=conv_dtype, name=f"block{side}_conv0"),
                    EqualizedConv2D(
                        outer, 3, downsample=True, conv_dtype=conv_dtype, name=f"block{side}_conv1"
                    ),
                    EqualizedConv2D(
                        outer, 1, downsample=True, activate=False, name=f"block{side}_skip"
                    ),
                )
            )
        self._mix = EqualizedConv2D(channels[-1], 3, name="mix")
        self._dense = EqualizedDense(channels[-1], name="dense")
        self._logit = EqualizedDense(1, activate=False, name="logit")

    def build(self, input_shape=None):
        """Creates all weights."""
        self.built = True
        self(np.zeros((1, self.image_size, self.image_size, 3), np.float32))

    def call(self, image: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the logits.

        Args:
          image: [batch, image_size, image_size, 3] in [-1, 1]; for the batch see `with_deviation`.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          Logits [batch, 1].
        """
        del training
        x = self._from_rgb(image)
        for first, second, skip in self._blocks:
            x = (second(first(x)) + skip(x)) / np.float32(np.sqrt(2.0))
        x = self._mix(with_deviation(x))
        x = tf.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3]))
        return self._logit(self._dense(x))

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"image_size": self.image_size, "width": self.width}
