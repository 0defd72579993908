"""The face prior: noise to the coarse latents of a face that does not exist.

The mapping network knows w+ latents alone, and pictures from those are soft. What tuning needs are
faces with hair, light and expression, so this draws the encoder's code and spatial latents
together, in coordinates of their own. Noise flows along a velocity to where portraits lie. That of
a Gaussian with the portraits' principal axes is known without training, and lays a face out; a
network, which starts at zero, learns what no Gaussian has: edges, eyes that match, hair of one
colour. Source: Lipman et al., "Flow Matching for Generative Modeling" (2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.models.blaze_stylegan.config import COARSE_SPATIAL_SIDES, block_channels
from mm_face_stylizer.models.blaze_stylegan.encoder import CODE_CHANNELS, CODE_SIDE
from mm_face_stylizer.models.blaze_stylegan.latent_flow import LatentFlow

# Of the 128 channels of a spatial latent, sixteen directions hold nearly all variance.
_COORDINATES = 16
# Principal axes of the Gaussian, and portraits that they are fitted to; more hardly change them.
_AXES, _FITTED = 128, 2000
# Where portraits do not vary at all the velocity would not be finite.
_LEAST_VARIANCE = 1e-3
_STEPS = 12
# Drawn faces go further the network's way from the Gaussian's than it says: crisper, less mottled.
# Source: Karras et al., "Guiding a Diffusion Model with a Bad Version of Itself" (2024).
_GUIDANCE = 1.4


class FacePrior(keras.Model):
    """Gaussian noise to the encoder's code and the coarse spatial latents.

    Attributes:
      spatial_sides: Sides of the spatial latents that are drawn.
      width: The synthesis network's width.
      noise_dim: How many numbers a face is drawn from.
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
        """Sets coordinates and the Gaussian from latents of portraits.

        Args:
          latents: `code` and the spatial latents of portraits, by name, [count, side, side,
            channels] each; finer ones than are drawn do not matter.
          whole: Whether there is to be anything across the Gaussian's axes. A trained network makes
            strands of it; without one it is mottle.

        Returns:
          The share of the coordinates' variance that lies along the Gaussian's axes.
        """
        for side in self._shapes:
            values = latents[_name(side)].astype(np.float32)
            mean = values.mean(axis=0)
            self._means[str(side)].assign(mean)
            self._channel_axes[str(side)].assign(self._fitted_axes(side, values - mean))
        points = self.coordinates(latents)
        points = points[np.linspace(0, len(points) - 1, min(len(points), _FITTED)).astype(int)]
        # Through the small side: as many portraits as there are, not thousands of numbers each.
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

    def _fitted_axes(self, side: int, centred: np.ndarray) -> np.ndarray:
        """Rows that span a latent's channels, such that coordinates have unit variance on average.

        The root of the standard deviations is left in the coordinates: rare directions count less
        than common ones, and do count.
        """
        pixels = centred.reshape(-1, centred.shape[-1])
        if side == CODE_SIDE:
            return np.diag(pixels.std(axis=0) + 1e-6)
        variances, directions = np.linalg.eigh(pixels.T @ pixels / len(pixels))
        count = self._shapes[side][-1]
        variances = np.maximum(variances[::-1][:count], 1e-12)
        roots = variances**0.25
        roots *= np.sqrt(np.mean(variances / np.square(roots)))
        return (directions[:, ::-1][:, :count] * roots).T

    def coordinates(self, latents: Mapping[str, np.ndarray]) -> np.ndarray:
        """Latents of portraits in the prior's coordinates.

        Args:
          latents: As for `fit_latents`.

        Returns:
          float32 [count, noise_dim], of about unit variance: map after map.
        """
        result = []
        for side in self._shapes:
            axes = self._channel_axes[str(side)].numpy()
            inverse = axes.T / np.maximum(np.square(axes).sum(axis=1), 1e-12)
            centred = latents[_name(side)] - self._means[str(side)].numpy()
            result.append((centred @ inverse).astype(np.float32).reshape(len(centred), -1))
        return np.concatenate(result, axis=1)

    def velocity(self, points: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        """Where points between noise and portraits are going.

        Args:
          points: [batch, noise_dim]: (1 - time) of noise and time of a portrait's coordinates.
          time: [batch] in [0, 1].

        Returns:
          [batch, noise_dim]: what is expected of the portrait's coordinates less the noise.
        """
        return self._learned(points, time) + self._along_axes(points, _gaussian_rate, time)

    def _learned(self, points: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        maps = self._flow((self.by_map(points), time)).values()
        parts = zip(maps, self._sizes, strict=True)
        return tf.concat([tf.reshape(part, (-1, size)) for part, size in parts], axis=1)

    def _along_axes(self, points: tf.Tensor, factor: Callable, time: tf.Tensor) -> tf.Tensor:
        """Scales points along the Gaussian's axes, and what lies across these, by variance."""
        time = time[:, tf.newaxis]
        along = tf.matmul(points, self._axes, transpose_b=True)
        across = points - tf.matmul(along, self._axes)
        scaled = factor(self._variances, time) * along
        return tf.matmul(scaled, self._axes) + factor(self._rest, time) * across

    def by_map(self, points: tf.Tensor) -> dict[int, tf.Tensor]:
        """Points as maps by side: [batch, noise_dim] to [batch, side, side, channels] each."""
        parts = tf.split(points, self._sizes, axis=1)
        return {
            side: tf.reshape(part, (-1, *shape))
            for part, (side, shape) in zip(parts, self._shapes.items(), strict=True)
        }

    def _advanced(self, still: tf.Tensor, time: tf.Tensor, later: tf.Tensor) -> tf.Tensor:
        """How far the network carries points from one time to a later one, both [batch].

        Where the Gaussian alone carries a point is known, however steeply. What is followed, by
        Euler's rule, is the point relative to that, which rests where the network is silent.
        """
        points = self._along_axes(still, _gaussian_spread, time)
        learned = _GUIDANCE * self._learned(points, time)
        return (later - time)[:, tf.newaxis] * self._along_axes(learned, _gaussian_focus, time)

    def _drawn(self, noise: tf.Tensor) -> tf.Tensor:
        """Noise to coordinates, by the midpoint rule."""

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
          noise: [batch, noise_dim], standard normal, and not inside a graph.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          `code` [batch, 4, 4, 17], which the encoder makes w+ latents of, and the spatial latents.
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
    """Standard deviation of points at a time, where portraits are normal with these variances."""
    return tf.sqrt(tf.square(time) * variances + tf.square(1.0 - time))


def _gaussian_focus(variances: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    return 1.0 / _gaussian_spread(variances, time)


def _gaussian_rate(variances: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    """Velocity of such a point as a multiple of it: how fast its spread grows, relative to it."""
    return (time * variances - (1.0 - time)) / tf.square(_gaussian_spread(variances, time))


def _name(side: int) -> str:
    return "code" if side == CODE_SIDE else f"spatial_{side}"
