"""Specifications of the pretrained stylizers that can be fine-tuned."""

from __future__ import annotations

import dataclasses
import enum
import functools
import pathlib
import sys
from typing import Any

from mm_face_stylizer.preset import Preset

_MODEL_MAKER_SPEC_MODULE = "mediapipe_model_maker.python.vision.face_stylizer.model_spec"


@dataclasses.dataclass
class ModelSpec:
    """Specification of a pretrained stylizer.

    Attributes:
      style_block_num: number of rows of the latent, one for each modulated convolution.
      input_image_shape: [height, width] of the input image in pixels.
      name: name of the preset, or its folder.
      mean_rgb: a list of one number, which is subtracted from all channels of the pixels in
        [0, 255].
      stddev_rgb: a list of one number, by which the result is divided. With the defaults, the
        input of the networks is in [-1, 1].
    """

    style_block_num: int
    input_image_shape: list[int]
    name: str = ""
    mean_rgb: list[float] = dataclasses.field(default_factory=lambda: [127.5])
    stddev_rgb: list[float] = dataclasses.field(default_factory=lambda: [127.5])

    def __post_init__(self) -> None:
        """Copies the lists, so that instances made by the partials below do not share them."""
        self.input_image_shape = list(self.input_image_shape)
        self.mean_rgb = list(self.mean_rgb)
        self.stddev_rgb = list(self.stddev_rgb)

    @classmethod
    def of_preset(cls, name_or_folder: str | pathlib.Path) -> ModelSpec:
        """Creates the specification of a preset from its card.

        Args:
          name_or_folder: name of a preset of this package, such as `blaze_face_stylizer_512`, or a
            folder that the `pretrain` command wrote.

        Raises:
          PresetError: the preset does not exist, or its card has no valid `config.image_size`.
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
    """The pretrained stylizers that can be fine-tuned.

    The value of a member is a callable that returns the `ModelSpec`.

    Attributes:
      BLAZE_FACE_STYLIZER_256: BlazeStyleGAN with an input and output of 256 x 256 pixels and 12
        latent rows.
      BLAZE_FACE_STYLIZER_512: BlazeStyleGAN with an input and output of 512 x 512 pixels and 14
        latent rows. Fine-tuning takes about twice as long.
    """

    # `enum.member` is needed because newer Python versions treat a bare partial as a method.
    BLAZE_FACE_STYLIZER_256 = enum.member(blaze_face_stylizer_256_spec)
    BLAZE_FACE_STYLIZER_512 = enum.member(blaze_face_stylizer_512_spec)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Model Maker's enum of the same name if that module is imported, otherwise this enum.

        Model Maker checks its argument with `isinstance`, which looks at this attribute as well as
        at the type. This property makes Model Maker's trainer accept the members of this enum.
        """
        theirs = sys.modules.get(_MODEL_MAKER_SPEC_MODULE)
        return type(self) if theirs is None else theirs.SupportedModels

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickles the member as a member of this enum, regardless of `__class__`."""
        return getattr, (type(self), self.name)

    @classmethod
    def get(cls, spec: Any) -> ModelSpec:
        """Returns the specification of a stylizer; each call returns a new object.

        Args:
          spec: a member of this enum, a member of Model Maker's enum with the same name, or a
            `ModelSpec` whose `name` is not empty.

        Returns:
          The specification.

        Raises:
          TypeError: `spec` is none of these.
        """
        if isinstance(spec, ModelSpec) and spec.name:
            return dataclasses.replace(spec)
        # Members of Model Maker's enum are recognized by their name, because Model Maker may not be
        # installed.
        name = spec.name if isinstance(spec, enum.Enum) else ""
        if name not in cls.__members__:
            supported = ", ".join(f"SupportedModels.{member}" for member in cls.__members__)
            raise TypeError(
                f"unsupported face stylizer {spec!r}; supported: {supported}, and "
                "ModelSpec.of_preset(FOLDER)"
            )
        return cls[name].value()
