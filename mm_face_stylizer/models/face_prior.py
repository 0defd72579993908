"""The face prior: a little noise to all latents of a face that does not exist.

The mapping network knows w+ latents alone, and pictures from those are soft. What tuning needs are
faces with hair, light and expression, so this draws spatial latents with them. Linear, along the
principal components of encoded portraits: latents that vary together are drawn together, and 64
numbers cannot tell any one portrait.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.blaze_stylegan import (
    COARSE_SPATIAL_SIDES,
    LATENT_DIM,
    block_channels,
    latent_rows,
)

NOISE_DIM = 64


class FacePrior(keras.Model):
    """Gaussian noise to latents, `w_avg` included.

    Attributes:
      image_size: Side of the synthesis network's finest image in pixels.
      spatial_sides: Sides of the spatial latents that are drawn.
      width: The synthesis network's width.
    """

    def __init__(
        self,
        image_size: int = 256,
        spatial_sides: Sequence[int] = COARSE_SPATIAL_SIDES,
        width: float = 1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.image_size = image_size
        self.spatial_sides = tuple(spatial_sides)
        self.width = width
        # Rows in pairs, as the encoder has them.
        self._shapes = {"inputs": (latent_rows(image_size) // 2, LATENT_DIM)}
        for side in self.spatial_sides:
            self._shapes[f"spatial_{side}"] = (side, side, block_channels(side, width))
        self._outputs = {
            name: keras.layers.Dense(int(np.prod(shape)), name=name)
            for name, shape in self._shapes.items()
        }

    def build(self, input_shape=None):
        """Creates all weights."""
        self.built = True
        self(tf.zeros((1, NOISE_DIM)))

    def fit_latents(self, latents: dict[str, np.ndarray]) -> float:
        """Sets mean and axes from latents of portraits.

        Args:
          latents: What `Networks.latents` gives, by name, [count, ...] each; those that are not
            drawn do not matter.

        Returns:
          The share of the latents' variance that the axes keep, each kind of latent counting alike.
        """
        parts = {
            name: np.reshape(value[:, ::2] if name == "inputs" else value, (len(value), -1))
            for name, value in latents.items()
            if name in self._shapes
        }
        means = {name: part.mean(axis=0) for name, part in parts.items()}
        scales = {
            name: np.sqrt(np.square(part - means[name]).sum(axis=1).mean())
            for name, part in parts.items()
        }
        joined = np.concatenate(
            [(parts[name] - means[name]) / scales[name] for name in self._shapes], axis=1
        )
        # Through the small side: as many portraits as there are, not forty thousand numbers each.
        values, vectors = np.linalg.eigh(joined @ joined.T)
        kept = slice(-1, -NOISE_DIM - 1, -1)
        count = min(NOISE_DIM, len(joined))
        axes = np.zeros((NOISE_DIM, joined.shape[1]), np.float32)
        # Rows of the right singular vectors times singular values: one standard deviation each.
        axes[:count] = vectors[:, kept][:, :count].T @ joined / np.sqrt(len(joined))
        start = 0
        for name, layer in self._outputs.items():
            size = layer.units
            layer.kernel.assign(axes[:, start : start + size] * scales[name])
            layer.bias.assign(means[name])
            start += size
        return float(values[kept].sum() / values.sum())

    def call(self, noise: tf.Tensor, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Draws latents.

        Args:
          noise: [batch, 64], standard normal.
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          What the synthesis network takes: `inputs` [batch, rows, 512], and the spatial latents.
        """
        del training
        latents = {
            name: tf.reshape(layer(noise), (-1, *self._shapes[name]))
            for name, layer in self._outputs.items()
        }
        return latents | {"inputs": tf.repeat(latents["inputs"], 2, axis=1)}

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            "image_size": self.image_size,
            "spatial_sides": self.spatial_sides,
            "width": self.width,
        }
