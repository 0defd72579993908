"""The teacher: StyleGAN2's mapping and synthesis networks.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), configuration
F: 3x3 modulated, demodulated convolutions with noise, to-RGB heads whose pictures are upsampled and
summed ("skip" generator), 512 channels up to 64 px and half as many per octave above.

BlazeStyleGAN's table gives its teacher 33.17 M parameters and 74.3 G multiply-accumulates at 1024.
Both are met to the last digit by that configuration when
  - all numbers of the generator are counted: synthesis 28.269 M, mapping network 2.101 M, and the
    constant noise of the 17 convolutions that an export carries, 2.796 M (33.166 M);
  - convolutions that double the side are counted as what they are, transposed convolutions, whose
    kernel meets each pixel of the smaller map once (74.267 G with the mapping network and the
    affine layers, batch 1; blurs, which are additions, are not counted).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.mapping import LATENT_DIM, MappingNetwork
from mm_face_stylizer.models.stylegan.equalized_layers import (
    ACTIVATION_GAIN,
    EqualizedDense,
    EqualizedModulatedConv2D,
    activated,
    unit_normal,
    upsampled,
)

MAPPING_LAYERS = 8
_MAPPING_RATE = 0.01
_MOST_CHANNELS, _CHANNELS_TIMES_SIDE = 512, 32768


def teacher_sides(image_size: int) -> list[int]:
    """Sides of the feature maps, from 4 pixels to `image_size`.

    Args:
      image_size: Side of the picture in pixels, a power of two from 16 to 1024.

    Raises:
      ValueError: `image_size` is anything else.
    """
    if image_size not in (16, 32, 64, 128, 256, 512, 1024):
        raise InvalidArgumentError(
            f"image_size must be a power of two from 16 to 1024 pixels, but it is {image_size}."
        )
    return [2**octave for octave in range(2, int(math.log2(image_size)) + 1)]


def teacher_rows(image_size: int) -> int:
    """Returns the rows of a w+ latent: one per 3x3 convolution, one for the last head."""
    return 2 * len(teacher_sides(image_size))


def teacher_channels(side: int, width: float = 1.0) -> int:
    """Returns the channels of the feature map of `side` pixels, scaled by `width`."""
    return max(8, int(min(_MOST_CHANNELS, _CHANNELS_TIMES_SIDE // side) * width))


class _StyledConvolution(EqualizedModulatedConv2D):
    """Modulated 3x3 convolution, noise, bias, activation.

    Where no noise is given, it adds noise that was drawn once and is one of the weights.
    """

    def __init__(self, filters: int, **kwargs):
        super().__init__(filters, 3, activate=False, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        side = input_shape[0][1] * (2 if self.transposed else 1)
        self.noise = self.add_weight(
            name="noise", shape=(1, side, side, 1), initializer=unit_normal(), trainable=False
        )
        self.noise_strength = self.add_weight(name="noise_strength", shape=(), initializer="zeros")

    def call(self, inputs):
        x, w, *noise = inputs
        y = super().call((x, w))
        return activated(y + self.noise_strength * (noise[0] if noise else self.noise))


class StyleGanSynthesis(keras.Model):
    """Maps w+ latents to pictures.

    Attributes:
      image_size: Side of the picture in pixels.
      width: Factor on the channels of every layer; 1.0 is the published network.
    """

    def __init__(
        self, image_size: int = 256, width: float = 1.0, conv_dtype: str = "float32", **kwargs
    ):
        super().__init__(**kwargs)
        self.image_size = image_size
        self.width = width
        self.sides = teacher_sides(image_size)
        self._convolutions, self._heads = [], []
        for side in self.sides:
            channels = teacher_channels(side, width)
            for index in range(1 if side == 4 else 2):
                self._convolutions.append(
                    _StyledConvolution(
                        channels,
                        transposed=side > 4 and index == 0,
                        conv_dtype=conv_dtype,
                        name=f"block{side}_conv{index}",
                    )
                )
            self._heads.append(
                EqualizedModulatedConv2D(
                    3, 1, demodulate=False, activate=False, name=f"block{side}_to_rgb"
                )
            )

    def build(self, input_shape=None):
        """Creates all weights; the input's shape is known from `image_size`."""
        self.constant = self.add_weight(
            name="constant",
            shape=(1, 4, 4, teacher_channels(4, self.width)),
            initializer=unit_normal(),
        )
        self.built = True
        self({"inputs": tf.zeros((1, teacher_rows(self.image_size), LATENT_DIM))})

    def noise_shapes(self, count: int) -> list[tuple[int, int, int, int]]:
        """Returns the shapes of the noise of pictures: one per 3x3 convolution, coarsest first."""
        sides = [self.sides[0], *np.repeat(self.sides[1:], 2)]
        return [(count, int(side), int(side), 1) for side in sides]

    def call(
        self,
        inputs: Mapping[str, tf.Tensor | Sequence[tf.Tensor]],
        training: bool | None = None,
    ):
        """Synthesizes.

        Args:
          inputs: `inputs`: w+ latents [batch, rows, 512]; optionally `noise`: standard normal
            numbers of `noise_shapes`. Without it the network's own constant noise is added, so that
            a latent always gives the same picture.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          `{"image": [coarsest, ..., finest]}`, the sums of the to-RGB heads so far, each [batch,
          side, side, 3] in about [-1, 1], from 4 px to `image_size`.
        """
        del training
        w = inputs["inputs"]
        noise = [(single,) for single in inputs.get("noise", ())] or [()] * len(self._convolutions)
        x = tf.tile(self.constant, [tf.shape(w)[0], 1, 1, 1])
        images, row = [], 0
        for side, head in zip(self.sides, self._heads, strict=True):
            for _ in range(1 if side == 4 else 2):
                x = self._convolutions[row]((x, w[:, row], *noise[row]))
                row += 1
            # The head shares its row with the next block's first convolution.
            rgb = head((x, w[:, row]))
            images.append(upsampled(images[-1]) + rgb if images else rgb)
        return {"image": images}

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"image_size": self.image_size, "width": self.width}


