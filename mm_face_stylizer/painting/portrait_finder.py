"""Finds faces and takes them apart: from pictures to portraits."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from mm_face_stylizer.painting.person_mask import PersonMask
from mm_face_stylizer.painting.portrait import Portrait
from task_bundle.errors import ImageError, NoFaceError
from task_bundle.faces.alignment import FaceFinder
from task_bundle.faces.face_models import FaceModels


def find_all(names: Sequence[str], find: Callable[[int], Portrait]) -> list[Portrait]:
    """Finds a portrait in each of several pictures.

    Args:
      names: What to call the pictures in messages.
      find: Finds the portrait in the picture with this index.

    Raises:
      NoFaceError: No face was found in some of them; all of these are named.
    """
    portraits, faceless = [], []
    for index, name in enumerate(names):
        try:
            portraits.append(find(index))
        except NoFaceError:
            faceless.append(name)
    if faceless:
        raise NoFaceError.of(*faceless)
    return portraits


class PortraitFinder:
    """Makes portraits of photos and style pictures. Use it in a `with` statement, or close it."""

    def __init__(
        self,
        face_models: FaceModels | None = None,
        person_model: str | pathlib.Path | None = None,
    ):
        """Loads the models.

        Args:
          face_models: The models that find faces; `find_face_models()` if None.
          person_model: See `PersonMask`.

        Raises:
          BundleError: LiteRT cannot run the person model.
          FaceModelsError: There are no face models.
          OSError: The person model cannot be read.
        """
        self._mask = PersonMask(person_model)
        self._finder = FaceFinder(face_models)

    def find(self, picture: np.ndarray, size: int = 256, name: str = "the picture") -> Portrait:
        """Crops the biggest face of a picture as the runtimes do.

        Args:
          picture: uint8 [height, width, 3].
          size: Side of the portrait in pixels.
          name: What to call the picture in messages.

        Raises:
          ImageError: It is not such an array.
          NoFaceError: No face was found.
        """
        return Portrait.from_photo(picture, self._landmarks(picture, name), self._mask, size)

    def find_aligned(self, picture: np.ndarray, name: str = "the picture") -> Portrait:
        """Takes a picture that is a face crop already, black outside the photo.

        Args:
          picture: uint8 [side, side, 3].
          name: What to call the picture in messages.

        Raises:
          ImageError: It is not such an array.
          NoFaceError: No face was found.
        """
        if picture.shape[0] != picture.shape[1]:
            raise ImageError(f"{name} is no face crop: its shape is {list(picture.shape)}")
        return self.with_landmarks(picture, self._landmarks(picture, name))

    def with_landmarks(
        self, picture: np.ndarray, landmarks: np.ndarray, valid: np.ndarray | None = None
    ) -> Portrait:
        """Takes a face crop whose landmarks are known.

        Args:
          picture: uint8 [side, side, 3].
          landmarks: [>= 468, 2 or 3] in pixels of the picture.
          valid: See `Portrait.from_aligned`.
        """
        return Portrait.from_aligned(picture, landmarks, self._mask, valid)

    def finds_face(self, picture: np.ndarray) -> bool:
        """Whether a face is found in a picture, uint8 [height, width, 3], as it is."""
        return bool(self._finder.find(picture))

    def _landmarks(self, picture: np.ndarray, name: str) -> np.ndarray:
        if faces := self._finder.find_with_margins(picture):
            return faces[0].landmarks[:, :2]
        raise NoFaceError.of(name)

    def close(self) -> None:
        """Frees the models. Closing twice does nothing."""
        self._finder.close()

    def __enter__(self) -> Self:
        """Returns the finder itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the finder."""
        self.close()
