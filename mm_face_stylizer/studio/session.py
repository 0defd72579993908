"""What one open page of the studio has, beside what its components show."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from typing import Any

from mm_face_stylizer.studio.makings import Making

PAINTING, MINE, READY = "painting", "mine", "ready:"
# Shown first, on the sample photo.
FIRST_STYLE = "oil"
# Gradio's page is given its pictures in less.
_RESTORED_SECONDS = 5.0


@dataclasses.dataclass
class Watch:
    """A stylizer that a page watches while it is made.

    Attributes:
      making: What is watched.
      bar: The progress as the page shows it.
      step: The step of the picture that the page shows; 0 before the first.
    """

    making: Making
    bar: str = ""
    step: int = 0


@dataclasses.dataclass
class Session:
    """What one open page has.

    Attributes:
      look: `PAINTING`, `MINE` or `READY` and the name of a style.
      likeness: What the user chose; None for what suits the style.
      bundle: The stylizer that was made; None before.
      watch: The stylizer that is being made; None if none is.
      wishes: Number of pictures that were asked for: only the last one is shown.
      given: Photo, style pictures and colors, as they were last.
      awaits: Names of pictures that the page is being given, and until when; None if it is not.
    """

    look: str = f"{READY}{FIRST_STYLE}"
    likeness: float | None = None
    bundle: pathlib.Path | None = None
    watch: Watch | None = None
    wishes: int = 0
    given: tuple[str | None, Any, str] = (None, None, "style")
    awaits: tuple[Any, float] | None = None

    def restore(self) -> None:
        """Begins to await that the page shows what is `given`."""
        photo, styles, _ = self.given
        self.awaits = _names(photo, styles), time.monotonic() + _RESTORED_SECONDS

    def is_restored(self, photo: str | None, styles: Any) -> bool:
        """Whether pictures were changed by `restore`, one part at a time, and not by the user.

        Args:
          photo: The photo.
          styles: The style pictures, as Gradio's gallery has them.
        """
        if self.awaits is None:
            return False
        names, deadline = self.awaits
        if _names(photo, styles) == names or time.monotonic() < deadline:
            return True
        self.awaits = None
        return False


def paths_of(gallery: Any) -> list[pathlib.Path]:
    """Files of a gallery's pictures, which come with captions."""
    return [pathlib.Path(path) for path, _ in gallery or []]


def _names(photo: str | None, styles: Any) -> tuple[Any, ...]:
    """What tells pictures from others, of which Gradio makes copies."""
    return photo and pathlib.Path(photo).name, [path.name for path in paths_of(styles)]
