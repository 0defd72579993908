"""Residual networks that enlarge pictures: SRResNet, EDSR, and what lies between them.

Sources: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial
Network" (2017), section 2.1.1 and figure 4; Lim et al., "Enhanced Deep Residual Networks for Single
Image Super-Resolution" (2017), section 3; Shi et al., "Real-Time Single Image and Video
Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network" (2016).
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import repeated_rgb_initializer
from mm_face_stylizer.models.srresnet.config import UpscalerConfig

_COLORS = 3
# Of the last convolution where the network computes a difference, so that it starts as zero.
_SMALL = 1e-3
# What ReLU6 clips at.
_RELU6 = 6.0


class _Convolution(keras.layers.Conv2D):
    """A convolution with zero padding that may compute in bfloat16; its output is float32."""

    def __init__(self, filters: int, kernel_size: int, conv_dtype: str, name: str, **kwargs):
        # The published implementations' own. With He's, each block would double the variance of a
        # network without normalization.
        kwargs.setdefault(
            "kernel_initializer",
            keras.initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform"),
        )
        super().__init__(filters, kernel_size, padding="same", name=name, **kwargs)
        self._conv_dtype = conv_dtype

    def convolution_op(self, inputs, kernel):
        """Convolves in the data type that was asked for."""
        inputs, kernel = (tf.cast(x, self._conv_dtype) for x in (inputs, kernel))
        return tf.cast(super().convolution_op(inputs, kernel), tf.float32)

    def call(self, inputs, factor: float = 1.0):
        """Convolves with weights that are multiplied by a factor, which exports fold into them."""
        return self.convolution_op(inputs, factor * self.kernel) + factor * self.bias


class ResidualUpscaler(keras.Model):
    """Maps a picture to the same picture at two or four times its side.

    It is fully convolutional: weights do not depend on the size of the pictures.

    Attributes:
      config: The configuration.
    """

    def __init__(self, config: UpscalerConfig, conv_dtype: str = "float32", **kwargs):
        """Creates the weights.

        Args:
          config: The configuration.
          conv_dtype: Data type in which convolutions are computed.
          **kwargs: As for `keras.Model`.
        """
        super().__init__(**kwargs)
        self.config = config

        def convolution(name: str, filters=config.channels, side=3, **options):
            return _Convolution(filters, side, conv_dtype, name, **options)

        def normalization(name: str):
            # 0.9 follows short trainings, too.
            layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)
            return layer if config.normalization else None

        def prelu(name: str):
            layer = keras.layers.PReLU(
                alpha_initializer=keras.initializers.Constant(0.25), shared_axes=[1, 2], name=name
            )
            return layer if config.activation == "prelu" else None

        self._first = convolution("first", side=config.end_kernel, strides=config.stride)
        self._first_activation = prelu("first_activation")
        second = config.block_convolutions == 2
        self._blocks = [
            (
                convolution(f"block{index}_first"),
                normalization(f"block{index}_first_normalization"),
                prelu(f"block{index}_activation") or tf.nn.relu,
                convolution(f"block{index}_second") if second else None,
                normalization(f"block{index}_second_normalization") if second else None,
            )
            for index in range(config.blocks)
        ]
        self._joint = convolution("joint") if config.joint else None
        self._joint_normalization = normalization("joint_normalization") if config.joint else None
        self._doublings = [
            (
                convolution(
                    f"doubling{index}",
                    4 * config.channels,
                    # The four sub-pixels start equal, so that there is no checkerboard to unlearn.
                    kernel_initializer=repeated_rgb_initializer(4),
                ),
                prelu(f"doubling{index}_activation"),
            )
            for index in range(config.doublings)
        ]
        last = {}
        if config.interpolated_skip:
            last["kernel_initializer"] = keras.initializers.RandomNormal(stddev=_SMALL)
        self._last = convolution("last", _COLORS * self._subpixels**2, config.end_kernel, **last)
        self(np.zeros((1, 8, 8, _COLORS), np.float32))

    @property
    def _subpixels(self) -> int:
        """Number of sub-pixels along a side that the last convolution computes."""
        return self.config.scale * self.config.stride if self.config.direct else 1

    def call(self, picture: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Enlarges pictures.

        Args:
          picture: [batch, height, width, 3] in [-1, 1]; height and width are static, and divisible
            by the stride.
          training: Whether batch normalization uses the statistics of the batch.

        Returns:
          [batch, scale * height, scale * width, 3] in about [-1, 1].
        """
        return 2.0 * self._enlarged((picture + 1.0) / 2.0, 1.0, training) - 1.0

    def clipped(self, picture: tf.Tensor) -> tf.Tensor:
        """Enlarges pictures for inference.

        ReLU6 clips the values, times six, at both ends: it is part of the operator before it, where
        a minimum and a maximum would be two passes over the large picture, and slow ones in int8.

        Args:
          picture: [batch, height, width, 3] in [0, 1], as for `call`.

        Returns:
          [batch, scale * height, scale * width, 3] in [0, 1].
        """
        return self._enlarged(picture, _RELU6, False, tf.nn.relu6) / _RELU6

    def _enlarged(self, picture, factor, training, clip=tf.identity):
        """Enlarges pictures in [0, 1]; multiplies the large ones, and clips them."""
        config = self.config
        x = first = _apply(self._first_activation, self._first(picture))
        for convolution, normalization, activation, second, second_normalization in self._blocks:
            y = activation(_apply(normalization, convolution(x), training))
            y = _apply(second_normalization, _apply(second, y), training)
            x = x + (y if config.residual_scaling == 1.0 else config.residual_scaling * y)
        if self._joint is not None:
            x = first + _apply(self._joint_normalization, self._joint(x), training)
        for convolution, activation in self._doublings:
            x = _apply(activation, tf.nn.depth_to_space(convolution(x), 2))
        x = self._last(x, factor)
        if config.interpolated_skip:
            interpolated = self._repeated if config.direct else self._bilinear
            x = x + interpolated(picture, factor)
        x = clip(x)
        return tf.nn.depth_to_space(x, self._subpixels) if config.direct else x

    def _bilinear(self, picture, factor):
        sides = [self.config.scale * side for side in picture.shape[1:3]]
        return tf.image.resize(factor * picture, sides, method="bilinear")

    def _repeated(self, picture, factor):
        """Repeats pixels, in the order of sub-pixels that the last convolution computes."""
        stride, scale = self.config.stride, self.config.scale
        kernel = np.zeros((stride, stride, _COLORS, self._subpixels, self._subpixels, _COLORS))
        for row, column in np.ndindex(self._subpixels, self._subpixels):
            kernel[row // scale, column // scale, :, row, column] = factor * np.eye(_COLORS)
        kernel = kernel.reshape(stride, stride, _COLORS, -1).astype(np.float32)
        return tf.nn.conv2d(picture, kernel, stride, "VALID")

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"config": self.config}


def _apply(layer, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
    """Applies a layer, or nothing where the configuration has no such layer."""
    if layer is None:
        return x
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer(x, training=training)
    return layer(x)
