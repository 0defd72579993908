"""Layers that several networks share: modulated convolution, noise, 2x bilinear upsampling."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf

LEAKY_RELU_SLOPE = 0.2
_EPSILON = 1e-8
# Adam moves all weights equally far per step, and noise strengths must change a lot within a
# hundred steps.
_NOISE_GAIN = 10.0


def leaky_relu(x: tf.Tensor) -> tf.Tensor:
    """Applies leaky ReLU with the slope that all networks here share (0.2, as in StyleGAN)."""
    return tf.nn.leaky_relu(x, LEAKY_RELU_SLOPE)


def upsample_2x(x: tf.Tensor) -> tf.Tensor:
    """Doubles height and width bilinearly with half-pixel centers.

    Args:
      x: [batch, height, width, channels], float, static height and width.

    Returns:
      [batch, 2 * height, 2 * width, channels].
    """
    return tf.image.resize(x, (2 * x.shape[1], 2 * x.shape[2]), method="bilinear")


def repeated_rgb_initializer(copies: int) -> keras.initializers.Initializer:
    """Initializes a kernel whose output channels are `copies` equal groups of RGB.

    A head that feeds `depth_to_space` starts with equal pixels inside each block, so that training
    does not start from a grid that it has to unlearn.

    Args:
      copies: Number of sub-pixels, 4 for `depth_to_space(2)`.
    """

    class RepeatedRgb(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None, **kwargs):
            fan_in = int(np.prod(shape[:-1]))
            base = keras.initializers.RandomNormal(stddev=1.0 / np.sqrt(fan_in))
            kernel = base((*shape[:-1], shape[-1] // copies), dtype=dtype)
            return tf.tile(kernel, [1] * (len(shape) - 1) + [copies])

    return RepeatedRgb()


class FixedNoise(keras.layers.Layer):
    """Adds constant noise, scaled by a learned strength per channel.

    The noise is constant so that the same photo always gives the same picture. Source: Karras et
    al., "A Style-Based Generator Architecture for Generative Adversarial Networks" (2019), section
    2.
    """

    def build(self, input_shape):
        """Draws the noise for features [batch, h, w, channels]; the strength is zero at first."""
        self.noise = self.add_weight(
            name="noise",
            shape=(1, *input_shape[1:3], 1),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=input_shape[1]),
            trainable=False,
        )
        self.strength = self.add_weight(
            name="strength", shape=(input_shape[-1],), initializer="zeros"
        )
        super().build(input_shape)

    def call(self, x):
        """Adds the noise to features [batch, h, w, channels]."""
        return x + _NOISE_GAIN * self.noise * self.strength


class ModulatedConv2D(keras.layers.Layer):
    """Convolution whose input channels are scaled by an affine function of a latent.

    Computed as `conv(x * s) * d`, never with a kernel per sample, so that it exports to plain
    CONV_2D and MUL. Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN",
    section 2.2; the factored form is the one of "BlazeStyleGAN" (Jia et al., 2023), section 3.

    Attributes:
      filters: Number of output channels.
      kernel_size: Side of the square kernel in pixels.
      demodulate: Whether each output channel is scaled back to unit expected variance.
      upsample: Whether the input is upsampled 2x (bilinear) first.
      activate: Whether leaky ReLU follows the bias.
      conv_dtype: Precision of the convolution alone; `bfloat16` halves its time on CPUs with
        AVX512-BF16 and on accelerators, at about three decimal digits.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        demodulate: bool = True,
        upsample: bool = False,
        activate: bool = True,
        kernel_initializer: keras.initializers.Initializer | None = None,
        conv_dtype: str = "float32",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.demodulate = demodulate
        self.upsample = upsample
        self.activate = activate
        self.conv_dtype = conv_dtype
        self._kernel_initializer = kernel_initializer

    def build(self, input_shape):
        """Creates the weights for inputs `([batch, h, w, channels], [batch, latent_dim])`."""
        channels, latent_dim = input_shape[0][-1], input_shape[1][-1]
        fan_in = channels * self.kernel_size**2
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels, self.filters),
            initializer=self._kernel_initializer
            or keras.initializers.RandomNormal(stddev=1.0 / np.sqrt(fan_in)),
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.affine_kernel = self.add_weight(
            name="affine_kernel",
            shape=(latent_dim, channels),
            initializer=keras.initializers.RandomNormal(stddev=1.0 / np.sqrt(latent_dim)),
        )
        self.affine_bias = self.add_weight(
            name="affine_bias", shape=(channels,), initializer="ones"
        )
        super().build(input_shape)

    def call(self, inputs):
        """Convolves.

        Args:
          inputs: `(x, w)`: features [batch, h, w, channels] and latents [batch, latent_dim].

        Returns:
          [batch, h, w, filters], or twice the height and width with `upsample`.
        """
        x, w = inputs
        kernel, affine_kernel = self._kernels()
        scale = tf.matmul(w, affine_kernel) + self.affine_bias
        if self.upsample:
            x = upsample_2x(x)
        x = x * scale[:, tf.newaxis, tf.newaxis, :]
        y = self._convolved(tf.cast(x, self.conv_dtype), tf.cast(kernel, self.conv_dtype))
        y = tf.cast(y, tf.float32)
        if self.demodulate:
            energy = tf.reduce_sum(tf.square(kernel), axis=[0, 1])
            variance = tf.matmul(tf.square(scale), energy)
            y = y * tf.math.rsqrt(variance + _EPSILON)[:, tf.newaxis, tf.newaxis, :]
        y = y + self.bias
        return leaky_relu(y) if self.activate else y

    def _kernels(self):
        """The kernels of the convolution and of the affine function, as they are applied."""
        return self.kernel, self.affine_kernel

    def _convolved(self, x, kernel):
        """The convolution itself, in `conv_dtype`."""
        return tf.nn.conv2d(x, kernel, 1, "SAME")

    def get_config(self):
        """Returns the constructor's arguments, without the initializer."""
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "demodulate": self.demodulate,
            "upsample": self.upsample,
            "activate": self.activate,
            "conv_dtype": self.conv_dtype,
        }
