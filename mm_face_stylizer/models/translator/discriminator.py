"""The discriminator of a domain: a PatchGAN whose patches are 70 px wide.

Sources: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017),
section 3.2.2; Kim et al., "U-GAT-IT" (2020), section 3.1.2, for the class-activation logits.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import leaky_relu
from mm_face_stylizer.models.translator.blocks import (
    ClassActivation,
    Convolution,
    InstanceNormalization,
)

_LAYERS = 4


class PatchDiscriminator(keras.Model):
    """Maps a picture to a map of scores, 1 for pictures of the domain and 0 for generated ones.

    Attributes:
      width: Channels of the first layer; the last has eight times as many.
      attention: Whether there is class-activation attention.
    """

    def __init__(
        self, width: int = 64, attention: bool = True, conv_dtype: str = "float32", **kwargs
    ):
        """Creates the weights.

        Args:
          width: See the class.
          attention: See the class.
          conv_dtype: Data type in which convolutions are computed.
          **kwargs: As for `keras.Model`.
        """
        super().__init__(**kwargs)
        self.width, self.attention = width, attention
        self._convolutions = [
            # The last layer before the scores has no stride, which makes the patches 70 px wide.
            Convolution(
                width * 2**index,
                4,
                conv_dtype,
                f"layer{index}",
                strides=1 if index == _LAYERS - 1 else 2,
            )
            for index in range(_LAYERS)
        ]
        self._normalizations = [
            InstanceNormalization(name=f"normalization{index}") for index in range(1, _LAYERS)
        ]
        self._attention = ClassActivation(name="attention") if attention else None
        self._scores = Convolution(1, 4, conv_dtype, "scores")
        self(np.zeros((1, 32, 32, 3), np.float32))

    def call(self, picture: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the scores of patches, [batch, height / 8, width / 8, 1].

        Args:
          picture: [batch, height, width, 3] in [-1, 1].
          training: Accepted for the Keras contract; the network has no mode.
        """
        del training
        return self.judge(picture)[0]

    def judge(self, picture: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns the scores of patches, and the logits of the attention or None, [batch, 2].

        Args:
          picture: See `call`.
        """
        x = leaky_relu(self._convolutions[0](picture))
        for convolution, normalization in zip(
            self._convolutions[1:], self._normalizations, strict=True
        ):
            x = leaky_relu(normalization(convolution(x)))
        logits = None
        if self._attention is not None:
            attended = self._attention(x)
            x, logits = attended, self._attention.logits(x)
        return self._scores(x), logits

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"width": self.width, "attention": self.attention}
