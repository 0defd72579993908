"""What a user asks of a long training, whatever is trained. Imports TensorFlow only when used."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mm_face_stylizer.training.card import Provenance
    from mm_face_stylizer.training.portraits import Portraits
    from mm_face_stylizer.training.run import TrainingRun
    from task_bundle.faces.face_models import FaceModels


@dataclasses.dataclass(frozen=True)
class RunRequest:
    """The data, the place and the name of a training, as the command line gives them.

    Attributes:
      data: Folder of aligned portraits.
      output: Folder of the run: checkpoints, logs, the cache of decoded portraits and the result.
      name: Name of the result, which is also the name of its folder inside `output`.
      command: Command line, for the result's card.
      data_list: CSV file that says where the portraits come from, with the columns file, source and
        licence; None if there is none.
      distribution: Name of the `Distribution`, such as `mirrored`.
      face_landmarker: Bundle from which the face models are taken; None looks for installed ones.
    """

    data: pathlib.Path
    output: pathlib.Path
    name: str
    command: str
    data_list: pathlib.Path | None = None
    distribution: str = "off"
    face_landmarker: pathlib.Path | None = None

    @property
    def result_folder(self) -> pathlib.Path:
        """Folder that the result is written to."""
        return self.output / self.name

    def replicas(self) -> AbstractContextManager[Any]:
        """Returns the scope in which the training must be built to run on the chosen replicas.

        Enter it before TensorFlow does anything else.

        Raises:
          ValueError: The replicas that were asked for are not configured.
        """
        from mm_face_stylizer.training.distribution import Distribution

        return Distribution.named(self.distribution).scope()

    def portraits(self, side: int) -> Portraits:
        """Opens the portraits; the chief decodes them first, for workers that share its folder.

        Args:
          side: Side in pixels to which portraits are resized.

        Raises:
          ValueError: The folder holds too few portraits.
          ImageError: A portrait cannot be read.
        """
        from mm_face_stylizer.training.distribution import Distribution
        from mm_face_stylizer.training.portraits import Portraits

        with Distribution.current().chief_first():
            return Portraits(self.data, self.output / "cache", side)

    def face_models(self) -> FaceModels:
        """Finds the face detector and the landmark model.

        Raises:
          FaceModelsError: There are none.
        """
        from task_bundle.faces.face_models import find_face_models

        return find_face_models(self.face_landmarker)

    def provenance(self, start: dict[str, Any] | None = None) -> Provenance:
        """Returns what the result's card says about its origin.

        Call it before the training, after which the checkout may be at another commit.

        Args:
          start: Card of the preset that the training starts from, None if it starts from noise.

        Raises:
          OSError: The data list cannot be read.
          ValueError: The data list is not such a CSV file.
        """
        from mm_face_stylizer.training.card import Provenance, running_commit

        return Provenance(
            name=self.name,
            command=self.command,
            commit=running_commit(),
            data_list=self.data_list,
            start=start,
        )

    def train(self, run: TrainingRun, release: Callable[[], object]) -> None:
        """Trains to the end, lets the chief write the result, and prints the result's folder.

        Args:
          run: The training.
          release: Writes the result into `result_folder`.
        """
        run.run()
        with run.distribution.chief_first():
            if run.distribution.is_chief:
                release()
                sys.stdout.write(f"{self.result_folder}\n")
