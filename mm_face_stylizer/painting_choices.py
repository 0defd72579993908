"""Choices of a user about the paintings that a stylizer learns from."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from mm_face_stylizer.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mm_face_stylizer.painting.portrait import Portrait
    from task_bundle.faces.face_models import FaceModels

_COLORS = ("style", "photo")
# More faces teach little more in a hundred steps, and take as long to paint as to learn.
_MOST_FACES = 40


@dataclasses.dataclass(frozen=True)
class PaintingChoices:
    """How practice faces are painted; `mm-face-stylizer paint` shows the result in seconds.

    Attributes:
      likeness: From 0, the style's own features, to 1, the photo's light and shade; chosen from the
        style pictures if None.
      colors: `style`, or `photo` for each person's own colors of skin, hair and clothes.
      practice: Folder of photos of faces to practice on; the package's own if None.

    Raises:
      ValueError: A value is out of range.
    """

    likeness: float | None = None
    colors: str = "style"
    practice: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        """Checks the values."""
        if self.likeness is not None and not 0.0 <= self.likeness <= 1.0:
            raise InvalidArgumentError(
                f"likeness is {self.likeness!r}; it must be a number from 0 to 1"
            )
        if self.colors not in _COLORS:
            raise InvalidArgumentError(
                f"colors is {self.colors!r}; it must be one of {', '.join(_COLORS)}"
            )

    def practice_faces(self, size: int, face_models: FaceModels) -> list[Portrait]:
        """Loads the faces to practice on.

        Args:
          size: Side of the portraits in pixels.
          face_models: The models that find faces.

        Raises:
          ImageError: A photo of the folder cannot be read.
          NoFaceError: Too few photos of the folder show a face.
          OSError: The folder cannot be read.
        """
        from mm_face_stylizer.practice_faces import faces_of_folder, practice_faces

        if self.practice is None:
            return practice_faces(size, _MOST_FACES, face_models)
        return faces_of_folder(self.practice, size, _MOST_FACES, face_models)
