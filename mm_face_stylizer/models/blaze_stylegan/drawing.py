"""A synthesis network that has learned to draw, and the codes of the styles that it knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from mm_face_stylizer._keras import keras
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.blaze_stylegan.config import NetworksConfig
from mm_face_stylizer.models.blaze_stylegan.generator import Synthesis, copied
from mm_face_stylizer.models.blaze_stylegan.growth import (
    grown_synthesis_weights,
    with_rows_of_a_block,
)
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.mapping import LATENT_DIM
from mm_face_stylizer.models.pair_discriminator import PairDiscriminator
from mm_face_stylizer.models.weights import assign_weights, named_weights

# Name of the style whose pictures are the photos themselves. Every drawing network knows it.
PHOTO_STYLE = "photo"
_CODES = "codes"
_PART, _DISCRIMINATOR = "synthesis", "discriminator"


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A synthesis network that draws photos in several styles.

    Attributes:
      styles: Names of the styles.
      synthesis: Maps the latents of a photo, with the code of a style added to w+, to a pyramid of
        pictures.
      codes: Code of each style, float32 [styles, rows, 512].
      discriminator: The discriminator that the network was trained against, with which the training
        of another style continues; None if there is none.
    """

    styles: tuple[str, ...]
    synthesis: Synthesis
    codes: np.ndarray
    discriminator: PairDiscriminator | None = None

    def code(self, style: str) -> np.ndarray:
        """Returns the code of a style, float32 [rows, 512].

        Raises:
          ValueError: The network does not know the style.
        """
        if style not in self.styles:
            raise InvalidArgumentError(
                f"style is {style!r}; the preset knows {', '.join(self.styles)}"
            )
        return self.codes[self.styles.index(style)]

    def stylizer(self, networks: Networks, code: np.ndarray) -> Networks:
        """Returns the networks of a stylizer of one style, whose code is added to the mean latent.

        Args:
          networks: The networks of the preset that this network belongs to.
          code: Code of the style, [rows, 512].
        """
        return dataclasses.replace(
            networks, synthesis=self.synthesis, w_avg=np.asarray(networks.w_avg) + code
        )

    @classmethod
    def untrained(cls, networks: Networks) -> Drawing:
        """Returns a drawing network that has only the style `PHOTO_STYLE`.

        Args:
          networks: Networks of a preset without a drawing network; they are not changed.
        """
        codes = np.zeros((1, *networks.w_avg.shape[1:]), np.float32)
        return cls((PHOTO_STYLE,), copied(networks.synthesis, noise=True), codes)

    def grown(self, networks: Networks) -> Drawing:
        """Returns a network for pictures of twice the side that draws the same, a little softer.

        Args:
          networks: Networks of a preset of twice the side, whose encoder finds the same latents.
        """
        synthesis = copied(networks.synthesis, noise=True)
        variables = named_weights(synthesis)
        own = {name: value.numpy() for name, value in named_weights(self.synthesis).items()}
        fresh = {name: value.numpy() for name, value in variables.items()}
        mean = np.asarray(networks.w_avg)[0, -1]
        side = self.synthesis.image_size
        for name, value in grown_synthesis_weights(own, fresh, side, mean).items():
            variables[name].assign(value)
        codes = with_rows_of_a_block(self.codes)
        return Drawing(self.styles, synthesis, codes, self.discriminator)

    def only(self, style: str) -> Drawing:
        """Returns this network with only one of its styles.

        Raises:
          ValueError: The network does not know the style.
        """
        code = self.code(style)[np.newaxis]
        if self.discriminator is None:
            return Drawing((style,), self.synthesis, code)
        index = self.styles.index(style)
        return Drawing((style,), self.synthesis, code, self.discriminator.only(index))

    def between(self, other: Drawing, share: float) -> Drawing:
        """Interpolates linearly between the weights of this network and of one trained from it.

        The interpolated networks draw pictures between those of the two networks.

        Args:
          other: A network of the same size and with as many styles.
          share: Weight of the other network, in [0, 1].
        """
        synthesis = copied(other.synthesis)
        own = named_weights(self.synthesis)
        for name, variable in named_weights(synthesis).items():
            variable.assign(share * variable + (1.0 - share) * own[name])
        return Drawing(other.styles, synthesis, share * other.codes + (1.0 - share) * self.codes)

    def weights(self) -> dict[str, np.ndarray]:
        """Returns all weights by name, float32, including the codes."""
        parts = {_PART: self.synthesis, _DISCRIMINATOR: self.discriminator}
        weights = {_CODES: self.codes}
        for part, network in parts.items():
            if network is not None:
                own = named_weights(network)
                weights |= {f"{part}/{name}": variable.numpy() for name, variable in own.items()}
        return weights

    @classmethod
    def from_weights(
        cls, config: NetworksConfig, styles: tuple[str, ...], weights: Mapping[str, np.ndarray]
    ) -> Drawing:
        """Builds a drawing network and assigns its weights.

        Args:
          config: Configuration of the preset's networks.
          styles: Names of the styles.
          weights: Weights as `weights` returns them, in any float precision.

        Raises:
          ValueError: A weight is missing, left over, or of the wrong shape.
        """
        shape = (len(styles), config.latent_rows, LATENT_DIM)
        if _CODES not in weights or weights[_CODES].shape != shape:
            raise ValueError(f"The weight {_CODES} of the shape {shape} is missing.")
        synthesis = Synthesis(config.image_size, width=config.width, noise=True)
        synthesis.build()
        parts: dict[str, keras.Model] = {_PART: synthesis}
        discriminator = None
        if any(name.startswith(f"{_DISCRIMINATOR}/") for name in weights):
            discriminator = parts[_DISCRIMINATOR] = PairDiscriminator(len(styles))
            discriminator.build()
        assign_weights(parts, weights, others=(_CODES,))
        codes = np.asarray(weights[_CODES], np.float32)
        return cls(tuple(styles), synthesis, codes, discriminator)
