"""Practice faces: the portraits that a stylizer is trained on, from the package or from the user.

The package contains pictures that the preset generated; they show no real people. A folder of
photos may be used instead.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os

import numpy as np

from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from task_bundle.errors import NoFaceError
from task_bundle.faces.face_models import FaceModels
from task_bundle.media.folders import list_files
from task_bundle.media.images import load_image

_SHEET, _CARD = "practice_faces.jpg", "practice_faces.json"
_CALIBRATION_PICTURES = 32
_MIN_FACES = 8
_CHECKED_SIZE = 64


def practice_pictures(size: int, count: int | None = None) -> np.ndarray:
    """Loads the pictures of the practice faces, without looking for the faces in them.

    Args:
      size: Side of the pictures in pixels.
      count: Number of pictures; all if None.

    Returns:
      uint8 [count, size, size, 3], RGB in [0, 255], always in the same order.
    """
    import cv2

    folder = importlib.resources.files("mm_face_stylizer").joinpath("presets")
    side = json.loads(folder.joinpath(_CARD).read_text(encoding="utf-8"))["side"]
    with importlib.resources.as_file(folder.joinpath(_SHEET)) as path:
        sheet = load_image(path)
    rows, columns = (length // side for length in sheet.shape[:2])
    tiles = sheet.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    return np.stack(
        [cv2.resize(tile, (size, size), interpolation=cv2.INTER_AREA) for tile in tiles[:count]]
    )


def calibration_pictures(size: int) -> np.ndarray:
    """Returns practice faces to quantize networks with, float32 [32, size, size, 3] in [0, 1]."""
    return practice_pictures(size, _CALIBRATION_PICTURES).astype(np.float32) / 255.0


def practice_faces(size: int, count: int, face_models: FaceModels | None = None) -> list[Portrait]:
    """Loads the practice faces that come with the package.

    Args:
      size: Side of the portraits in pixels.
      count: Maximum number of portraits.
      face_models: The models that find faces; `find_face_models()` if None.

    Returns:
      At most `count` portraits, always in the same order. Faces that the face models do not find
      are skipped.
    """
    portraits = []
    with PortraitFinder(face_models) as finder:
        for picture in practice_pictures(size):
            if len(portraits) == count:
                break
            # The sheet was made with one version of the face models; others may miss a face.
            with contextlib.suppress(NoFaceError):
                portraits.append(finder.find_aligned(picture))
    return portraits


def faces_of_folder(
    folder: str | os.PathLike[str], size: int, count: int, face_models: FaceModels | None = None
) -> list[Portrait]:
    """Loads practice faces from a folder of photos.

    Args:
      folder: Folder of photos; photos in which no face is found are skipped.
      size: Side of the portraits in pixels.
      count: Maximum number of portraits; files are read in the order of their names.
      face_models: The models that find faces; `find_face_models()` if None.

    Raises:
      ImageError: A photo cannot be read.
      NoFaceError: A face is found in fewer than eight photos.
      OSError: The folder cannot be read.
    """
    files = list_files(folder)
    portraits: list[Portrait] = []
    with PortraitFinder(face_models) as finder:
        for file in files:
            if len(portraits) == count:
                break
            with contextlib.suppress(NoFaceError):
                portraits.append(finder.find(load_image(file), size))
    if len(portraits) < _MIN_FACES:
        raise NoFaceError(
            f"training needs faces in at least {_MIN_FACES} pictures of {folder}, which has"
            f" {len(portraits)}"
        )
    return portraits


def check_faces_of_folder(
    folder: str | os.PathLike[str], face_models: FaceModels | None = None
) -> None:
    """Checks that a folder has enough faces; looks at no more of them.

    Args:
      folder: See `faces_of_folder`, which raises the same exceptions.
      face_models: The models that find faces; `find_face_models()` if None.
    """
    faces_of_folder(folder, _CHECKED_SIZE, _MIN_FACES, face_models)
