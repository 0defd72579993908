"""The face prior: a little noise to the coarse latents of a face that does not exist.

The mapping network knows w+ latents alone, and pictures from those are soft. What tuning needs are
faces with hair, light and expression, so this draws the encoder's code and spatial latents
together, as a pyramid of small maps in coordinates of their own. A linear map of the noise lays a
face out along the principal components of encoded portraits; a little convolutional generator,
which starts at zero and learns against a discriminator, adds what no linear map can: edges, eyes
that match, hair of one colour. 64 numbers cannot tell any one portrait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.blaze_stylegan import COARSE_SPATIAL_SIDES, block_channels
from mm_face_stylizer.models.encoder import CODE_CHANNELS, CODE_SIDE
from mm_face_stylizer.models.equalized_layers import (
    EqualizedConv2D,
    EqualizedDense,
    EqualizedModulatedConv2D,
    upsampled,
)

NOISE_DIM = 64
# Of the 128 channels of a spatial latent, sixteen directions hold nearly all variance.
_COORDINATES = 16
# Portraits that the linear map is fitted to; more hardly change it.
_FITTED = 2000
_STYLE_UNITS = 128
_STYLE_LAYERS = 2
_CHANNELS = 64


class FacePrior(keras.Model):
    """Gaussian noise to the encoder's code and the coarse spatial latents.

    Attributes:
      spatial_sides: Sides of the spatial latents that are drawn.
      width: The synthesis network's width.
    """

    def __init__(
        self,
        spatial_sides: Sequence[int] = COARSE_SPATIAL_SIDES,
        width: float = 1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.spatial_sides = tuple(spatial_sides)
        self.width = width
        # Side of a map to the channels that the latent has there, and to those of the coordinates.
        self._latent_channels = {CODE_SIDE: CODE_CHANNELS} | {
            side: block_channels(side, width) for side in self.spatial_sides
        }
        self.coordinate_shapes = {
            side: (side, side, min(channels, _COORDINATES) if side > CODE_SIDE else channels)
            for side, channels in self._latent_channels.items()
        }
        self._style = [
            EqualizedDense(_STYLE_UNITS, 0.1, name=f"style{index}")
            for index in range(_STYLE_LAYERS)
        ]
        channels = max(8, int(_CHANNELS * width))
        self._constant_shape = (1, CODE_SIDE, CODE_SIDE, channels)
        self._layout, self._first, self._second, self._heads = {}, {}, {}, {}
        for side, shape in self.coordinate_shapes.items():
            # Keras tracks dictionaries whose keys are text.
            name = f"map{side}"
            self._layout[str(side)] = EqualizedConv2D(
                channels, 1, activate=False, name=f"{name}_layout"
            )
            self._first[str(side)] = EqualizedModulatedConv2D(channels, 3, name=f"{name}_conv0")
            self._second[str(side)] = EqualizedModulatedConv2D(channels, 3, name=f"{name}_conv1")
            self._heads[str(side)] = keras.layers.Conv2D(
                shape[-1], 1, kernel_initializer="zeros", name=f"{name}_head"
            )

    def build(self, input_shape=None):
        """Creates all weights."""
        self._means, self._axes, self._linear = {}, {}, {}
        for side, shape in self.coordinate_shapes.items():
            channels = self._latent_channels[side]
            count = int(np.prod(shape))
            fixed = {
                "mean": ((side, side, channels), "zeros"),
                "axes": ((shape[-1], channels), keras.initializers.Identity()),
                "linear": ((NOISE_DIM, count), "random_normal"),
            }
            for attribute, (name, (size, initializer)) in zip(
                (self._means, self._axes, self._linear), fixed.items(), strict=True
            ):
                attribute[str(side)] = self.add_weight(
                    name=f"{name}{side}", shape=size, initializer=initializer, trainable=False
                )
        self.constant = self.add_weight(
            name="constant", shape=self._constant_shape, initializer="random_normal"
        )
        self.built = True
        self(tf.zeros((1, NOISE_DIM)))

    def fit_latents(self, latents: Mapping[str, np.ndarray]) -> float:
        """Sets coordinates and linear map from latents of portraits; the generator adds nothing.

        Args:
          latents: `code` and the spatial latents of portraits, by name, [count, side, side,
            channels] each; finer ones than are drawn do not matter.

        Returns:
          The share of the coordinates' variance that the linear map keeps, each map counting alike.
        """
        for side in self.coordinate_shapes:
            values = latents[_name(side)].astype(np.float32)
            mean = values.mean(axis=0)
            self._means[str(side)].assign(mean)
            self._axes[str(side)].assign(self._fitted_axes(side, values - mean))
        parts = self.coordinates(latents)
        joined = np.concatenate(
            [part.reshape(len(part), -1) / np.sqrt(part[0].size) for part in parts.values()], axis=1
        )
        # Through the small side: as many portraits as there are, not thousands of numbers each.
        joined = joined[np.linspace(0, len(joined) - 1, min(len(joined), _FITTED)).astype(int)]
        values, vectors = np.linalg.eigh(joined @ joined.T)
        count = min(NOISE_DIM, len(joined))
        kept = slice(-1, -count - 1, -1)
        linear = np.zeros((NOISE_DIM, joined.shape[1]), np.float32)
        # Rows of the right singular vectors times singular values: one standard deviation each.
        linear[:count] = vectors[:, kept].T @ joined / np.sqrt(len(joined))
        start = 0
        for side, shape in self.coordinate_shapes.items():
            size = int(np.prod(shape))
            self._linear[str(side)].assign(linear[:, start : start + size] * np.sqrt(size))
            head = self._heads[str(side)]
            head.kernel.assign(tf.zeros_like(head.kernel))
            head.bias.assign(tf.zeros_like(head.bias))
            start += size
        return float(values[kept].sum() / values.sum())

    def _fitted_axes(self, side: int, centred: np.ndarray) -> np.ndarray:
        """Rows that span a latent's channels, such that coordinates have unit variance on average.

        The root of the standard deviations is left in the coordinates: rare directions count less
        than common ones, and do count.
        """
        pixels = centred.reshape(-1, centred.shape[-1])
        if side == CODE_SIDE:
            return np.diag(pixels.std(axis=0) + 1e-6)
        variances, directions = np.linalg.eigh(pixels.T @ pixels / len(pixels))
        count = self.coordinate_shapes[side][-1]
        variances = np.maximum(variances[::-1][:count], 1e-12)
        roots = variances**0.25
        roots *= np.sqrt(np.mean(variances / np.square(roots)))
        return (directions[:, ::-1][:, :count] * roots).T

    def coordinates(self, latents: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
        """Latents of portraits in the prior's coordinates.

        Args:
          latents: As for `fit_latents`.

        Returns:
          By side, float32 [count, side, side, coordinates], of about unit variance.
        """
        result = {}
        for side in self.coordinate_shapes:
            axes = self._axes[str(side)].numpy()
            inverse = axes.T / np.maximum(np.square(axes).sum(axis=1), 1e-12)
            centred = latents[_name(side)] - self._means[str(side)].numpy()
            result[side] = (centred @ inverse).astype(np.float32)
        return result

    def draw(self, noise: tf.Tensor, detail: float = 1.0) -> dict[int, tf.Tensor]:
        """Draws coordinates.

        Args:
          noise: [batch, 64], standard normal.
          detail: How much of what the generator adds is added.

        Returns:
          By side, [batch, side, side, coordinates] each.
        """
        style = noise
        for layer in self._style:
            style = layer(style)
        x = tf.tile(self.constant, (tf.shape(noise)[0], 1, 1, 1))
        drawn = {}
        for side, shape in self.coordinate_shapes.items():
            name = str(side)
            while x.shape[1] < side:
                x = upsampled(x)
            laid_out = tf.reshape(tf.matmul(noise, self._linear[name]), (-1, *shape))
            x = x + self._layout[name](laid_out)
            x = self._second[name]((self._first[name]((x, style)), style))
            drawn[side] = laid_out + detail * self._heads[name](x)
        return drawn

    def call(
        self, noise: tf.Tensor, training: bool | None = None, detail: float = 1.0
    ) -> dict[str, tf.Tensor]:
        """Draws latents.

        Args:
          noise: [batch, 64], standard normal.
          training: Accepted for the Keras contract; the network has no mode.
          detail: See `draw`.

        Returns:
          `code` [batch, 4, 4, 17], which the encoder makes w+ latents of, and the spatial latents.
        """
        del training
        return {
            _name(side): tf.matmul(drawn, self._axes[str(side)]) + self._means[str(side)]
            for side, drawn in self.draw(noise, detail).items()
        }

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"spatial_sides": self.spatial_sides, "width": self.width}


def _name(side: int) -> str:
    return "code" if side == CODE_SIDE else f"spatial_{side}"
