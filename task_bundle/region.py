"""The part of a photo in which a face is looked for, and how the photo is turned."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

# Points 1/32 pixels apart, 128 to a side: a side of so many pixels has a whole number of 32nds from
# one point to the next.
_GRID = 4


@dataclass(frozen=True)
class Region:
    """What MediaPipe's `ImageProcessingOptions` say about one photo, in its pixels.

    Attributes:
      left: first column.
      top: first row.
      right: the column after the last.
      bottom: the row after the last.
      rotation_degrees: how far the photo must be turned clockwise for faces to be upright; a
        multiple of 90.
    """

    left: int
    top: int
    right: int
    bottom: int
    rotation_degrees: int = 0

    @classmethod
    def from_options(cls, options: Any, height: int, width: int) -> Self:
        """Reads the options of MediaPipe's tasks.

        The edges of a region of interest move by up to four pixels: they and those of the square
        round it become whole, and the square's side a multiple of four. MediaPipe's detector reads
        128 x 128 points of that square, at 32nds of a pixel. Then all of them lie on a 32nd, and
        none depends on the last bit of a computation; face landmarks are so sensitive to it that
        the crop would change by a pixel or two.

        Args:
          options: None, or an object with the attributes of `ImageProcessingOptions`:
            `region_of_interest`, which is None or has `left`, `top`, `right`, `bottom` in [0, 1],
            and `rotation_degrees`.
          height: of the photo, in pixels.
          width: likewise.

        Returns:
          The region; all of the photo where there are no options.

        Raises:
          ValueError: the edges are in no order, or outside the photo, or less than a pixel apart;
            the rotation is no multiple of 90.
        """
        if options is None:
            return cls(0, 0, width, height)
        rotation = options.rotation_degrees
        if rotation % 90:
            raise ValueError(f"rotation_degrees must be a multiple of 90, not {rotation}")
        roi = options.region_of_interest
        if roi is None:
            return cls(0, 0, width, height, int(rotation))
        edges = f"left {roi.left}, top {roi.top}, right {roi.right}, bottom {roi.bottom}"
        if not (0 <= roi.left < roi.right <= 1 and 0 <= roi.top < roi.bottom <= 1):
            raise ValueError(
                f"a region of interest must have 0 <= left < right <= 1 and 0 <= top < bottom <= 1,"
                f" not {edges}"
            )
        if (roi.left, roi.top, roi.right, roi.bottom) == (0, 0, 1, 1):
            return cls(0, 0, width, height, int(rotation))
        columns, rows = (roi.right - roi.left) * width, (roi.bottom - roi.top) * height
        if columns < 1 or rows < 1:
            raise ValueError(
                f"the region of interest has not a pixel of a {width} x {height} photo: {edges}"
            )
        longer = max(columns, rows)
        left, right = _snapped(roi.left * width, roi.right * width, width, columns == longer)
        top, bottom = _snapped(roi.top * height, roi.bottom * height, height, rows == longer)
        return cls(left, top, right, bottom, int(rotation))

    def covers(self, image: npt.NDArray[np.uint8]) -> bool:
        """Returns whether the region is all of a photo of shape [height, width, 3]."""
        height, width = image.shape[:2]
        return (self.left, self.top, self.right, self.bottom) == (0, 0, width, height)

    def cut(
        self, image: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
        """Cuts the region out, turned, so that a detector sees what MediaPipe's graph shows it.

        That extends the region to a square about its centre, with the photo's own pixels where it
        has some and black elsewhere.

        Args:
          image: the photo, [height, width, 3] uint8.

        Returns:
          The cut, [rows, columns, 3] uint8, and the matrix [2, 3] from its pixels to the photo's:
          matrix @ (x, y, 1) of the cut is (x, y) of the photo.
        """
        columns, rows = self.right - self.left, self.bottom - self.top
        side = max(columns, rows)
        left, top = self.left - (side - columns) // 2, self.top - (side - rows) // 2
        turns = self.rotation_degrees // 90 % 4
        # The detector reads the square from its edge on, and coordinates name pixels: turned about
        # its centre, the square's first edge is the one that was last, with the pixels after it.
        first_column, first_row = left + (turns in (2, 3)), top + (turns in (1, 2))
        height, width = image.shape[:2]
        inside = image[
            max(first_row, 0) : min(first_row + side, height),
            max(first_column, 0) : min(first_column + side, width),
        ]
        cut = np.zeros((side, side, 3), np.uint8)
        y, x = max(-first_row, 0), max(-first_column, 0)
        cut[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        right, bottom = left + side, top + side
        matrix = np.array(
            [
                [[1, 0, left], [0, 1, top]],
                [[0, 1, left], [-1, 0, bottom]],
                [[-1, 0, right], [0, -1, bottom]],
                [[0, -1, right], [1, 0, top]],
            ][turns],
            np.float64,
        )
        return np.ascontiguousarray(np.rot90(cut, -turns)), matrix

    def mediapipe_options(self, mediapipe: Any, image: npt.NDArray[np.uint8]) -> Any:
        """Returns the `ImageProcessingOptions` that say the same to a task that takes a region.

        Args:
          mediapipe: the module.
          image: the photo, [height, width, 3].
        """
        height, width = image.shape[:2]
        return mediapipe.tasks.vision.ImageProcessingOptions(
            region_of_interest=None
            if self.covers(image)
            else mediapipe.tasks.components.containers.Rect(
                left=self.left / width,
                top=self.top / height,
                right=self.right / width,
                bottom=self.bottom / height,
            ),
            rotation_degrees=self.rotation_degrees,
        )


def _snapped(first: float, last: float, size: int, longer: bool) -> tuple[int, int]:
    """Returns the edges nearest to those given that are whole and `_GRID` or 2 pixels apart."""
    step = _GRID if longer else 2
    length = max(min(step * round((last - first) / step), size - size % step), 1)
    start = round((first + last - length) / 2)
    start = max(0, min(start, size - length))
    return start, start + length
