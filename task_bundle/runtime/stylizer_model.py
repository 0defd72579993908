"""Runs a bundle's stylizer network in LiteRT."""

import numpy as np
import numpy.typing as npt

from task_bundle.errors import BundleError
from task_bundle.tflite.litert_model import LitertModel
from task_bundle.tflite.metadata import NORM_MEAN, NORM_STD, normalization
from task_bundle.tflite.model import check_stylizer_images


class StylizerModel:
    """A stylizer network, which maps the picture of an aligned face to a stylized picture.

    Attributes:
      input_size: width and height of the network's input, in pixels.
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Loads the network.

        Args:
          model: a TFLite flatbuffer that is safe to load.
          threads: the largest number of threads of a run.

        Raises:
          BundleError: the model fails `check_stylizer_images`, its metadata are damaged, or LiteRT
            cannot run it.
        """
        check_stylizer_images(model)
        mean, std = normalization(model) or ([NORM_MEAN], [NORM_STD])
        self._mean, self._std = np.array(mean, np.float32), np.array(std, np.float32)
        self._model = LitertModel(model, "the stylizer", threads)
        _, height, width, _ = self._model.input_shape
        self.input_size = (width, height)

    def run(self, crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Stylizes an aligned face.

        Args:
          crop: [height, width, 3] uint8 RGB of the network's input size.

        Returns:
          [height, width, 3] uint8 RGB of the network's output size.

        Raises:
          BundleError: the network fails, or its output is not finite.
        """
        return self.to_picture(self.invoke(self.to_values(crop)))

    def to_values(self, crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Normalizes a picture as the metadata specify, the first step of `run`."""
        return (crop.astype(np.float32) - self._mean) / self._std

    def invoke(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Runs the network on normalized pixels, the second step of `run`."""
        (pictures,) = self._model.run(values[None])
        return np.asarray(pictures[0])

    def to_picture(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Converts the network's output to uint8, the last step of `run`. Overwrites `values`."""
        # MediaPipe assumes that outputs are in [0, 1], whatever the metadata say.
        values *= 255.0
        # The sum is not finite if any value is not. This is faster than checking each value.
        if not np.isfinite(values.sum()):
            raise BundleError("the stylizer gives values that are not finite numbers")
        np.rint(values, out=values)
        return np.asarray(np.clip(values, 0.0, 255.0, out=values), np.uint8)
