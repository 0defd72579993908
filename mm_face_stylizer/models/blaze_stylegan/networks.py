"""All networks of a BlazeStyleGAN together: what a preset has and few-shot training starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.blaze_stylegan.config import COARSE_SPATIAL_SIDES, NetworksConfig
from mm_face_stylizer.models.blaze_stylegan.encoder import (
    EncoderConfig,
    build_encoder,
    latent_of_code,
)
from mm_face_stylizer.models.blaze_stylegan.face_prior import FacePrior
from mm_face_stylizer.models.blaze_stylegan.generator import Synthesis
from mm_face_stylizer.models.blaze_stylegan.growth import grown_weights
from mm_face_stylizer.models.blaze_stylegan.inference import Stylizer
from mm_face_stylizer.models.mapping import LATENT_DIM, MappingNetwork
from mm_face_stylizer.models.patch_discriminator import Discriminator
from mm_face_stylizer.models.weights import (
    W_AVG,
    assign_weights,
    joined_weights,
    without_initializers,
)
from mm_face_stylizer.pixels import from_pixels, to_pixels

_PARTS = ("encoder", "synthesis", "mapping", "prior", "discriminator")
# Scale of the noise that the face prior gets. Closer to the mean than portraits lie, fewer of the
# faces are malformed.
_PRIOR_SCALE = 0.75
# Faces that the prior draws at once; its maps are small.
_PRIOR_BATCH = 32
# Side in pixels up to which the coarse latents determine a face. Faces drawn from them alone have a
# grid of artifacts in finer detail.
_COARSE_DETAIL_SIDE = 64
# Photos encoded or drawn at once. Larger batches are no faster on CPUs, and their feature maps take
# hundreds of megabytes.
_BATCH = 4


@dataclasses.dataclass(frozen=True)
class Networks:
    """Encoder, synthesis network, mapping network, face prior, discriminator and mean latent.

    Attributes:
      config: What the networks were built from.
      encoder: Photo [batch, side, side, 3] in [-1, 1] to latents without `w_avg`.
      synthesis: Latents to a pyramid of images, roughly in [-1, 1].
      mapping: Noise to w+ latents.
      prior: Noise to the encoder's code and spatial latents.
      discriminator: Image to logits.
      w_avg: Mean latent, float32 [1, rows, 512]; a variable while it is trained.
    """

    config: NetworksConfig
    encoder: keras.Model
    synthesis: Synthesis
    mapping: MappingNetwork
    prior: FacePrior
    discriminator: Discriminator
    w_avg: np.ndarray | tf.Variable

    @classmethod
    def build(cls, config: NetworksConfig, conv_dtype: str = "float32") -> Networks:
        """Builds untrained networks; the global seed decides their weights.

        Args:
          config: What to build.
          conv_dtype: Precision of the synthesis network's convolutions, `float32` or `bfloat16`.
        """
        rows = config.latent_rows
        encoder = build_encoder(
            EncoderConfig(
                input_size=max(64, config.image_size),
                image_size=config.image_size,
                spatial_sides=config.spatial_sides,
                width=config.width,
                synthesis_width=config.width,
            )
        )
        synthesis = Synthesis(config.image_size, width=config.width, conv_dtype=conv_dtype)
        mapping = MappingNetwork(rows, config.mapping_layers)
        # The prior does not draw the finer spatial latents, which would need most of its weights.
        # `generated_latents` encodes the drawn faces again, and gets those latents from the
        # encoder.
        drawn = [side for side in config.spatial_sides if side in COARSE_SPATIAL_SIDES]
        prior = FacePrior(drawn, config.width)
        discriminator = Discriminator(config.width)
        for network in (synthesis, mapping, prior, discriminator):
            network.build()
        w_avg = np.zeros((1, rows, LATENT_DIM), np.float32)
        return cls(config, encoder, synthesis, mapping, prior, discriminator, w_avg)

    def latents(self, photos: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """Encodes photos to what `synthesis` takes.

        Args:
          photos: [batch, side, side, 3] in [-1, 1].
          training: Whether batch normalization uses the statistics of this batch and updates its
            moving ones.

        Returns:
          `inputs` with `w_avg` added, and the spatial latents if there are any.
        """
        latents = dict(self.encoder(photos, training=training))
        return latents | {"inputs": latents["inputs"] + self.w_avg}

    def random_latents(self, count: int, seed: int) -> tf.Tensor:
        """Returns w+ latents of random faces from the mapping network, [count, rows, 512]."""
        noise = np.random.default_rng(seed).standard_normal((count, LATENT_DIM))
        return self.mapping([tf.constant(noise, tf.float32), tf.zeros((count, 0))])

    def generated_latents(self, count: int, seed: int) -> dict[str, np.ndarray]:
        """Draws latents of random faces.

        Args:
          count: Number of faces.
          seed: Seed of the noise.

        Returns:
          The inputs of `synthesis` by name, [count, ...] each.
        """
        return joined(list(self._generated(count, seed)))

    def _generated(self, count: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
        """Yields batches of what `generated_latents` returns."""
        for drawn in self._drawn(count, seed):
            faces = _softened(self.synthesis(drawn)["image"][-1])
            # Encoding the faces again gives latents distributed like those of photos.
            latents = self.latents(tf.clip_by_value(faces, -1.0, 1.0))
            yield {name: value.numpy() for name, value in latents.items()}

    def _drawn(self, count: int, seed: int) -> Iterator[dict[str, tf.Tensor]]:
        """Yields batches of what the prior draws, as inputs of `synthesis`."""
        random = np.random.default_rng(seed)
        for start in range(0, count, _PRIOR_BATCH):
            size = (min(_PRIOR_BATCH, count - start), self.prior.noise_dim)
            drawn = self.prior(_PRIOR_SCALE * random.standard_normal(size, np.float32))
            w_plus = latent_of_code(self.encoder, drawn.pop("code")) + self.w_avg
            drawn |= {"inputs": w_plus}
            for row in range(0, size[0], _BATCH):
                yield rows_of(drawn, slice(row, row + _BATCH))

    def generated_faces(self, count: int, seed: int) -> np.ndarray:
        """Draws random faces.

        Args:
          count: Number of faces.
          seed: Seed of the noise.

        Returns:
          float32 [count, side, side, 3] in [-1, 1].
        """
        return np.concatenate(list(self.generated_batches(count, seed)))

    def generated_batches(self, count: int, seed: int) -> Iterator[np.ndarray]:
        """Yields batches of what `generated_faces` returns."""
        for latents in self._generated(count, seed):
            yield np.clip(self.synthesis(latents)["image"][-1], -1.0, 1.0)

    def reconstruct(
        self, photos: np.ndarray, spatial: bool = True, finest: int | None = None
    ) -> np.ndarray:
        """Encodes photos and synthesizes them again.

        Args:
          photos: uint8 [count, side, side, 3].
          spatial: Whether the spatial latents are used.
          finest: Side in pixels of the result, the network's own if None.

        Returns:
          uint8 [count, finest, finest, 3].
        """
        results = []
        for start in range(0, len(photos), _BATCH):
            latents = self.latents(from_pixels(photos[start : start + _BATCH]))
            if not spatial:
                latents = {"inputs": latents["inputs"]}
            image = self.synthesis(latents, finest=finest)["image"][-1]
            results.append(to_pixels(image.numpy()))
        return np.concatenate(results)

    def inference(self) -> Stylizer:
        """The inference graph, a model that `mm_face_stylizer.export` takes."""
        return Stylizer(self.encoder, self.synthesis, self.w_avg)

    def calibration_pictures(self) -> np.ndarray:
        """Returns generated faces to calibrate int8 with, float32 [32, side, side, 3] in [0, 1]."""
        return (self.generated_faces(32, seed=0) + 1.0) / 2.0

    def weights(self) -> dict[str, np.ndarray]:
        """Returns all weights by network and layer, float32, including `w_avg`."""
        return joined_weights(self._parts(), self.w_avg)

    @classmethod
    def from_weights(cls, config: NetworksConfig, weights: Mapping[str, np.ndarray]) -> Networks:
        """Builds networks and fills them.

        Args:
          config: What to build.
          weights: As `weights()` gives them, of any float precision.

        Raises:
          ValueError: A weight is missing, left over, or of the wrong shape.
        """
        with without_initializers():
            networks = cls.build(config)
        return networks._filled(weights)

    def assign(self, other: Networks) -> Networks:
        """Copies the weights of other networks into these networks' variables.

        Args:
          other: Networks of the same configuration.

        Returns:
          These networks, with the other's `w_avg`.

        Raises:
          ValueError: The configurations differ.
        """
        if other.config != self.config:
            raise ValueError(f"Weights of {other.config} do not fit {self.config}.")
        return self._filled(other.weights())

    def with_spatial_latents(self, sides: Sequence[int]) -> Networks:
        """Returns new networks with other spatial latents that start from these weights.

        Added spatial latents are zero at first, so that the pictures stay the same unless some are
        removed. The face prior is untrained if the spatial latents that it draws differ.

        Args:
          sides: Sides of the spatial latents.

        Raises:
          ValueError: The encoder has no maps of such a side.
        """
        config = dataclasses.replace(self.config, spatial_sides=tuple(sides))
        fresh = Networks.build(config)
        own = self.weights()
        if fresh.prior.spatial_sides != self.prior.spatial_sides:
            # The prior draws all of its latents jointly, so its weights fit one set of them only.
            own = {name: value for name, value in own.items() if not name.startswith("prior/")}
        return fresh._filled(
            {name: own.get(name, value) for name, value in fresh.weights().items()}
        )

    def with_image_size(self, image_size: int) -> Networks:
        """Returns new networks of twice the side that start from these weights.

        The coarser heads draw the pictures that these networks draw for the photo downsampled by
        area averaging; the new head draws the finest of those upsampled, a little softer.

        Args:
          image_size: Side in pixels of photos and of the new finest image.

        Raises:
          ValueError: The side is not twice these networks' own, or that is below 128.
        """
        own = self.config.image_size
        if image_size != 2 * own:
            raise InvalidArgumentError(
                f"Networks for {own} px can grow to {2 * own} px, but image_size is {image_size}."
            )
        config = dataclasses.replace(self.config, image_size=image_size)
        fresh = Networks.build(config)
        return fresh._filled(grown_weights(self.weights(), fresh.weights(), own))

    def _parts(self) -> dict[str, keras.Model]:
        return {part: getattr(self, part) for part in _PARTS}

    def _filled(self, weights: Mapping[str, np.ndarray]) -> Networks:
        """Assigns weights to these networks' variables, and returns them with the mean latent."""
        assign_weights(self._parts(), weights)
        return dataclasses.replace(self, w_avg=weights[W_AVG].astype(np.float32))


def _softened(images: tf.Tensor) -> tf.Tensor:
    """Removes the detail that the coarse latents do not determine."""
    side = images.shape[1]
    if side <= _COARSE_DETAIL_SIDE:
        return images
    factor = side // _COARSE_DETAIL_SIDE
    return tf.image.resize(
        tf.nn.avg_pool2d(images, factor, factor, "VALID"), (side, side), "bicubic"
    )


def joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Concatenates the latents of several batches, name by name."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows_of(latents: Mapping[str, np.ndarray], rows: slice | np.ndarray) -> dict[str, np.ndarray]:
    """Selects rows of latents, name by name; the inverse of `joined`."""
    return {name: value[rows] for name, value in latents.items()}
