"""Layers of StyleGAN2: equalized learning rates, and its [1 3 3 1] filter.

Adam moves all weights equally far per step. With an equalized learning rate, weights are therefore
stored with unit variance, and scaled at run time by the factor of He initialization. Sources:
Karras et al., "Progressive Growing of GANs" (2017), section 4.1; "Analyzing and Improving the Image
Quality of StyleGAN" (2020), appendix B. Nothing here uses `tf.image.resize`, because R1 and
path-length regularization need first and second derivatives that XLA can compile.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import ModulatedConv2D, leaky_relu

# Leaky ReLU nearly halves the variance of its input.
ACTIVATION_GAIN = float(np.sqrt(2.0))


def unit_normal() -> keras.initializers.Initializer:
    """Returns a new initializer; one that is used twice would give the same numbers twice."""
    return keras.initializers.RandomNormal(stddev=1.0)


def activated(x: tf.Tensor) -> tf.Tensor:
    """Applies leaky ReLU with a gain that keeps the variance of a normal input."""
    return ACTIVATION_GAIN * leaky_relu(x)


def blurred(x: tf.Tensor, before: int, after: int) -> tf.Tensor:
    """Filters with [1 3 3 1] / 8 along both axes.

    Args:
      x: [batch, height, width, channels].
      before: Zeros to add above and to the left.
      after: Zeros to add below and to the right.

    Returns:
      [batch, height + before + after - 3, width + before + after - 3, channels].
    """
    x = tf.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
    # The filter [1 1], three times. Sums of slices would do the same, but on CPUs their gradient is
    # slower than everything else.
    for _ in range(3):
        x = tf.nn.avg_pool2d(x, 2, 1, "VALID")
    return x


def upsampled(x: tf.Tensor) -> tf.Tensor:
    """Doubles height and width with the same filter, which is bilinear with half-pixel centers.

    Args:
      x: [batch, height, width, channels], static height, width and channels.

    Returns:
      [batch, 2 * height, 2 * width, channels]; edge pixels are repeated beyond
      the edges.
    """
    _, height, width, channels = x.shape
    above = tf.concat([x[:, :1], x[:, :-1]], axis=1)
    below = tf.concat([x[:, 1:], x[:, -1:]], axis=1)
    x = tf.stack([0.25 * above + 0.75 * x, 0.75 * x + 0.25 * below], axis=2)
    x = tf.reshape(x, (-1, 2 * height, width, channels))
    left = tf.concat([x[:, :, :1], x[:, :, :-1]], axis=2)
    right = tf.concat([x[:, :, 1:], x[:, :, -1:]], axis=2)
    x = tf.stack([0.25 * left + 0.75 * x, 0.75 * x + 0.25 * right], axis=3)
    return tf.reshape(x, (-1, 2 * height, 2 * width, channels))


class EqualizedDense(keras.layers.Layer):
    """Dense layer with an equalized learning rate.

    Attributes:
      units: Number of outputs.
      learning_rate_multiplier: Factor on the optimizer's rate; 0.01 in the mapping network.
      activate: Whether leaky ReLU follows.
    """

    def __init__(
        self,
        units: int,
        learning_rate_multiplier: float = 1.0,
        activate: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = units
        self.learning_rate_multiplier = learning_rate_multiplier
        self.activate = activate

    def build(self, input_shape):
        """Creates the weights for inputs [batch, channels]."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=keras.initializers.RandomNormal(stddev=1.0 / self.learning_rate_multiplier),
        )
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        super().build(input_shape)

    def effective_weights(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Kernel [channels, units] and bias [units] as they are applied."""
        gain = self.learning_rate_multiplier / np.sqrt(self.kernel.shape[0])
        return np.float32(gain) * self.kernel, self.learning_rate_multiplier * self.bias

    def call(self, x):
        """Maps [batch, channels] to [batch, units]."""
        kernel, bias = self.effective_weights()
        y = tf.matmul(x, kernel) + bias
        return activated(y) if self.activate else y

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "units": self.units,
            "learning_rate_multiplier": self.learning_rate_multiplier,
            "activate": self.activate,
        }


class EqualizedConv2D(keras.layers.Layer):
    """Convolution with an equalized learning rate; where it halves the side, it blurs first.

    Attributes:
      filters: Number of output channels.
      kernel_size: Side of the square kernel in pixels, 1 or 3.
      downsample: Whether height and width, both even, are halved.
      activate: Whether a bias and leaky ReLU follow.
      conv_dtype: Precision of the convolution, see `ModulatedConv2D`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        downsample: bool = False,
        activate: bool = True,
        conv_dtype: str = "float32",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.downsample = downsample
        self.activate = activate
        self.conv_dtype = conv_dtype

    def build(self, input_shape):
        """Creates the weights for inputs [batch, h, w, channels]."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, input_shape[-1], self.filters),
            initializer=unit_normal(),
        )
        if self.activate:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        super().build(input_shape)

    def call(self, x):
        """Convolves [batch, h, w, channels] to [batch, h, w, filters], or half the sides."""
        kernel = self.kernel * np.float32(1.0 / np.sqrt(np.prod(self.kernel.shape[:3])))
        if self.downsample:
            margin = (self.kernel_size + 1) // 2
            x = blurred(x, margin, margin)
        x, kernel = tf.cast(x, self.conv_dtype), tf.cast(kernel, self.conv_dtype)
        strides, padding = (2, "VALID") if self.downsample else (1, "SAME")
        y = tf.cast(tf.nn.conv2d(x, kernel, strides, padding), tf.float32)
        return activated(y + self.bias) if self.activate else y

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "downsample": self.downsample,
            "activate": self.activate,
            "conv_dtype": self.conv_dtype,
        }


class EqualizedModulatedConv2D(ModulatedConv2D):
    """Modulated convolution with an equalized learning rate.

    With `transposed` it doubles the side as the source does, by a transposed convolution followed
    by a blur. Away from the border that equals bilinear upsampling before the convolution, at a
    quarter of the multiplications.
    """

    def __init__(self, filters: int, kernel_size: int, transposed: bool = False, **kwargs):
        super().__init__(filters, kernel_size, kernel_initializer=unit_normal(), **kwargs)
        self.transposed = transposed

    def build(self, input_shape):
        """Creates the weights, see `ModulatedConv2D`."""
        super().build(input_shape)
        self.affine_kernel.assign(unit_normal()(self.affine_kernel.shape))

    def _kernels(self):
        kernel_gain = 1.0 / np.sqrt(np.prod(self.kernel.shape[:3]))
        affine_gain = 1.0 / np.sqrt(self.affine_kernel.shape[0])
        return np.float32(kernel_gain) * self.kernel, np.float32(affine_gain) * self.affine_kernel

    def _convolved(self, x, kernel):
        if not self.transposed:
            return super()._convolved(x, kernel)
        side = 2 * x.shape[1] + self.kernel_size - 2
        # The kernel is flipped, so that it is that of a convolution after upsampling.
        y = tf.nn.conv2d_transpose(
            x,
            tf.transpose(kernel[::-1, ::-1], (0, 1, 3, 2)),
            (tf.shape(x)[0], side, side, self.filters),
            strides=2,
            padding="VALID",
        )
        # The kernel met zeros at three of four pixels.
        return 4.0 * blurred(tf.ensure_shape(y, (None, side, side, self.filters)), 1, 1)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"transposed": self.transposed}
