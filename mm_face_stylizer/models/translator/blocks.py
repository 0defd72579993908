"""The blocks that translators are made of.

Sources: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks" (2017), section 7.2; Ulyanov et al., "Instance Normalization" (2016); Kim et al.,
"U-GAT-IT" (2020), section 3.1, for the class-activation attention.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import upsample_2x

# What instance normalization adds to variances.
EPSILON = 1e-5
_INITIAL_SPREAD = 0.02


class Convolution(keras.layers.Conv2D):
    """A convolution with zero padding that may compute in bfloat16; its output is float32."""

    def __init__(self, filters: int, kernel_size: int, conv_dtype: str, name: str, **kwargs):
        """Takes what `keras.layers.Conv2D` takes, and the data type to convolve in."""
        kwargs.setdefault(
            "kernel_initializer", keras.initializers.RandomNormal(stddev=_INITIAL_SPREAD)
        )
        super().__init__(filters, kernel_size, padding="same", name=name, **kwargs)
        self._conv_dtype = conv_dtype

    def convolution_op(self, inputs, kernel):
        """Convolves in the data type that was asked for."""
        inputs, kernel = (tf.cast(x, self._conv_dtype) for x in (inputs, kernel))
        return tf.cast(super().convolution_op(inputs, kernel), tf.float32)


class InstanceNormalization(keras.layers.Layer):
    """Gives each channel of each picture the mean and the spread that training chose.

    It forgets how bright and colorful a picture is. Numbers that describe its colors can be given
    back: gain and offset depend on them then (Huang and Belongie, "Arbitrary Style Transfer in
    Real-time with Adaptive Instance Normalization", 2017).
    """

    def __init__(self, name: str, tints: int = 0):
        """Takes the name, and how many numbers gain and offset depend on."""
        super().__init__(name=name)
        self._tints = tints

    def build(self, input_shape):
        """Creates gain and offset for features [batch, height, width, channels]."""
        channels = input_shape[-1]
        self.gain = self.add_weight(name="gain", shape=(channels,), initializer="ones")
        self.offset = self.add_weight(name="offset", shape=(channels,), initializer="zeros")
        if self._tints:
            shape = (self._tints, channels)
            self.tint_gain = self.add_weight(name="tint_gain", shape=shape, initializer="zeros")
            self.tint_offset = self.add_weight(name="tint_offset", shape=shape, initializer="zeros")
        super().build(input_shape)

    def call(self, x, tint=None):
        """Normalizes features over their pixels.

        Args:
          x: [batch, height, width, channels].
          tint: [batch, tints]; needed if there are tints.
        """
        mean = tf.reduce_mean(x, axis=(1, 2), keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axis=(1, 2), keepdims=True)
        # Both factors are applied to the small tensors: on the large one, two operators are left.
        gain, offset = self.gain, self.offset
        if self._tints:
            changes = (tf.matmul(tint, x) for x in (self.tint_gain, self.tint_offset))
            gains, offsets = (x[:, tf.newaxis, tf.newaxis] for x in changes)
            gain, offset = gain * (1.0 + gains), offset + offsets
        scale = gain * tf.math.rsqrt(variance + EPSILON)
        return x * scale + (offset - mean * scale)


class Unit(keras.layers.Layer):
    """A convolution with instance normalization, and ReLU unless it ends a residual block.

    Attributes:
      convolution: The convolution.
      normalization: The normalization.
      observer: Is called with what the convolution returns, while somebody wants to know.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        conv_dtype: str,
        name: str,
        strides: int = 1,
        upsample: bool = False,
        activate: bool = True,
        tints: int = 0,
    ):
        """Creates the layers.

        Args:
          filters: Number of output channels.
          kernel_size: Side of the kernel in pixels.
          conv_dtype: Data type in which the convolution is computed.
          name: Start of the names of the layers.
          strides: Stride of the convolution.
          upsample: Whether the input is enlarged to twice the side first. Enlarging by
            interpolation leaves no dots, which transposed convolutions draw into bright skin.
          activate: Whether ReLU follows.
          tints: See `InstanceNormalization`.
        """
        super().__init__(name=name)
        self._upsample, self._activate = upsample, activate
        # The normalization removes any bias.
        self.convolution = Convolution(
            filters, kernel_size, conv_dtype, f"{name}_convolution", strides=strides, use_bias=False
        )
        self.normalization = InstanceNormalization(f"{name}_normalization", tints)
        self.observer: Callable[[tf.Tensor], None] | None = None

    def call(self, x, mask=None, tint=None):
        """Applies the layers.

        Args:
          x: [batch, height, width, channels].
          mask: Factors of the output's channels, [filters]; None for all ones.
          tint: See `InstanceNormalization`.
        """
        x = self.convolution(upsample_2x(x) if self._upsample else x)
        if self.observer is not None:
            self.observer(x)
        x = self.normalization(x, tint)
        x = tf.nn.relu(x) if self._activate else x
        return x if mask is None else x * mask


