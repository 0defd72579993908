"""The inversion encoder, which maps a photo to a w+ latent and spatial latents.

The backbone is MobileNetV2 (Sandler et al., 2018, table 2) up to its 96-channel stage. A strided
stem reduces the photo to 64 px maps at once, so that the backbone costs a quarter of what it would
after the usual stem, and so that it has the maps of 8 to 64 px that the spatial latents need.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.blaze_stylegan.config import (
    COARSE_SPATIAL_SIDES,
    block_channels,
    latent_rows,
)
from mm_face_stylizer.models.layers import LEAKY_RELU_SLOPE
from mm_face_stylizer.models.mapping import LATENT_DIM

_BACKBONE_SIDE = 64
# Expansion, channels, repeats, stride of the first: MobileNetV2, table 2, rows 2 to 6.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
CODE_SIDE, CODE_CHANNELS = 4, 17
# Keras's default of 0.99 and MobileNetV2's 0.999 lag behind weights that still move fast: after 800
# steps at 0.99 reconstructions in inference mode had twice the contrast of those in training mode.
_BATCH_NORM_MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """What determines the encoder's graph.

    Attributes:
      input_size: Side of the photo in pixels, a multiple of 64.
      image_size: Side of the synthesis network's finest image in pixels; determines the
        rows of the latent.
      spatial_sides: Sides in pixels of the spatial latents, of 8, 16, 32 and 64 (the published
        network has none). The finer they are, the smaller the details that they transfer.
      width: Factor on the backbone's channels; 1.0 is MobileNetV2's.
      synthesis_width: The synthesis network's `width`; determines the channels of the spatial
        latents.
    """

    input_size: int = 256
    image_size: int = 256
    spatial_sides: tuple[int, ...] = COARSE_SPATIAL_SIDES
    width: float = 1.0
    synthesis_width: float = 1.0


class _Backbone:
    """Builds the functional graph, naming layers as it goes."""

    def __init__(self, width: float):
        self._width = width

    def _scaled(self, channels: int) -> int:
        return max(8, int(channels * self._width))

    def convolution(self, x, filters, kernel_size, strides, name, activate=True):
        x = keras.layers.Conv2D(
            filters, kernel_size, strides, padding="same", use_bias=False, name=name
        )(x)
        return self._normalize(x, name, activate)

    def depthwise(self, x, strides, name):
        x = keras.layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False, name=name)(x)
        return self._normalize(x, name, activate=True)

    def _normalize(self, x, name, activate):
        x = keras.layers.BatchNormalization(
            momentum=_BATCH_NORM_MOMENTUM,
            # In distributed training the statistics are those of the whole batch. That is an option
            # only where it is needed, because Keras has no fused kernel for it.
            synchronized=tf.distribute.get_strategy().num_replicas_in_sync > 1,
            name=f"{name}_normalisation",
        )(x)
        return keras.layers.ReLU(6.0, name=f"{name}_activation")(x) if activate else x

    def features(self, image, stem_stride):
        """Returns the 8 px map and the expanded maps of 16, 32 and 64 px, by their sides."""
        x = self.convolution(
            image, self._scaled(32), _stem_kernel_size(stem_stride), stem_stride, "stem"
        )
        expanded = {}
        for stage, (expansion, channels, repeats, first_stride) in enumerate(_STAGES):
            channels = self._scaled(channels)
            for repeat in range(repeats):
                strides = first_stride if repeat == 0 else 1
                name = f"stage{stage}_block{repeat}"
                inner = x
                if expansion > 1:
                    inner = self.convolution(x, expansion * x.shape[-1], 1, 1, f"{name}_expand")
                expanded[inner.shape[1]] = inner
                inner = self.depthwise(inner, strides, f"{name}_depthwise")
                inner = self.convolution(inner, channels, 1, 1, f"{name}_project", activate=False)
                if inner.shape == x.shape:
                    inner = keras.layers.Add(name=f"{name}_add")([inner, x])
                x = inner
        # The last expanded map of a side is computed anyway for the stride that follows, and it has
        # six times the channels of the bottleneck before it.
        return expanded | {x.shape[1]: x}


def build_encoder(config: EncoderConfig | None = None) -> keras.Model:
    """Builds the encoder.

    Args:
      config: What to build; the default preset's encoder if None.

    Returns:
      A functional model: photo [batch, input_size, input_size, 3] in [-1, 1] to a dict of
      `inputs` [batch, 2 x blocks, 512] (to which `w_avg` must be added) and for each spatial side
      a map, such as `spatial_8` [batch, 8, 8, 128].

    Raises:
      ValueError: The input size is not a multiple of 64, or the image size or a spatial side is
        unknown.
    """
    config = config or EncoderConfig()
    if config.input_size < _BACKBONE_SIDE or config.input_size % _BACKBONE_SIDE:
        raise InvalidArgumentError(
            f"input_size must be a multiple of {_BACKBONE_SIDE} pixels, "
            f"but it is {config.input_size}."
        )
    rows = latent_rows(config.image_size)
    image = keras.Input((config.input_size, config.input_size, 3), name="image")
    maps = _Backbone(config.width).features(image, config.input_size // _BACKBONE_SIDE)
    deep = maps[min(maps)]
    unknown = sorted(set(config.spatial_sides) - set(maps))
    if unknown:
        raise InvalidArgumentError(
            f"spatial_sides may be {', '.join(map(str, sorted(maps)))}, but {unknown[0]} is among "
            "them."
        )

    x = keras.layers.DepthwiseConv2D(3, 2, padding="same", name="code_depthwise")(deep)
    x = keras.layers.Conv2D(deep.shape[-1], 1, name="code_mix")(x)
    x = keras.layers.LeakyReLU(LEAKY_RELU_SLOPE, name="code_activation")(x)
    x = keras.layers.Conv2D(CODE_CHANNELS, 1, name="code")(x)
    x = keras.layers.Flatten(name="code_flat")(x)
    x = keras.layers.Dense(rows // 2 * LATENT_DIM, name="latent")(x)
    x = keras.layers.Reshape((rows // 2, LATENT_DIM), name="latent_rows")(x)
    # Both convolutions of a block share a row, because the width of the code limits the
    # reconstruction, not the number of distinct rows.
    outputs = {"inputs": keras.layers.UpSampling1D(2, name="latent_repeat")(x)}
    for side in config.spatial_sides:
        # The spatial latents start at zero, because w+ must suffice for a face by itself: random
        # latents have nothing else.
        outputs[f"spatial_{side}"] = keras.layers.Conv2D(
            block_channels(side, config.synthesis_width),
            1,
            kernel_initializer="zeros",
            name=f"spatial_{side}",
        )(maps[side])
    return keras.Model(image, outputs, name="encoder")


def doubled_stem(kernel: np.ndarray, input_size: int) -> np.ndarray:
    """Returns a stem for photos of twice the side that computes the same on their 2 x 2 means.

    Args:
      kernel: The stem's kernel, [side, side, 3, channels].
      input_size: Side in pixels of the photos that the kernel is for.

    Returns:
      The kernel of the stem for photos of `2 * input_size`.

    Raises:
      ValueError: `input_size` is below 128 pixels: the stem has no stride there, and its window is
        wider relative to the stride than that of any larger one.
    """
    stride = input_size // _BACKBONE_SIDE
    if stride < 2:
        raise InvalidArgumentError(
            f"Encoders can be doubled from 128 pixels on, but input_size is {input_size}."
        )
    size = _stem_kernel_size(2 * stride)
    wide = np.zeros((size, size, *kernel.shape[2:]), kernel.dtype)
    # SAME pads equally on both sides, and one less at the start if the total is odd.
    first = (size - 2 * stride) // 2 - 2 * ((len(kernel) - stride) // 2)
    window = slice(first, first + 2 * len(kernel))
    wide[window, window] = kernel.repeat(2, axis=0).repeat(2, axis=1) / 4.0
    return wide


def _stem_kernel_size(stride: int) -> int:
    return max(3, 2 * stride - 1)


def coarse_encoder(encoder: keras.Model, spatial_sides: Sequence[int]) -> keras.Model:
    """Returns the part of the encoder whose outputs the face prior learns to draw.

    Args:
      encoder: An encoder from `build_encoder`; its layers are shared.
      spatial_sides: Sides of the spatial latents to output.

    Returns:
      A model: photo to `code` [batch, 4, 4, 17] and the spatial latents, by name.
    """
    names = [f"spatial_{side}" for side in spatial_sides]
    outputs = {"code": encoder.get_layer("code").output} | {
        name: encoder.get_layer(name).output for name in names
    }
    return keras.Model(encoder.input, outputs)


def latent_of_code(encoder: keras.Model, code: tf.Tensor) -> tf.Tensor:
    """Maps the encoder's code [batch, 4, 4, 17] to w+ [batch, rows, 512] without `w_avg`."""
    for name in ("code_flat", "latent", "latent_rows", "latent_repeat"):
        code = encoder.get_layer(name)(code)
    return code
