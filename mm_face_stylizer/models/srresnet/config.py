"""The configuration of an upscaler, and those that have names."""

from __future__ import annotations

import dataclasses

from mm_face_stylizer.errors import InvalidArgumentError

SCALES = (2, 4)
_ACTIVATIONS = ("prelu", "relu")


@dataclasses.dataclass(frozen=True)
class UpscalerConfig:
    """Everything that decides the graph of an upscaler.

    Attributes:
      image_size: Side in pixels of the picture that is enlarged, for exports of the network alone.
        The weights do not depend on it.
      scale: Factor on the side of a picture: 2 or 4.
      channels: Channels of all feature maps.
      blocks: Number of residual blocks.
      end_kernel: Side in pixels of the first and of the last convolution's kernels.
      block_convolutions: 2, as published, or 1, whose activation follows it: more activations at
        the same cost.
      joint: Whether a convolution follows the blocks, to whose result the first convolution's is
        added.
      activation: `prelu`, after the first convolution, in blocks and after each sub-pixel
        convolution, as in SRResNet; or `relu`, in blocks only, as in EDSR.
      normalization: Whether batch normalization follows the convolutions at the small picture's
        resolution, except the first and the sub-pixel convolution.
      residual_scaling: Factor on what a block adds to its input; below 1 it keeps the training of
        wide networks stable (EDSR, section 3.3).
      stride: Stride of the first convolution: 2 works at half the small picture's resolution, at a
        quarter of the cost. It needs `direct`.
      direct: Whether the last convolution computes all sub-pixels of the large picture (Shi et al.,
        2016), without sub-pixel convolutions of features before it.
      interpolated_skip: Whether the network computes the difference to an enlargement instead of
        the picture: the bilinear one; or, where `direct`, that of repeated pixels, which is added
        before pixels are rearranged and costs next to nothing (Du et al., "Anchor-based Plain Net
        for Mobile Image Super-Resolution", 2021).
      latent_rows: Always 0: there is no w+ latent.

    Raises:
      InvalidArgumentError: The scale, the activation or a number is out of its range.
    """

    image_size: int = 128
    scale: int = 2
    channels: int = 64
    blocks: int = 16
    block_convolutions: int = 2
    joint: bool = True
    end_kernel: int = 9
    activation: str = "prelu"
    normalization: bool = True
    residual_scaling: float = 1.0
    stride: int = 1
    direct: bool = False
    interpolated_skip: bool = False
    latent_rows: int = 0

    def __post_init__(self):
        """Checks the values."""
        if self.scale not in SCALES:
            raise InvalidArgumentError(f"scale is {self.scale!r}; it must be 2 or 4")
        if self.activation not in _ACTIVATIONS:
            raise InvalidArgumentError(
                f"activation is {self.activation!r}; it must be one of {', '.join(_ACTIVATIONS)}"
            )
        for name in ("image_size", "channels", "blocks", "end_kernel"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} is {getattr(self, name)}; it must be positive")
        if not 0.0 < self.residual_scaling <= 1.0:
            raise InvalidArgumentError(
                f"residual_scaling is {self.residual_scaling}; it must be above 0 and at most 1"
            )
        if self.block_convolutions not in (1, 2):
            raise InvalidArgumentError(
                f"block_convolutions is {self.block_convolutions!r}; it must be 1 or 2"
            )
        if self.stride not in (1, 2):
            raise InvalidArgumentError(f"stride is {self.stride!r}; it must be 1 or 2")
        if self.stride > 1 and not self.direct:
            raise InvalidArgumentError("stride is 2, which needs direct")

    @property
    def doublings(self) -> int:
        """Number of sub-pixel convolutions of features, each of which doubles the side."""
        return 0 if self.direct else SCALES.index(self.scale) + 1

    @property
    def margin(self) -> int:
        """Distance in small pixels, a multiple of the stride, beyond which none has an effect."""
        end = self.end_kernel // 2
        # The last convolution, unless it is direct, works on the large picture.
        last = end if self.direct else self.doublings + -(-end // self.scale)
        # Before it are the blocks' convolutions and the joint one; before those the first, with a
        # pixel for the interpolation or the stride.
        middle = self.block_convolutions * self.blocks + self.joint
        return self.stride * (middle + last + -(-(end + 1) // self.stride))


_NAMED = {
    # As published, 1.40 M parameters for x2 and 1.55 M for x4.
    "srresnet": UpscalerConfig(),
    # EDSR's baseline, 1.37 M parameters for x2.
    "edsr": UpscalerConfig(end_kernel=3, activation="relu", normalization=False),
    "mobile": UpscalerConfig(
        channels=24,
        blocks=6,
        end_kernel=3,
        activation="relu",
        normalization=False,
        interpolated_skip=True,
    ),
    "fast": UpscalerConfig(
        channels=32,
        blocks=5,
        block_convolutions=1,
        joint=False,
        end_kernel=3,
        activation="relu",
        normalization=False,
        stride=2,
        direct=True,
        interpolated_skip=True,
    ),
}
CONFIGURATIONS = tuple(_NAMED)


def upscaler_config(name: str, scale: int = 2) -> UpscalerConfig:
    """Returns a configuration by name.

    Args:
      name: `srresnet` (Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a
        Generative Adversarial Network", 2017), `edsr` (the baseline of Lim et al., "Enhanced Deep
        Residual Networks for Single Image Super-Resolution", 2017), `mobile`, an EDSR of 0.09 M
        parameters, or `fast`, which works at half the small picture's resolution.
      scale: 2 or 4.

    Raises:
      InvalidArgumentError: There is no configuration of this name, or the scale is another.
    """
    if name not in _NAMED:
        raise InvalidArgumentError(
            f"the network is {name!r}; it must be one of {', '.join(CONFIGURATIONS)}"
        )
    return dataclasses.replace(_NAMED[name], scale=scale)
