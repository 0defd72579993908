"""The configuration of a translator: widths and depth as data, and configurations with names."""

from __future__ import annotations

import dataclasses
from typing import Any

from mm_face_stylizer.errors import InvalidArgumentError

# The two convolutions after the stem quarter the side.
_QUARTERED = 4
_STRIDES = (1, 2)


@dataclasses.dataclass(frozen=True)
class TranslatorConfig:
    """Everything that decides the graph of a translator.

    Attributes:
      image_size: Side in pixels of the input and output, a multiple of 4 times the stride. The
        weights do not depend on it.
      stem: Channels of the first convolution, 7 x 7.
      down: Channels of the two strided convolutions. The second number is that of the trunk, which
        all residual blocks read and write.
      blocks: Channels between the two convolutions of each residual block; their number is the
        depth.
      up: Channels of the two convolutions after an upsampling.
      last_kernel: Side in pixels of the last convolution's kernel. It has three outputs, for which
        processors take as long as for eight or sixteen; 7, as published, can take a third of the
        time of a small network.
      stride: Stride of the first convolution. With 2, all layers work at half the side, at a
        quarter of the cost, and the last convolution computes the four pixels of each place (Shi et
        al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
        Convolutional Neural Network", 2016).
      fields: Number of fields along each side of the picture whose mean colors the layers after an
        upsampling are told, because instance normalization forgets them; 0 for none. A side must be
        a multiple of it.
      attention: Number of residual blocks before the class-activation attention; None if there is
        no attention.
      latent_rows: Always 0: there is no w+ latent.

    Raises:
      InvalidArgumentError: A number is out of its range.
    """

    image_size: int = 256
    stem: int = 64
    down: tuple[int, int] = (128, 256)
    blocks: tuple[int, ...] = (256,) * 9
    up: tuple[int, int] = (128, 64)
    last_kernel: int = 7
    stride: int = 1
    fields: int = 0
    attention: int | None = None
    latent_rows: int = 0

    def __post_init__(self):
        """Makes tuples of JSON's lists, and checks the values."""
        for name, count in (("down", 2), ("blocks", None), ("up", 2)):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            if count not in (None, len(values)) or min(values, default=1) < 1:
                raise InvalidArgumentError(
                    f"{name} is {list(values)}; it must be {count or 'any number of'} positive "
                    "numbers of channels"
                )
        for name in ("stem", "last_kernel"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} is {getattr(self, name)}; it must be positive")
        if self.stride not in _STRIDES:
            raise InvalidArgumentError(f"stride is {self.stride!r}; it must be 1 or 2")
        multiple = _QUARTERED * self.stride
        if self.image_size < 16 or self.image_size % multiple:
            raise InvalidArgumentError(
                f"image_size is {self.image_size}; it must be a multiple of {multiple}, at least 16"
            )
        if self.fields < 0 or (self.fields and self.image_size % self.fields):
            raise InvalidArgumentError(
                f"fields is {self.fields}; it must be 0 or divide the side, {self.image_size}"
            )
        if self.attention is not None and not 0 <= self.attention <= len(self.blocks):
            raise InvalidArgumentError(
                f"attention is {self.attention}; it must be from 0 to the number of blocks, "
                f"{len(self.blocks)}"
            )

    @classmethod
    def of_width(cls, width: int, blocks: int, **options: Any) -> TranslatorConfig:
        """Returns the configuration in which one number decides all widths, as published.

        Args:
          width: Channels of the stem; the trunk has four times as many.
          blocks: Number of residual blocks.
          **options: The other attributes of the class.
        """
        return cls(
            stem=width,
            down=(2 * width, 4 * width),
            blocks=(4 * width,) * blocks,
            up=(2 * width, width),
            **options,
        )

    def widths(self) -> dict[str, int]:
        """Returns the channels of every layer whose width can be chosen, by the layer's name."""
        return {
            "stem": self.stem,
            "down0": self.down[0],
            "trunk": self.down[1],
            **{f"block{index}": width for index, width in enumerate(self.blocks)},
            "up0": self.up[0],
            "up1": self.up[1],
        }


_NAMED = {
    "cyclegan9": TranslatorConfig.of_width(64, 9),
    "cyclegan6": TranslatorConfig.of_width(64, 6),
    "mobile": TranslatorConfig.of_width(24, 6, last_kernel=3, attention=3),
    "small": TranslatorConfig.of_width(16, 4, last_kernel=3, attention=2),
    "fast": TranslatorConfig.of_width(24, 6, last_kernel=3, stride=2, fields=4, attention=3),
}
CONFIGURATIONS = tuple(_NAMED)


def translator_config(name: str, image_size: int = 256) -> TranslatorConfig:
    """Returns a configuration by name.

    Args:
      name: `cyclegan9` or `cyclegan6`, the generators of Zhu et al., "Unpaired Image-to-Image
        Translation using Cycle-Consistent Adversarial Networks" (2017), for 256 and 128 px;
        `mobile`, of width 24 with 6 blocks and class-activation attention; `small`, of width 16
        with 4; or `fast`, which is `mobile` at half the side, and is told the picture's colors.
      image_size: Side of the pictures in pixels.

    Raises:
      InvalidArgumentError: There is no configuration of this name, or the side is not possible.
    """
    if name not in _NAMED:
        raise InvalidArgumentError(
            f"the network is {name!r}; it must be one of {', '.join(CONFIGURATIONS)}"
        )
    return dataclasses.replace(_NAMED[name], image_size=image_size)