class ResidualBlock(keras.layers.Layer):
    """Adds what two 3 x 3 convolutions compute to their input."""

    def __init__(self, trunk: int, width: int, conv_dtype: str, name: str):
        """Creates the layers.

        Args:
          trunk: Channels of input and output.
          width: Channels between the two convolutions.
          conv_dtype: Data type in which convolutions are computed.
          name: Start of the names of the layers.
        """
        super().__init__(name=name)
        self.first = Unit(width, 3, conv_dtype, f"{name}_first")
        self.second = Unit(trunk, 3, conv_dtype, f"{name}_second", activate=False)

    def call(self, x, mask=None, trunk_mask=None, gate=None):
        """Applies the block.

        Args:
          x: [batch, height, width, trunk].
          mask: Factors of the channels between the convolutions; None for all ones.
          trunk_mask: Factors of the channels of the output; None for all ones.
          gate: Factor of what is added; None for 1.
        """
        y = self.second(self.first(x, mask=mask), mask=trunk_mask)
        return x + (y if gate is None else gate * y)


class ClassActivation(keras.layers.Layer):
    """Class-activation attention: channels weighted by how they tell the two domains apart.

    Two logits, from the average and from the maximum of each channel, say which domain a picture is
    from. Their weights scale the channels, and a 1 x 1 convolution mixes both results. The weights
    are constants once training is over, so that the whole is one 1 x 1 convolution then.
    """

    def build(self, input_shape):
        """Creates the weights for features [batch, height, width, channels]."""
        channels = input_shape[-1]
        for name in ("average", "maximum"):
            # One initializer for both would draw the same numbers twice.
            spread = keras.initializers.RandomNormal(stddev=1.0 / np.sqrt(channels))
            weight = self.add_weight(name=name, shape=(channels,), initializer=spread)
            setattr(self, name, weight)
        self.kernel = self.add_weight(
            name="kernel", shape=(1, 1, 2 * channels, channels), initializer="he_normal"
        )
        self.bias = self.add_weight(name="bias", shape=(channels,), initializer="zeros")
        super().build(input_shape)

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the two logits of each picture, [batch, 2], positive for the input's own domain.

        The layer must have been called before.

        Args:
          x: [batch, height, width, channels].
        """
        average = tf.linalg.matvec(tf.reduce_mean(x, axis=(1, 2)), self.average)
        maximum = tf.linalg.matvec(tf.reduce_max(x, axis=(1, 2)), self.maximum)
        return tf.stack([average, maximum], axis=1)

    def call(self, x):
        """Weights and mixes features [batch, height, width, channels]."""
        both = tf.concat([x * self.average, x * self.maximum], axis=-1)
        return tf.nn.relu(tf.nn.conv2d(both, self.kernel, 1, "SAME") + self.bias)

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the kernel [1, 1, channels, channels] and the bias of the equal convolution."""
        by_average, by_maximum = np.split(self.kernel.numpy(), 2, axis=2)
        kernel = by_average * self.average.numpy()[:, np.newaxis]
        kernel += by_maximum * self.maximum.numpy()[:, np.newaxis]
        return kernel, self.bias.numpy()
