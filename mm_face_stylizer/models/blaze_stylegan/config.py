"""The configuration of a BlazeStyleGAN, and the sizes that follow from it. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import math

from mm_face_stylizer.errors import InvalidArgumentError

# Sides in pixels of the spatial latents that the face prior draws, and that a configuration has by
# default.
COARSE_SPATIAL_SIDES = (8, 16)
# Channels by the side of a block's feature map: a quarter of StyleGAN2's.
_CHANNELS = {4: 128, 8: 128, 16: 128, 32: 128, 64: 64, 128: 32, 256: 16, 512: 8}


def block_count(image_size: int) -> int:
    """Returns the number of synthesis blocks for a square image: one per octave from 8 pixels up.

    Args:
      image_size: Side of the finest image in pixels, a power of two from 32 to 1024.

    Raises:
      ValueError: `image_size` is anything else.
    """
    if image_size not in (32, 64, 128, 256, 512, 1024):
        raise InvalidArgumentError(
            f"image_size must be a power of two from 32 to 1024 pixels, but it is {image_size}."
        )
    return int(math.log2(image_size)) - 2


def latent_rows(image_size: int) -> int:
    """Returns the rows of a w+ latent: one per modulated 3x3 convolution (12 at 256 pixels)."""
    return 2 * block_count(image_size)


def block_channels(side: int, width: float = 1.0) -> int:
    """Returns the channels of the block whose feature map has `side` pixels, scaled by `width`."""
    return max(8, int(_CHANNELS[side] * width))


@dataclasses.dataclass(frozen=True)
class NetworksConfig:
    """What determines the networks' graphs.

    Attributes:
      image_size: Side in pixels of photos and of the finest image.
      spatial_sides: Sides in pixels of the spatial latents that the encoder passes to the synthesis
        network; empty in the published configuration.
      width: Factor on the channels of every network; 1.0 for every released preset.
      mapping_layers: Hidden layers of the mapping network; 8 if it is copied from a teacher.
    """

    image_size: int = 256
    spatial_sides: tuple[int, ...] = COARSE_SPATIAL_SIDES
    width: float = 1.0
    mapping_layers: int = 4

    def __post_init__(self):
        """Converts the list that JSON has for `spatial_sides` to a tuple."""
        object.__setattr__(self, "spatial_sides", tuple(self.spatial_sides))

    @property
    def latent_rows(self) -> int:
        """Rows of the w+ latent, one per modulated 3x3 convolution."""
        return latent_rows(self.image_size)
