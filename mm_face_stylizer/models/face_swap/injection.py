"""The injection network: from what is known of a person to the generator's weights.

Beside the published kernels it makes maps of the person's texture, which tell the decoder what
skin, eyes and lips look like. An identity network was trained to forget just that.

Sources: Xu et al., "MobileFaceSwap" (2022), section 3.1: depthwise kernels are predicted, pointwise
kernels are modulated; Karras et al., "Analyzing and Improving the Image Quality of StyleGAN"
(2020), section 2.2, for modulation and demodulation; Karras et al., "Progressive Growing of GANs"
(2018), section 4.1, for the equalized learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.face_swap.config import FaceSwapConfig
from mm_face_stylizer.models.face_swap.generator import SLOPE, PersonWeights
from mm_face_stylizer.models.face_swap.identity import DIMENSIONS, FEATURE_CHANNELS, FEATURE_SIDE

_EPSILON = 1e-8
# Keeps the variance through a leaky ReLU.
_GAIN = float(np.sqrt(2.0 / (1.0 + SLOPE**2)))
# Predictions start small against the kernels that all people share.
_SMALL = 0.1
# Channels of the layers that look at the texture, at a half to a 16th of its side.
_TEXTURE_CHANNELS = (32, 48, 96, 128)


class InjectionNetwork(keras.Model):
    """Maps people to the generator's weights.

    Attributes:
      config: The configuration.
    """

    def __init__(self, config: FaceSwapConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config

        def convolution(name, filters, side=3, padding="same", bias=True):
            return keras.layers.Conv2D(
                filters,
                side,
                padding=padding,
                use_bias=bias,
                kernel_initializer=keras.initializers.RandomNormal(stddev=1.0),
                name=name,
            )

        self._first = convolution("first", config.width)
        self._second = convolution("second", config.width)
        # From the side of the encoder's kernels to that of the decoder's.
        self._smaller = convolution("smaller", config.width, 2, "valid")
        self._predictions = [
            convolution(f"prediction{index}", inputs, bias=False) if config.predicted else None
            for index, (_, inputs, _) in enumerate(config.layers)
        ]
        self._styles = [
            keras.layers.Dense(
                inputs,
                kernel_initializer=keras.initializers.RandomNormal(stddev=1.0),
                name=f"style{index}",
            )
            if config.modulated
            else None
            for index, (_, inputs, _) in enumerate(config.layers)
        ]
        self._depthwise, self._pointwise = [], []
        for index, (side, inputs, outputs) in enumerate(config.layers):
            self._depthwise.append(
                self.add_weight(
                    name=f"layer{index}/depthwise",
                    shape=(side, side, inputs),
                    initializer=keras.initializers.RandomNormal(stddev=1.0 / side),
                )
            )
            self._pointwise.append(
                self.add_weight(
                    name=f"layer{index}/pointwise",
                    shape=(inputs, outputs),
                    initializer=keras.initializers.RandomNormal(stddev=1.0 / np.sqrt(inputs)),
                )
            )
        self._looks = [
            keras.layers.Conv2D(
                channels,
                3,
                strides,
                padding="same",
                kernel_initializer="he_normal",
                name=f"look{index}_{strides}",
            )
            for index, channels in enumerate(_TEXTURE_CHANNELS if config.texture else ())
            for strides in (2, 1)
        ]
        self._maps = [
            keras.layers.Conv2D(channels, 1, name=f"map{index}")
            for index, channels in enumerate(config.texture)
        ]
        features = np.zeros((1, FEATURE_SIDE, FEATURE_SIDE, FEATURE_CHANNELS), np.float32)
        texture = np.zeros((1, config.image_size, config.image_size, 3), np.float32)
        self((features, np.zeros((1, DIMENSIONS), np.float32), texture))

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None) -> PersonWeights:
        """Makes the weights of people.

        Args:
          inputs: Features [people, 4, 4, 256], embeddings [people, 128] and textures
            [people, side, side, 3] in [0, 255] of `Identity`.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          The weights of as many people.
        """
        del training
        features, embedding, textures = inputs
        features = _normalized(features, (1, 2, 3))
        embedding = _normalized(embedding, (1,))
        large = _activated(_equalized(self._first, features))
        large = _activated(_equalized(self._second, large))
        small = _activated(_equalized(self._smaller, large))
        people, kernels = tf.shape(embedding)[0], []
        for index, (side, _, _) in enumerate(self.config.layers):
            depthwise, pointwise = self._depthwise[index][tf.newaxis], self._pointwise[index]
            if self._predictions[index] is None:
                depthwise = tf.repeat(depthwise, people, axis=0)
            else:
                source = large if side == FEATURE_SIDE else small
                predicted = _equalized(self._predictions[index], source)
                depthwise = depthwise + _SMALL * predicted / side
            # Kernels of one energy: nine layers without normalization would multiply their growth.
            energy = tf.reduce_sum(tf.square(depthwise), axis=(1, 2), keepdims=True)
            depthwise *= tf.math.rsqrt(energy + _EPSILON)
            if self._styles[index] is None:
                pointwise = tf.repeat(pointwise[tf.newaxis], people, axis=0)
            else:
                scale = 1.0 + _SMALL * _equalized(self._styles[index], embedding)
                pointwise = scale[:, :, tf.newaxis] * pointwise
            energy = tf.reduce_sum(tf.square(pointwise), axis=1, keepdims=True)
            kernels.append((depthwise, _GAIN * pointwise * tf.math.rsqrt(energy + _EPSILON)))
        return PersonWeights(kernels, self._maps_of(textures))

    def _maps_of(self, textures):
        x, seen = tf.cast(textures, tf.float32) / 127.5 - 1.0, []
        for look in self._looks:
            x = tf.nn.leaky_relu(look(x), SLOPE)
            seen.append(x)
        # The last layers at a 16th, an eighth and a quarter of the side.
        return [make(x) for make, x in zip(self._maps, seen[::-2], strict=False)]

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"config": self.config}


def _equalized(layer, x):
    """Applies a layer with an equalized learning rate, so that the variance is kept.

    Adam moves all weights equally far per step. Weights of unit variance, scaled where they are
    used, let the sums over thousands of them move no farther than those over a few.
    """
    y = layer(x)
    return y / float(np.sqrt(np.prod(layer.kernel.shape[:-1])))


def _activated(x):
    return _GAIN * tf.nn.leaky_relu(x, SLOPE)


def _normalized(x, axes):
    """Scales each item to a mean square of 1."""
    return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=axes, keepdims=True) + _EPSILON)
