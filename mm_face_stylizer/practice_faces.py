"""Faces that a stylizer practices on: the package's own, or a folder of the user's.

The package's are pictures that the preset drew of synthetic portraits: they show nobody who exists.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import pathlib

from mm_face_stylizer.held_out import PICTURE_SUFFIXES
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from task_bundle.errors import NoFaceError
from task_bundle.faces.face_models import FaceModels
from task_bundle.media.images import load_image

_SHEET, _CARD = "practice_faces.jpg", "practice_faces.json"
_LEAST = 8


def practice_faces(size: int, count: int, face_models: FaceModels | None = None) -> list[Portrait]:
    """The package's practice faces.

    Args:
      size: Side of the portraits in pixels.
      count: How many; all if there are fewer.
      face_models: The models that find faces; `find_face_models()` if None.

    Returns:
      Portraits, always the same ones in the same order.
    """
    import cv2

    folder = importlib.resources.files("mm_face_stylizer").joinpath("presets")
    side = json.loads(folder.joinpath(_CARD).read_text(encoding="utf-8"))["side"]
    with importlib.resources.as_file(folder.joinpath(_SHEET)) as path:
        sheet = load_image(path)
    rows, columns = (length // side for length in sheet.shape[:2])
    tiles = sheet.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    portraits = []
    with PortraitFinder(face_models) as finder:
        for tile in tiles:
            if len(portraits) == count:
                break
            picture = cv2.resize(tile, (size, size), interpolation=cv2.INTER_AREA)
            # Face models other than those that the sheet was made with may miss one.
            with contextlib.suppress(NoFaceError):
                portraits.append(finder.find_aligned(picture))
    return portraits


def faces_of_folder(
    folder: str | os.PathLike[str], size: int, count: int, face_models: FaceModels | None = None
) -> list[Portrait]:
    """Practice faces of the user's own.

    Args:
      folder: Photos, each with a face; those without one are passed over.
      size: Side of the portraits in pixels.
      count: How many to take at most, in the order of names.
      face_models: The models that find faces; `find_face_models()` if None.

    Raises:
      ImageError: A photo cannot be read.
      NoFaceError: There are fewer than eight photos with a face.
      OSError: The folder cannot be read.
    """
    files = sorted(
        path for path in pathlib.Path(folder).iterdir() if path.suffix.lower() in PICTURE_SUFFIXES
    )
    portraits: list[Portrait] = []
    with PortraitFinder(face_models) as finder:
        for file in files:
            if len(portraits) == count:
                break
            with contextlib.suppress(NoFaceError):
                portraits.append(finder.find(load_image(file), size))
    if len(portraits) < _LEAST:
        raise NoFaceError(
            f"{folder} has {len(portraits)} pictures in which a face is found; practicing takes at "
            f"least {_LEAST}"
        )
    return portraits
