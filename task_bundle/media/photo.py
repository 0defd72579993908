"""Converts photos from paths, arrays, Pillow and MediaPipe images to RGB arrays."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from task_bundle.errors import ImageError
from task_bundle.media.images import from_pillow, load_image, over_white
from task_bundle.mediapipe_import import import_mediapipe

# Names of MediaPipe's image formats with eight bits per channel.
_MEDIAPIPE_FORMATS = ("SRGB", "SRGBA", "SBGRA", "GRAY8")


def as_photo(image: Any) -> npt.NDArray[np.uint8]:
    """Converts a photo to a uint8 RGB array.

    Gray is converted to RGB, and transparent pixels are blended with white.

    Args:
      image: a path of a picture file, a Pillow image, a `mediapipe.Image`, or a uint8 array of
        shape [height, width], [height, width, 1], [height, width, 3] RGB or [height, width, 4]
        RGBA.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      ImageError: `image` is none of these, its file cannot be read, or it has no pixels.
    """
    if isinstance(image, str | os.PathLike):
        return load_image(Path(image))
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if hasattr(image, "numpy_view"):
        return _from_mediapipe(image)
    if hasattr(image, "getbands"):
        return from_pillow(image)
    raise ImageError(
        "a photo must be a path, a uint8 array, a Pillow image or a mediapipe.Image, not"
        f" {type(image).__name__}"
    )


def _from_array(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if image.dtype != np.uint8:
        raise ImageError(f"a photo must be a uint8 array, not {image.dtype}")
    gray = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
    color = image.ndim == 3 and image.shape[2] in (3, 4)
    if not (gray or color) or image.size == 0:
        raise ImageError(
            "a photo must have shape [height, width] or [height, width, 1, 3 or 4], not"
            f" {list(image.shape)}"
        )
    if gray:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return over_white(image) if image.shape[2] == 4 else image


def _from_mediapipe(image: Any) -> npt.NDArray[np.uint8]:
    formats = import_mediapipe().ImageFormat
    known = {getattr(formats, n): n for n in _MEDIAPIPE_FORMATS if hasattr(formats, n)}
    # MediaPipe 1.x returns the format as an integer, which equals the member of the enum. Objects
    # that have `numpy_view` but no format, such as StylizedFace, contain RGB.
    name = known.get(getattr(image, "image_format", formats.SRGB))
    if name is None:
        raise ImageError(
            f"a mediapipe.Image must have one of the formats {', '.join(_MEDIAPIPE_FORMATS)}, not"
            f" {image.image_format}"
        )
    # The pixels are copied because the view is valid only as long as MediaPipe's image.
    pixels = np.array(image.numpy_view())
    return _from_array(pixels[..., [2, 1, 0, 3]] if name == "SBGRA" else pixels)
