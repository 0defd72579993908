"""Running a bundle in MediaPipe's own FaceStylizer."""

import os
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError
from task_bundle.images import check_image
from task_bundle.mediapipe_import import import_mediapipe


class FaceStylizer:
    """Google's FaceStylizer task with a bundle, for arrays.

    A context manager; MediaPipe's objects must be closed explicitly.
    """

    def __init__(self, native: Any) -> None:
        """Wraps a `mediapipe.tasks.python.vision.FaceStylizer`."""
        self._native = native
        self._mediapipe = import_mediapipe()

    @classmethod
    def create_from_model_path(cls, path: str | os.PathLike[str]) -> Self:
        """Opens a bundle file.

        Args:
          path: the `.task` file.

        Returns:
          The stylizer.

        Raises:
          BundleError: the file is no bundle of a face stylizer.
          ImportError: the installed mediapipe has no FaceStylizer; 0.10.21 is the last that has.
          OSError: the file cannot be read.
        """
        return cls.create_from_bundle(TaskBundle.open(path))

    @classmethod
    def create_from_bundle(cls, bundle: TaskBundle) -> Self:
        """Opens a bundle in memory, as `create_from_model_path` does."""
        vision = import_mediapipe("mediapipe.tasks.python.vision")
        if not hasattr(vision, "FaceStylizer"):
            version = getattr(import_mediapipe(), "__version__", "installed")
            raise ImportError(
                f"mediapipe {version} has no FaceStylizer; install mediapipe 0.10.21 (Python 3.12"
                " at most) to run a bundle natively"
            )
        base = import_mediapipe("mediapipe.tasks.python.core.base_options")
        options = vision.FaceStylizerOptions(
            base_options=base.BaseOptions(model_asset_buffer=bundle.to_bytes())
        )
        try:
            return cls(vision.FaceStylizer.create_from_options(options))
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"MediaPipe cannot open the bundle: {error}") from error

    def stylize(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
        """Stylizes the face of a photo.

        Args:
          image: [height, width, 3] uint8 RGB.

        Returns:
          [side, side, 3] uint8 RGB, or None if there is no face.

        Raises:
          ImageError: the array is no such image.
        """
        check_image(image)
        photo = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image)
        )
        result = self._native.stylize(photo)
        # A copy: the view belongs to MediaPipe's image.
        return None if result is None else result.numpy_view()[..., :3].copy()

    def close(self) -> None:
        """Frees MediaPipe's objects."""
        self._native.close()

    def __enter__(self) -> Self:
        """Returns the stylizer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the stylizer."""
        self.close()
