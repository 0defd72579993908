"""The synthesis network of BlazeStyleGAN.

Source: Jia et al., "BlazeStyleGAN: A Real-Time On-Device StyleGAN" (2023), section 3. Blocks for
outputs of 8, 16, ... `image_size` pixels work at half the output's side; an UpToRGB head makes
twelve channels and folds them into RGB by `depth_to_space(2)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.blaze_stylegan.config import block_channels, block_count, latent_rows
from mm_face_stylizer.models.layers import (
    FixedNoise,
    ModulatedConv2D,
    repeated_rgb_initializer,
)
from mm_face_stylizer.models.mapping import LATENT_DIM
from mm_face_stylizer.models.weights import named_weights

_RGB_FOLD = 2
# Blocks with noise: the finest two and all from this side on, so that grain is equally coarse,
# relative to the face, at every resolution.
_NOISY_BLOCKS, _NOISY_SIDE = 2, 64


class Synthesis(keras.Model):
    """Maps latents to a coarse-to-fine pyramid of images.

    Attributes:
      image_size: Side of the finest image in pixels.
      heads: `all` (a pyramid, for training) or `last` (the finest image alone, for inference).
      width: Factor on the channels of every block; 1.0 is the published network.
      noise: Whether the two finest blocks, and all from 64 px on, add `FixedNoise`. Convolutions
        alone can place grain and hatching only where a photo has an edge.
    """

    def __init__(
        self,
        image_size: int = 256,
        heads: str = "all",
        width: float = 1.0,
        noise: bool = False,
        conv_dtype: str = "float32",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if heads not in ("all", "last"):
            raise ValueError(f"heads must be 'all' or 'last', but it is {heads!r}.")
        self.image_size = image_size
        self.heads = heads
        self.width = width
        self.noise = noise
        self._sides = [4 * 2**block for block in range(block_count(image_size))]
        self._constant_shape = (1, 4, 4, block_channels(4, width))
        self._first, self._second, self._rgb = [], [], {}
        finest = self._sides[-_NOISY_BLOCKS:]
        noisy_sides = [side for side in self._sides if side >= min(_NOISY_SIDE, finest[0])]
        self._noise = {
            str(side): FixedNoise(name=f"block{side}_noise") for side in noisy_sides if noise
        }
        for index, side in enumerate(self._sides):
            channels = block_channels(side, width)
            self._first.append(
                ModulatedConv2D(
                    channels,
                    3,
                    upsample=index > 0,
                    conv_dtype=conv_dtype,
                    name=f"block{side}_conv0",
                )
            )
            self._second.append(
                ModulatedConv2D(channels, 3, conv_dtype=conv_dtype, name=f"block{side}_conv1")
            )
            if heads == "all" or side == self._sides[-1]:
                self._rgb[str(side)] = ModulatedConv2D(
                    3 * _RGB_FOLD**2,
                    1,
                    demodulate=False,
                    activate=False,
                    kernel_initializer=repeated_rgb_initializer(_RGB_FOLD**2),
                    name=f"block{side}_to_rgb",
                )

    def build(self, input_shape=None):
        """Creates all weights; the input's shape is known from `image_size`."""
        self.constant = self.add_weight(
            name="constant", shape=self._constant_shape, initializer="random_normal"
        )
        rows = latent_rows(self.image_size)
        self.built = True
        self({"inputs": tf.zeros((1, rows, LATENT_DIM))})

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool | None = None,
        finest: int | None = None,
    ):
        """Synthesizes.

        Args:
          inputs: `inputs`: w+ latents [batch, 2 x blocks, 512]; optionally spatial latents, such
            as `spatial_8` [batch, 8, 8, 128], added after the first convolution of the block of
            that side. A missing spatial latent counts as zero.
          training: Accepted for the Keras contract; the network has no mode.
          finest: Side in pixels of the pyramid's last image, `image_size` if None; pretraining
            starts with few blocks and grows.

        Returns:
          `{"image": [coarsest, ..., finest]}`, each [batch, side, side, 3], roughly in [-1, 1];
          with one head the list has one image.
        """
        del training
        w = inputs["inputs"]
        # The exported graph has a batch of 1 and thus no TILE.
        x = self.constant
        if w.shape[0] != 1:
            x = tf.tile(x, [tf.shape(w)[0], 1, 1, 1])
        images = []
        for index, side in enumerate(self._sides):
            x = self._first[index]((x, w[:, 2 * index]))
            if f"spatial_{side}" in inputs:
                x = x + inputs[f"spatial_{side}"]
            if str(side) in self._noise:
                x = self._noise[str(side)](x)
            last = w[:, 2 * index + 1]
            x = self._second[index]((x, last))
            if str(side) in self._rgb:
                folded = self._rgb[str(side)]((x, last))
                images.append(tf.nn.depth_to_space(folded, _RGB_FOLD))
            if _RGB_FOLD * side == finest:
                break
        return {"image": images}

    def trainable_from(self, side: int) -> list[tf.Variable]:
        """Returns the trainable variables of blocks with feature maps of at least `side` pixels.

        Raises:
          ValueError: No block is as fine.
        """
        if side > self._sides[-1]:
            raise ValueError(
                f"The finest block works at {self._sides[-1]} px; there is none from {side} px on."
            )
        layers = []
        for index, block_side in enumerate(self._sides):
            if block_side >= side:
                layers += [self._first[index], self._second[index]]
                layers += [
                    part[str(block_side)]
                    for part in (self._rgb, self._noise)
                    if str(block_side) in part
                ]
        return [variable for layer in layers for variable in layer.trainable_variables]

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            "image_size": self.image_size,
            "heads": self.heads,
            "width": self.width,
            "noise": self.noise,
        }


def copied(synthesis: Synthesis, **changes: Any) -> Synthesis:
    """Copies a synthesis network, with the same weights.

    Args:
      synthesis: The network to copy.
      **changes: Arguments of the constructor to change. Weights that only the copy has keep their
        initial values.
    """
    copy = Synthesis(**synthesis.get_config() | changes)
    copy.build()
    source = named_weights(synthesis)
    for name, variable in named_weights(copy).items():
        variable.assign(source.get(name, variable))
    return copy
