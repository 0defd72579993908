"""Choices of a user about the paintings that a stylizer learns from."""

from __future__ import annotations

import dataclasses
import os

from mm_face_stylizer.errors import InvalidArgumentError

COLORS = ("style", "photo")
# Ways to paint what a translator learns from.
PAINTERS = ("patches", "flat")


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
        if self.colors not in COLORS:
            raise InvalidArgumentError(
                f"colors is {self.colors!r}; it must be one of {', '.join(COLORS)}"
            )
