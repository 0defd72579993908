"""The stylizers that can be trained."""

import dataclasses
import enum
import functools
import sys
from typing import Any

_MODEL_MAKERS_SPEC = "mediapipe_model_maker.python.vision.face_stylizer.model_spec"


@dataclasses.dataclass
class ModelSpec:
    """What the rest of the package has to know about a stylizer.

    Attributes:
      style_block_num: number of rows of the latent, one for each modulated convolution.
      input_image_shape: height and width of the input in pixels.
      name: the stylizer's name.
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


blaze_face_stylizer_256_spec = functools.partial(
    ModelSpec,
    style_block_num=12,
    input_image_shape=[256, 256],
    name="blaze_face_stylizer_256",
)


@enum.unique
class SupportedModels(enum.Enum):
    """The stylizers that can be trained; a member's value makes its `ModelSpec`.

    Attributes:
      BLAZE_FACE_STYLIZER_256: BlazeStyleGAN with 256 x 256 pixels in and out, 12 latent rows.
    """

    # `member`, because newer Pythons take a bare partial for a method.
    BLAZE_FACE_STYLIZER_256 = enum.member(blaze_face_stylizer_256_spec)

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
          spec: a member, or the member of the same name of Model Maker's own enum.

        Returns:
          The specification.

        Raises:
          TypeError: `spec` is neither.
        """
        # Model Maker's members are enum members too, of an enum that need not be installed.
        name = spec.name if isinstance(spec, enum.Enum) else ""
        if name not in cls.__members__:
            supported = ", ".join(f"SupportedModels.{member}" for member in cls.__members__)
            raise TypeError(f"unsupported face stylizer {spec!r}; supported: {supported}")
        return cls[name].value()
