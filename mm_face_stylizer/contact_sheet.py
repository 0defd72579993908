"""Contact sheets: pictures in labeled rows, for visual inspection of results."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from task_bundle.media.images import save_png

_MARGIN = 4
_CAPTION_HEIGHT = 22
_CAPTION_COLOR = (60, 60, 60)


@dataclasses.dataclass(frozen=True)
class ContactSheet:
    """A grid of square pictures with an optional caption above each row.

    Attributes:
      rows: Rows of pictures, each uint8 [side, side, 3], RGB in [0, 255]. White fills the rest of a
        row that has fewer pictures than the longest one.
      captions: One line of text per row; an empty string or a missing item means no caption.
    """

    rows: Sequence[Sequence[np.ndarray]]
    captions: Sequence[str] = ()

    def image(self, side: int = 256) -> np.ndarray:
        """Draws the sheet.

        Args:
          side: Side in pixels to which each picture is resized.

        Returns:
          uint8 [height, width, 3], RGB in [0, 255].
        """
        import cv2

        columns = max(len(row) for row in self.rows)
        captions = list(self.captions) + [""] * (len(self.rows) - len(self.captions))
        width = columns * (side + _MARGIN) + _MARGIN
        strips = []
        for row, caption in zip(self.rows, captions, strict=True):
            if caption:
                strip = np.full((_CAPTION_HEIGHT, width, 3), 255, np.uint8)
                cv2.putText(
                    strip,
                    caption,
                    (_MARGIN, _CAPTION_HEIGHT - 6),
                    cv2.FONT_HERSHEY_SIMPLEX,
                    0.5,
                    _CAPTION_COLOR,
                    1,
                    cv2.LINE_AA,
                )
                strips.append(strip)
            strip = np.full((side + _MARGIN, width, 3), 255, np.uint8)
            for index, picture in enumerate(row):
                if picture.shape[:2] != (side, side):
                    picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
                left = _MARGIN + index * (side + _MARGIN)
                strip[:side, left : left + side] = picture
            strips.append(strip)
        return np.concatenate(strips)

    def save(self, path: str | os.PathLike, side: int = 256, overwrite: bool = False) -> None:
        """Writes the sheet as a PNG file, atomically.

        Args:
          path: File to write.
          side: Side in pixels to which each picture is resized.
          overwrite: Whether an existing file may be replaced.

        Raises:
          FileExistsError: The file exists and `overwrite` is False.
        """
        save_png(path, self.image(side), overwrite=overwrite)
