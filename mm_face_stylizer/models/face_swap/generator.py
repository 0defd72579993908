"""The generator of face swapping: a small U-Net whose kernels are made for each person.

Source: Xu et al., "MobileFaceSwap: A Lightweight Framework for Video Face Swapping" (2022), section
3.1, the identity-aware dynamic network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.face_swap.config import FaceSwapConfig
from mm_face_stylizer.models.layers import upsample_2x

# Of the leaky ReLUs.
SLOPE = 0.1
# A sigmoid never ends; stretched and cut, the mask is exactly 0 away from the face.
_STRETCH = 1.1
_DOWNSAMPLINGS = 5
# Batch normalization that follows short trainings, too.
_MOMENTUM, _EPSILON = 0.95, 1e-5


class PersonWeights(NamedTuple):
    """What the generator needs of people to give photos their faces.

    Attributes:
      kernels: For each dynamic layer a depthwise kernel, [people, side, side, inputs], and a
        pointwise one, [people, inputs, outputs].
      maps: What the people look like, from coarse to fine, each
        [people, side / factor, side / factor, channels]; empty in the published network.
    """

    kernels: Sequence[tuple[tf.Tensor, tf.Tensor]]
    maps: Sequence[tf.Tensor] = ()


class SwapResult(NamedTuple):
    """What the generator makes of a photo.

    Attributes:
      picture: The photo with the other face, [batch, side, side, 3] in [-1, 1].
      face: What is blended into the photo, of the same form.
      mask_logits: Where it is blended in, [batch, side, side, 1], before `blending`.
    """

    picture: tf.Tensor
    face: tf.Tensor
    mask_logits: tf.Tensor


class SwapGenerator(keras.Model):
    """Gives a photo the face of the person whose weights are given.

    Attributes:
      config: The configuration.
    """

    def __init__(self, config: FaceSwapConfig, conv_dtype: str = "float32", **kwargs):
        """Creates the weights that all people share.

        Args:
          config: The configuration.
          conv_dtype: Data type in which pointwise convolutions of dynamic layers are computed.
          **kwargs: As for `keras.Model`.
        """
        super().__init__(**kwargs)
        self.config = config
        self._conv_dtype = conv_dtype

        def convolution(name, filters, side, bias=False):
            return keras.layers.Conv2D(
                filters,
                side,
                padding="same",
                use_bias=bias,
                kernel_initializer="he_normal",
                name=name,
            )

        def normalization(name):
            return keras.layers.BatchNormalization(
                momentum=_MOMENTUM, epsilon=_EPSILON, name=f"{name}_normalization"
            )

        self._head = [
            (convolution(f"head{index}", filters, side), normalization(f"head{index}"))
            for index, (filters, side) in enumerate(zip(config.head, (1, 3), strict=True))
        ]
        self._last = convolution("head2", 3, 3, bias=True)
        self._mask = [
            (
                keras.layers.DepthwiseConv2D(
                    3, padding="same", use_bias=False, name=f"mask{index}_depthwise"
                ),
                convolution(f"mask{index}", filters, 1),
                normalization(f"mask{index}"),
            )
            for index, filters in enumerate(config.mask if config.masked else ())
        ]
        self._mask_last = convolution("mask_last", 1, 3, bias=True) if config.masked else None
        kernels = [
            (tf.zeros((1, kernel, kernel, inputs)), tf.zeros((1, inputs, outputs)))
            for kernel, inputs, outputs in config.layers
        ]
        maps = [
            tf.zeros((1, side, side, channels))
            for side, channels in zip((2, 4, 8), config.texture, strict=False)
        ]
        self((np.zeros((1, 32, 32, 3), np.float32), PersonWeights(kernels, maps)))

    def call(self, inputs, training: bool | None = None) -> SwapResult:
        """Swaps faces.

        Args:
          inputs: Photos [batch, side, side, 3] in [-1, 1], and `PersonWeights` of as many
            people, or of one for all photos.
          training: Whether batch normalization uses the statistics of the batch.
        """
        photo, (kernels, maps) = inputs
        x, skips, dtype = photo, [], self._conv_dtype
        for depthwise, pointwise in kernels[:_DOWNSAMPLINGS]:
            x = _activated(_pointwise(_depthwise(x, depthwise, 2), pointwise, dtype))
            skips.append(x)
        bottleneck = skips.pop()
        for index, (depthwise, pointwise) in enumerate(kernels[_DOWNSAMPLINGS:]):
            if index:
                own = [_for_each(maps[index - 1], photo)] if maps else []
                x = tf.concat([x, skips.pop(), *own], axis=-1)
            x = _depthwise(upsample_2x(x), depthwise, 1)
            x = _activated(_pointwise(x, pointwise, dtype))
        x = upsample_2x(x)
        if self.config.skip:
            x = tf.concat([x, photo], axis=-1)
        for convolution, normalization in self._head:
            x = _activated(normalization(convolution(x), training=training))
        face = tf.tanh(self._last(x))
        if not self.config.masked:
            return SwapResult(face, face, tf.ones_like(face[..., :1]))
        mask = self._mask_logits(bottleneck, training)
        return SwapResult(photo + blending(mask) * (face - photo), face, mask)

    def _mask_logits(self, x, training):
        for depthwise, pointwise, normalization in self._mask:
            x = pointwise(depthwise(upsample_2x(x)))
            x = _activated(normalization(x, training=training))
        return self._mask_last(x)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"config": self.config}


def blending(mask_logits: tf.Tensor) -> tf.Tensor:
    """Shares of the swapped face in [0, 1]: exactly 0 far from it, exactly 1 inside."""
    stretched = _STRETCH * (tf.sigmoid(mask_logits) - 0.5) + 0.5
    return tf.clip_by_value(stretched, 0.0, 1.0)


def _for_each(values, photo):
    """Repeats what is there of one person for each photo."""
    people, photos = values.shape[0], photo.shape[0]
    return values if people == photos else tf.tile(values, (photos, 1, 1, 1))


def _activated(x):
    return tf.nn.leaky_relu(x, SLOPE)


def _depthwise(x, kernels, stride):
    """Convolves each channel with its own kernel, of one person or of a person for each picture."""
    people, side, _, channels = kernels.shape
    if people == 1:
        kernel = tf.reshape(kernels, (side, side, channels, 1))
        return tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), "SAME")
    # One picture of all channels: there is no depthwise convolution with a kernel for each picture.
    height, width = x.shape[1:3]
    x = tf.reshape(tf.transpose(x, (1, 2, 0, 3)), (1, height, width, people * channels))
    kernel = tf.reshape(tf.transpose(kernels, (1, 2, 0, 3)), (side, side, people * channels, 1))
    x = tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), "SAME")
    x = tf.reshape(x, (height // stride, width // stride, people, channels))
    return tf.transpose(x, (2, 0, 1, 3))


def _pointwise(x, kernels, dtype):
    people, inputs, outputs = kernels.shape
    x, kernels = tf.cast(x, dtype), tf.cast(kernels, dtype)
    if people == 1:
        y = tf.nn.conv2d(x, tf.reshape(kernels, (1, 1, inputs, outputs)), 1, "VALID")
    else:
        _, height, width, _ = x.shape
        y = tf.matmul(tf.reshape(x, (people, height * width, inputs)), kernels)
        y = tf.reshape(y, (people, height, width, outputs))
    return tf.cast(y, tf.float32)
