"""The stylizers that can be trained."""

from __future__ import annotations

import dataclasses
import enum
import functools
import pathlib
import sys
from typing import Any

from mm_face_stylizer.preset import Preset

_MODEL_MAKERS_SPEC = "mediapipe_model_maker.python.vision.face_stylizer.model_spec"


@dataclasses.dataclass
class ModelSpec:
    """What the rest of the package has to know about a stylizer.

    Attributes:
      style_block_num: number of rows of the latent, one for each modulated convolution.
      input_image_shape: height and width of the input in pixels.
      name: the preset, a name or a folder.
      mean_rgb: subtracted from pixels in [0, 255]; one number for all channels.
      stddev_rgb: divides what is left; with the defaults the input lies in [-1, 1].
    """

    style_block_num: int
    input_image_shape: list[int]
    name: str = ""
    mean_rgb: list[float] = dataclasses.field(default_factory=lambda: [127.5])
    stddev_rgb: list[float] = dataclasses.field(default_factory=lambda: [127.5])

    def __post_init__(self) -> None:
        """Takes copies of the lists, which the specs below would otherwise share."""
        self.input_image_shape = list(self.input_image_shape)
        self.mean_rgb = list(self.mean_rgb)
        self.stddev_rgb = list(self.stddev_rgb)

    @classmethod
    def of_preset(cls, name_or_folder: str | pathlib.Path) -> ModelSpec:
        """The specification of any preset, by its card.

        Args:
          name_or_folder: for instance `blaze_face_stylizer_512`, or a folder that `pretrain` wrote.

        Raises:
          PresetError: there is no such preset, or its card does not say for which pictures it is.
        """
        preset = Preset.find(name_or_folder)
        side = preset.image_size
        return cls(preset.config().latent_rows, [side, side], str(name_or_folder))


blaze_face_stylizer_256_spec = functools.partial(
    ModelSpec,
    style_block_num=12,
    input_image_shape=[256, 256],
    name="blaze_face_stylizer_256",
)

blaze_face_stylizer_512_spec = functools.partial(
    ModelSpec,
    style_block_num=14,
    input_image_shape=[512, 512],
    name="blaze_face_stylizer_512",
)


@enum.unique
class SupportedModels(enum.Enum):
    """The stylizers that can be trained; a member's value makes its `ModelSpec`.

    Attributes:
      BLAZE_FACE_STYLIZER_256: BlazeStyleGAN with 256 x 256 pixels in and out, 12 latent rows.
      BLAZE_FACE_STYLIZER_512: the same with 512 x 512 pixels, 14 latent rows; tuning takes
        about twice as long.
    """

    # `member`, because newer Pythons take a bare partial for a method.
    BLAZE_FACE_STYLIZER_256 = enum.member(blaze_face_stylizer_256_spec)
    BLAZE_FACE_STYLIZER_512 = enum.member(blaze_face_stylizer_512_spec)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Model Maker's enum of the same name where that is loaded, this one otherwise.

        Model Maker asks `isinstance`, which goes by this attribute as well as by the type: so its
        trainer takes these members for its own.
        """
        theirs = sys.modules.get(_MODEL_MAKERS_SPEC)
        return type(self) if theirs is None else theirs.SupportedModels

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickles the member as one of this enum, whatever `__class__` says."""
        return getattr, (type(self), self.name)

    @classmethod
    def get(cls, spec: Any) -> ModelSpec:
        """Returns the specification of a stylizer, a new one at each call.

        Args:
          spec: a member, the member of the same name of Model Maker's own enum, or a `ModelSpec`
            that names its preset.

        Returns:
          The specification.

        Raises:
          TypeError: `spec` is none of these.
        """
        if isinstance(spec, ModelSpec) and spec.name:
            return dataclasses.replace(spec)
        # Model Maker's members are enum members too, of an enum that need not be installed.
        name = spec.name if isinstance(spec, enum.Enum) else ""
        if name not in cls.__members__:
            supported = ", ".join(f"SupportedModels.{member}" for member in cls.__members__)
            raise TypeError(
                f"unsupported face stylizer {spec!r}; supported: {supported}, and "
                "ModelSpec.of_preset(FOLDER)"
            )
        return cls[name].value()
