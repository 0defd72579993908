"""The generator of a translator: a residual network from a picture to a picture.

Sources: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks" (2017), section 7.2; Kim et al., "U-GAT-IT" (2020), for the attention.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.translator.blocks import (
    ClassActivation,
    Convolution,
    ResidualBlock,
    Unit,
)
from mm_face_stylizer.models.translator.config import TranslatorConfig

_COLORS = 3


class Translator(keras.Model):
    """Maps a picture to the same picture in the other domain.

    It is fully convolutional: weights do not depend on the size of the pictures.

    Attributes:
      config: The configuration.
    """

    def __init__(self, config: TranslatorConfig, conv_dtype: str = "float32", **kwargs):
        """Creates the weights.

        Args:
          config: The configuration.
          conv_dtype: Data type in which convolutions are computed.
          **kwargs: As for `keras.Model`.
        """
        super().__init__(**kwargs)
        self.config = config
        trunk = config.down[1]
        self._stem = Unit(config.stem, 7, conv_dtype, "stem", strides=config.stride)
        self._down = [
            Unit(width, 3, conv_dtype, f"down{index}", strides=2)
            for index, width in enumerate(config.down)
        ]
        self._blocks = [
            ResidualBlock(trunk, width, conv_dtype, f"block{index}")
            for index, width in enumerate(config.blocks)
        ]
        self._attention = None
        if config.attention is not None:
            self._attention = ClassActivation(name="attention")
        self._up = [
            Unit(
                width,
                3,
                conv_dtype,
                f"up{index}",
                upsample=True,
                tints=_COLORS * config.fields * config.fields,
            )
            for index, width in enumerate(config.up)
        ]
        pixels = config.stride * config.stride
        self._last = Convolution(_COLORS * pixels, config.last_kernel, conv_dtype, "last")
        self(np.zeros((1, 16, 16, _COLORS), np.float32))

    def call(self, picture: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Translates pictures.

        Args:
          picture: [batch, height, width, 3] in [-1, 1]; height and width are static multiples of 4
            times the stride.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          Pictures of the same shape in [-1, 1].
        """
        del training
        return self.translate(picture)[0]

    def translate(
        self, picture: tf.Tensor, masks: Mapping[str, tf.Tensor] | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Translates pictures, and says which domain each is from.

        Args:
          picture: See `call`.
          masks: Factors of the channels of layers, by the names of `TranslatorConfig.widths`, and
            of residual blocks, by `gate0` and so on; what is missing is 1.

        Returns:
          The pictures, and the logits of the class-activation attention, [batch, 2], positive for
          the domain that pictures are translated from; None if there is no attention.
        """
        masks = masks or {}
        x, logits = self._encoded(picture, masks), None
        for index, block in enumerate(self._blocks):
            if index == self.config.attention:
                x, logits = self._attended(x, masks)
            x = block(
                x,
                mask=masks.get(f"block{index}"),
                trunk_mask=masks.get("trunk"),
                gate=masks.get(f"gate{index}"),
            )
        if self.config.attention == len(self._blocks):
            x, logits = self._attended(x, masks)
        return self._decoded(x, picture, masks), logits

    def folded(self, picture: tf.Tensor, attention: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Translates pictures with the attention as one 1 x 1 convolution.

        Args:
          picture: See `call`.
          attention: Kernel and bias, see `folded_attention`.
        """
        x = self._encoded(picture, {})
        kernel, bias = attention
        for index in range(len(self._blocks) + 1):
            if index == self.config.attention:
                x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
            if index < len(self._blocks):
                x = self._blocks[index](x)
        return self._decoded(x, picture, {})

    def units(self) -> list[Unit]:
        """Returns all convolutions that instance normalization follows."""
        inner = [unit for block in self._blocks for unit in (block.first, block.second)]
        return [self._stem, *self._down, *inner, *self._up]

    def folded_attention(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns kernel and bias of the convolution that equals the attention; None without it."""
        return None if self._attention is None else self._attention.folded()

    def _encoded(self, picture, masks):
        x = self._stem(picture, mask=masks.get("stem"))
        for name, down in zip(("down0", "trunk"), self._down, strict=True):
            x = down(x, mask=masks.get(name))
        return x

    def _attended(self, x, masks):
        attended, mask = self._attention(x), masks.get("trunk")
        return (attended if mask is None else attended * mask), self._attention.logits(x)

    def _decoded(self, x, picture, masks):
        tint = self._tint(picture)
        for index, up in enumerate(self._up):
            x = up(x, mask=masks.get(f"up{index}"), tint=tint)
        x = tf.tanh(self._last(x))
        return x if self.config.stride == 1 else tf.nn.depth_to_space(x, self.config.stride)

    def _tint(self, picture):
        """Returns the mean colors of the picture's fields, [batch, 3 x fields x fields]."""
        count = self.config.fields
        if not count:
            return None
        height, width = (side // count for side in picture.shape[1:3])
        means = tf.nn.avg_pool2d(picture, (height, width), (height, width), "VALID")
        return tf.reshape(means, (-1, _COLORS * count * count))

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"config": self.config}
