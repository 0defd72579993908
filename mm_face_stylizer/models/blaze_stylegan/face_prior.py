"""The face prior, which maps noise to the coarse latents of a random face.

The mapping network draws only w+ latents, whose pictures are soft. Few-shot tuning needs faces with
hair, lighting and expression, so the prior draws the encoder's code and its spatial latents
jointly, in whitened coordinates. An ordinary differential equation moves noise to where portraits
lie. Its velocity has two terms: that of a Gaussian with the portraits' principal axes, which needs
no training and lays out a face, and a network, zero at first, which learns what no Gaussian has:
edges, matching eyes, hair of one color. Source: Lipman et al., "Flow Matching for Generative
Modeling" (2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.models.blaze_stylegan.config import COARSE_SPATIAL_SIDES, block_channels
from mm_face_stylizer.models.blaze_stylegan.encoder import CODE_CHANNELS, CODE_SIDE
from mm_face_stylizer.models.blaze_stylegan.latent_flow import LatentFlow

# Sixteen directions hold nearly all variance of the 128 channels of a spatial latent.
_COORDINATES = 16
# Number of the Gaussian's principal axes, and of the portraits that they are fitted to. More
# portraits hardly change them.
_AXES, _FITTED = 128, 2000
# Lower bound of variances: without it, the velocity would be infinite where portraits do not vary.
_LEAST_VARIANCE = 1e-3
_STEPS = 12
# Factor on the network's term when faces are drawn, which makes them crisper and less mottled.
# Source: Karras et al., "Guiding a Diffusion Model with a Bad Version of Itself" (2024).
_GUIDANCE = 1.4


class FacePrior(keras.Model):
    """Maps Gaussian noise to the encoder's code and the coarse spatial latents.

    Attributes:
      spatial_sides: Sides of the spatial latents that are drawn.
      width: The synthesis network's width.
      noise_dim: Number of standard normal values that a face is drawn from.
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
        # Channels of the latents, and shapes of their coordinates, by the side of the map.
        self._latent_channels = {CODE_SIDE: CODE_CHANNELS} | {
            side: block_channels(side, width) for side in self.spatial_sides
        }
        self._shapes = {
            side: (side, side, min(channels, _COORDINATES) if side > CODE_SIDE else channels)
            for side, channels in self._latent_channels.items()
        }
        self._sizes = [int(np.prod(shape)) for shape in self._shapes.values()]
        self.noise_dim = sum(self._sizes)
        self._flow = LatentFlow(self._shapes, width, name="flow")
        self._advance = graph_function(self._advanced, reduce_retracing=True)

    def build(self, input_shape=None):
        """Creates all weights."""
        self._means, self._channel_axes = {}, {}
        for side, shape in self._shapes.items():
            channels = self._latent_channels[side]
            # Keras tracks dictionaries whose keys are text.
            self._means[str(side)] = self._fixed(f"mean{side}", (side, side, channels), "zeros")
            self._channel_axes[str(side)] = self._fixed(
                f"axes{side}", (shape[-1], channels), keras.initializers.Identity()
            )
        self._axes = self._fixed("axes", (_AXES, self.noise_dim), "zeros")
        self._variances = self._fixed("variances", (_AXES,), "ones")
        self._rest = self._fixed("rest", (), "ones")
        self._flow.build()
        self.built = True

    def _fixed(self, name: str, shape: tuple[int, ...], initializer) -> tf.Variable:
        return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False)

    def fit_latents(self, latents: Mapping[str, np.ndarray], whole: bool = True) -> float:
        """Fits the coordinates and the Gaussian to latents of portraits.

        Args:
          latents: `code` and the spatial latents of portraits, by name, [count, side, side,
            channels] each; those finer than the prior draws are ignored.
          whole: Whether the Gaussian has variance orthogonal to its axes too. A trained network
            turns that into strands of hair; without one, it would appear as mottle.

        Returns:
          The fraction of the coordinates' variance that lies along the Gaussian's axes.
        """
        for side in self._shapes:
            values = latents[_name(side)].astype(np.float32)
            mean = values.mean(axis=0)
            self._means[str(side)].assign(mean)
            self._channel_axes[str(side)].assign(self._fitted_axes(side, values - mean))
        points = self.coordinates(latents)
        points = points[np.linspace(0, len(points) - 1, min(len(points), _FITTED)).astype(int)]
        # The eigenvectors of the small Gram matrix, portraits by portraits, give the principal
        # axes.
        values, vectors = np.linalg.eigh(points @ points.T)
        count = min(_AXES, int(np.sum(values > 1e-6 * values[-1])))
        kept = slice(-1, -count - 1, -1)
        axes, variances = np.zeros((_AXES, self.noise_dim), np.float32), np.ones(_AXES, np.float32)
        axes[:count] = vectors[:, kept].T @ points / np.sqrt(values[kept, np.newaxis])
        variances[:count] = values[kept] / len(points)
        rest = np.square(points).sum() / len(points) - variances[:count].sum() if whole else 0.0
        self._axes.assign(axes)
        self._variances.assign(np.maximum(variances, _LEAST_VARIANCE))
        self._rest.assign(max(rest / self.noise_dim, _LEAST_VARIANCE))
        return float(values[kept].sum() / values.sum())

    def _fitted_axes(self, side: int, centered: np.ndarray) -> np.ndarray:
        """Returns axes of a latent's channels; coordinates have unit variance on average.

        The coordinates keep the square root of their standard deviations, so that directions of
        small variance count less than others without being ignored.
        """
        pixels = centered.reshape(-1, centered.shape[-1])
        if side == CODE_SIDE:
            return np.diag(pixels.std(axis=0) + 1e-6)
        variances, directions = np.linalg.eigh(pixels.T @ pixels / len(pixels))
        count = self._shapes[side][-1]
        variances = np.maximum(variances[::-1][:count], 1e-12)
        roots = variances**0.25
        roots *= np.sqrt(np.mean(variances / np.square(roots)))
        return (directions[:, ::-1][:, :count] * roots).T

    def coordinates(self, latents: Mapping[str, np.ndarray]) -> np.ndarray:
        """Converts latents of portraits to the prior's coordinates.

        Args:
          latents: As for `fit_latents`.

        Returns:
          float32 [count, noise_dim], of about unit variance: the maps, flattened and concatenated.
        """
        result = []
        for side in self._shapes:
            axes = self._channel_axes[str(side)].numpy()
            inverse = axes.T / np.maximum(np.square(axes).sum(axis=1), 1e-12)
            centered = latents[_name(side)] - self._means[str(side)].numpy()
            result.append((centered @ inverse).astype(np.float32).reshape(len(centered), -1))
        return np.concatenate(result, axis=1)

    def velocity(self, points: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        """Returns the velocity of points between noise and portraits.

        Args:
          points: [batch, noise_dim]: (1 - time) * noise + time * coordinates of a portrait.
          time: [batch] in [0, 1].

        Returns:
          [batch, noise_dim]: the expectation of the portrait's coordinates minus the noise.
        """
        return self._learned(points, time) + self._along_axes(points, _gaussian_rate, time)

    def _learned(self, points: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        maps = self._flow((self.by_map(points), time)).values()
        parts = zip(maps, self._sizes, strict=True)
        return tf.concat([tf.reshape(part, (-1, size)) for part, size in parts], axis=1)

    def _along_axes(self, points: tf.Tensor, factor: Callable, time: tf.Tensor) -> tf.Tensor:
        """Scales points, along and across the Gaussian's axes, by `factor(variance, time)`."""
        time = time[:, tf.newaxis]
        along = tf.matmul(points, self._axes, transpose_b=True)
        across = points - tf.matmul(along, self._axes)
        scaled = factor(self._variances, time) * along
        return tf.matmul(scaled, self._axes) + factor(self._rest, time) * across

    def by_map(self, points: tf.Tensor) -> dict[int, tf.Tensor]:
        """Splits points [batch, noise_dim] into maps [batch, side, side, channels] by side."""
        parts = tf.split(points, self._sizes, axis=1)
        return {
            side: tf.reshape(part, (-1, *shape))
            for part, (side, shape) in zip(parts, self._shapes.items(), strict=True)
        }

    def _advanced(self, still: tf.Tensor, time: tf.Tensor, later: tf.Tensor) -> tf.Tensor:
        """Returns how far the network moves points from one time to a later one, both [batch].

        The path of a point under the Gaussian's velocity alone is known in closed form. Euler's
        method therefore integrates the point relative to that path, which stays constant where
        the network's term is zero (an exponential integrator).
        """
        points = self._along_axes(still, _gaussian_spread, time)
        learned = _GUIDANCE * self._learned(points, time)
        return (later - time)[:, tf.newaxis] * self._along_axes(learned, _gaussian_focus, time)

    def _drawn(self, noise: tf.Tensor) -> tf.Tensor:
        """Moves noise to coordinates of faces by the midpoint method."""

        def at(time):
            return tf.fill((len(noise),), np.float32(time))

        for step in range(_STEPS):
            start, middle, end = (at((step + part) / _STEPS) for part in (0.0, 0.5, 1.0))
            midpoint = noise + self._advance(noise, start, middle)
            noise += 2.0 * self._advance(midpoint, middle, end)
        return self._along_axes(noise, _gaussian_spread, at(1.0))

    def call(self, noise: tf.Tensor, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Draws latents.

        Args:
          noise: [batch, noise_dim], standard normal; must be eager, not a tensor of a graph.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          `code` [batch, 4, 4, 17], which `latent_of_code` maps to w+ latents, and the spatial
          latents.
        """
        del training
        return {
            _name(side): tf.matmul(maps, self._channel_axes[str(side)]) + self._means[str(side)]
            for side, maps in self.by_map(self._drawn(noise)).items()
        }

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"spatial_sides": self.spatial_sides, "width": self.width}


def _gaussian_spread(variances: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    """Returns the standard deviation of points at a time, if portraits have these variances."""
    return tf.sqrt(tf.square(time) * variances + tf.square(1.0 - time))


def _gaussian_focus(variances: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    """Returns the reciprocal of `_gaussian_spread`."""
    return 1.0 / _gaussian_spread(variances, time)


def _gaussian_rate(variances: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    """Returns the velocity of such a point divided by the point: the spread's relative growth."""
    return (time * variances - (1.0 - time)) / tf.square(_gaussian_spread(variances, time))


def _name(side: int) -> str:
    return "code" if side == CODE_SIDE else f"spatial_{side}"
