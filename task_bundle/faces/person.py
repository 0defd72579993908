"""Tells the person from the background: MediaPipe's selfie segmentation."""

import functools
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from task_bundle.tflite import schema
from task_bundle.tflite.litert_model import LitertModel

_FILE = Path("modules", "selfie_segmentation", "selfie_segmentation.tflite")


class PersonSegmenter:
    """Finds the pixels that show a person. Threads can share one; one call runs at a time."""

    def __init__(self, model: bytes, name: str) -> None:
        """Loads the network.

        Args:
          model: a TFLite network from a picture in [0, 1] to the share of the person in each pixel.
          name: how error messages call the network.

        Raises:
          BundleError: LiteRT cannot run the network.
        """
        self.model = model
        self._network = LitertModel(model, name)
        self._lock = threading.Lock()

    def run(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Finds the person.

        Args:
          picture: [height, width, 3] uint8 RGB.

        Returns:
          The share of the person in each pixel, float32 in [0, 1], of the network's own size.

        Raises:
          BundleError: LiteRT cannot run the network.
        """
        import cv2

        _, height, width, _ = self._network.input_shape
        if picture.shape[:2] != (height, width):
            resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            picture = np.asarray(resized, np.uint8)
        with self._lock:
            (values, *_) = self._network.run(picture[None].astype(np.float32) / np.float32(255))
        return np.asarray(np.clip(values[0, ..., -1], 0, 1), np.float32)


def find_person_segmenter() -> PersonSegmenter | None:
    """Returns the network in the installed mediapipe; None with mediapipe 1.x, which has none."""
    folder = schema.mediapipe_folder()
    path = None if folder is None else folder / _FILE
    return None if path is None or not path.is_file() else _opened(path)


@functools.cache
def _opened(path: Path) -> PersonSegmenter:
    return PersonSegmenter(path.read_bytes(), str(path))
