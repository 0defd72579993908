"""The configuration of the face swapping networks."""

from __future__ import annotations

import dataclasses
from typing import Any

from mm_face_stylizer.errors import InvalidArgumentError


@dataclasses.dataclass(frozen=True)
class FaceSwapConfig:
    """Everything that decides the graphs of the networks.

    Attributes:
      image_size: Side of the pictures in pixels, a multiple of 32. The weights do not depend on it.
      channels: Channels after each of the five downsampling layers; published: 32 to 512.
      head: Channels of the two layers of the head before the picture; published: 8 and 3.
      mask: Channels of the five layers that make the mask.
      texture: Channels of the three maps that are made of the person's texture, for the layers at
        a 16th, an eighth and a quarter of the side; none, as published, if empty.
      skip: Whether the head also gets the photo, for detail that halved pictures do not have; the
        published network does not.
      masked: Whether the mask mixes face and photo; without it, the network makes all pixels.
      predicted: Whether the kernels of depthwise convolutions depend on the person.
      modulated: Whether the kernels of pointwise convolutions depend on the person.
      width: Channels of the layers that predict kernels.
      latent_rows: Always 0: there is no w+ latent.

    Raises:
      InvalidArgumentError: A number is out of its range.
    """

    image_size: int = 256
    channels: tuple[int, ...] = (32, 64, 128, 256, 512)
    head: tuple[int, ...] = (8, 3)
    mask: tuple[int, ...] = (128, 64, 32, 8, 2)
    texture: tuple[int, ...] = ()
    skip: bool = False
    masked: bool = True
    predicted: bool = True
    modulated: bool = True
    width: int = 256
    latent_rows: int = 0

    def __post_init__(self):
        """Checks the values; lists, as JSON has them, become tuples."""
        for name, count in (("channels", 5), ("mask", 5), ("head", 2)):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != count or min(getattr(self, name)) < 1:
                raise InvalidArgumentError(
                    f"{name} is {getattr(self, name)}; it must be {count} positive numbers"
                )
        object.__setattr__(self, "texture", tuple(self.texture))
        if len(self.texture) not in (0, 3) or min(self.texture, default=1) < 1:
            raise InvalidArgumentError(
                f"texture is {self.texture}; it must be empty or three positive numbers"
            )
        if self.image_size < 32 or self.image_size % 32:
            raise InvalidArgumentError(
                f"image_size is {self.image_size}; it must be a multiple of 32"
            )
        if self.width < 1:
            raise InvalidArgumentError(f"width is {self.width}; it must be positive")

    @property
    def layers(self) -> tuple[tuple[int, int, int], ...]:
        """Kernel side, inputs and outputs of each dynamic layer, from the first to the last.

        A layer is a depthwise convolution, of this kernel, and a pointwise one. The first five
        halve the side, the other four come after an upsampling.
        """
        coarse, middle, fine = self.texture or (0, 0, 0)
        first, second, third, fourth, last = self.channels
        down = ((3, first), (first, second), (second, third), (third, fourth), (fourth, last))
        up = (
            (last, fourth),
            (2 * fourth + coarse, third),
            (2 * third + middle, second),
            (2 * second + fine, first),
        )
        return tuple((4, *pair) for pair in down) + tuple((3, *pair) for pair in up)


# What differs from the published network: it knows the texture, and a head of more channels sees
# the photo.
FINE: dict[str, Any] = {"head": (16, 8), "skip": True, "texture": (64, 32, 16)}
