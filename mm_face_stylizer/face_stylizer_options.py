"""Options of `FaceStylizer.create`."""

import dataclasses

from mm_face_stylizer.hyperparameters import HParams
from mm_face_stylizer.model_options import FaceStylizerModelOptions
from mm_face_stylizer.model_spec import ModelSpec, SupportedModels


@dataclasses.dataclass
class FaceStylizerOptions:
    """Options of `FaceStylizer.create`, which reads them and leaves them as they are.

    Model Maker's own objects serve as well as this package's: only their attributes count.

    Attributes:
      model: the stylizer to train, or `ModelSpec.of_preset(folder)` for a preset of one's own.
      model_options: options of the stylizer and its losses; the defaults if None.
      hparams: hyperparameters of training; the defaults if None.

    Raises:
      TypeError: `model` is not a supported stylizer.
    """

    model: SupportedModels | ModelSpec
    model_options: FaceStylizerModelOptions | None = None
    hparams: HParams | None = None

    def __post_init__(self) -> None:
        """Checks the model now rather than after the pictures have been read."""
        SupportedModels.get(self.model)
