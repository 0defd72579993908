"""Options of `FaceStylizer.create`."""

import dataclasses

from mm_face_stylizer.hyperparameters import HParams
from mm_face_stylizer.model_options import FaceStylizerModelOptions
from mm_face_stylizer.model_spec import ModelSpec, SupportedModels


@dataclasses.dataclass
class FaceStylizerOptions:
    """Options of `FaceStylizer.create`, which does not modify them.

    The values may also be objects of `mediapipe_model_maker`, because only their attributes are
    read.

    Attributes:
      model: the pretrained stylizer to fine-tune: a member of `SupportedModels`, or
        `ModelSpec.of_preset(folder)` for a preset in a folder.
      model_options: options of the stylizer and its losses; `FaceStylizerModelOptions()` if None.
      hparams: hyperparameters of the fine-tuning; `HParams()` if None.

    Raises:
      TypeError: `model` is not a supported stylizer.
    """

    model: SupportedModels | ModelSpec
    model_options: FaceStylizerModelOptions | None = None
    hparams: HParams | None = None

    def __post_init__(self) -> None:
        """Checks the model early, before any images are read."""
        SupportedModels.get(self.model)
