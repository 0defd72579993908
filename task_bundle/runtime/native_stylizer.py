"""Runs bundles in MediaPipe's own FaceStylizer task, which exists up to mediapipe 0.10.21."""

from typing import Any

import numpy as np
import numpy.typing as npt

from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError, ForkedProcessError, MissingDependencyError
from task_bundle.faces.region import Region
from task_bundle.forking import check_process, create_task, is_forked
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.silence import first_call_silence, native_errors_afterwards


def has_native_stylizer() -> bool:
    """Returns whether the installed mediapipe has the FaceStylizer task.

    Raises:
      MissingDependencyError: mediapipe is not installed.
    """
    return hasattr(import_mediapipe("mediapipe.tasks.python.vision"), "FaceStylizer")


class NativeStylizer:
    """MediaPipe's own FaceStylizer with arrays as input and output. It must be closed."""

    def __init__(self, bundle: TaskBundle, delegate: Any = None) -> None:
        """Opens a bundle.

        Args:
          bundle: the bundle.
          delegate: a `mediapipe.tasks.BaseOptions.Delegate`; the CPU if None.

        Raises:
          BundleError: MediaPipe cannot open the bundle.
          ForkedProcessError: this process was forked after MediaPipe was used.
          MissingDependencyError: the installed mediapipe has no FaceStylizer.
          NotImplementedError: MediaPipe does not have this delegate on this system.
        """
        self._mediapipe = import_mediapipe()
        self._first_call = first_call_silence()
        if not has_native_stylizer():
            version = getattr(self._mediapipe, "__version__", "installed")
            raise MissingDependencyError(
                f"mediapipe {version} has no FaceStylizer; install mediapipe 0.10.21 (Python 3.12"
                " at most) to run a bundle natively, or use the portable backend"
            )
        tasks = self._mediapipe.tasks
        options = tasks.vision.FaceStylizerOptions(
            base_options=tasks.BaseOptions(model_asset_buffer=bundle.to_bytes(), delegate=delegate)
        )
        try:
            with native_errors_afterwards():
                self._task = create_task(
                    lambda: tasks.vision.FaceStylizer.create_from_options(options)
                )
        except (ForkedProcessError, NotImplementedError):
            raise
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"MediaPipe cannot open the bundle: {error}") from error

    def run(self, photo: npt.NDArray[np.uint8], region: Region) -> npt.NDArray[np.uint8] | None:
        """Stylizes the face with the highest detection score.

        Args:
          photo: [height, width, 3] uint8 RGB.
          region: where to look for the face.

        Returns:
          [side, side, 3] uint8 RGB, or None if no face was found.

        Raises:
          ForkedProcessError: this process was forked after MediaPipe was used.
        """
        check_process()
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(photo)
        )
        with self._first_call():
            result = self._task.stylize(image, region.mediapipe_options(self._mediapipe))
        # Copied, because the view becomes invalid with MediaPipe's image.
        return None if result is None else np.array(result.numpy_view()[..., :3])

    def close(self) -> None:
        """Frees MediaPipe's objects."""
        # In a forked process the task would wait for threads that do not exist there.
        if not is_forked():
            self._task.close()