class StyleGanMapping(keras.Model):
    """Maps noise to w by eight dense layers of 512 units, at a hundredth of the learning rate.

    Attributes:
      rows: Number of rows to which w is repeated.
    """

    def __init__(self, rows: int, **kwargs):
        super().__init__(**kwargs)
        self.rows = rows
        self._hidden = [
            EqualizedDense(LATENT_DIM, _MAPPING_RATE, name=f"dense{index}")
            for index in range(MAPPING_LAYERS)
        ]

    def build(self, input_shape=None):
        """Creates all weights."""
        self.built = True
        self([tf.zeros((1, LATENT_DIM)), tf.zeros((1, 0))])

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None):
        """Maps.

        Args:
          inputs: `[noise [batch, 512], label [batch, 0]]`; the label is ignored.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          Latents [batch, rows, 512] with equal rows.
        """
        del training
        x = inputs[0]
        x = x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=1, keepdims=True) + 1e-8)
        for layer in self._hidden:
            x = layer(x)
        return tf.repeat(x[:, tf.newaxis], self.rows, axis=1)

    def copy_to(self, mapping: MappingNetwork) -> None:
        """Makes a student's mapping network compute the same function, for the student's rows.

        The student's layers have neither an equalized learning rate nor a gain after the
        activation, so both factors go into the weights; its last layer becomes the identity, once
        per block.

        Args:
          mapping: A network with as many hidden layers.

        Raises:
          ValueError: It has another number of layers.
        """
        if mapping.layers_count != MAPPING_LAYERS:
            raise ValueError(
                f"The mapping network has {mapping.layers_count} hidden layers; the teacher's, "
                f"which it is to share, has {MAPPING_LAYERS}."
            )
        weights = []
        for layer in self._hidden:
            weights += [ACTIVATION_GAIN * value.numpy() for value in layer.effective_weights()]
        identity = np.tile(np.eye(LATENT_DIM, dtype=np.float32), (1, mapping.rows // 2))
        mapping.set_weights([*weights, identity, np.zeros(identity.shape[1], np.float32)])

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"rows": self.rows}
