"""The part of a photo in which a face is looked for, and how the photo is turned."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from task_bundle.errors import InvalidArgumentError


@dataclass(frozen=True)
class Region:
    """What MediaPipe's `ImageProcessingOptions` say about one photo, in parts of its sides.

    Attributes:
      left: of the region, from 0, the photo's left edge, to 1, its right one.
      top: likewise, downwards.
      right: as `left`, and greater.
      bottom: as `top`, and greater.
      rotation_degrees: how far the photo must be turned clockwise for faces to be upright; a
        multiple of 90.
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0
    rotation_degrees: int = 0

    @classmethod
    def from_options(cls, options: Any, height: int, width: int) -> Self:
        """Reads the options of MediaPipe's tasks.

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
            return cls()
        rotation = options.rotation_degrees
        if rotation % 90:
            raise InvalidArgumentError(f"rotation_degrees must be a multiple of 90, not {rotation}")
        roi = options.region_of_interest
        if roi is None:
            return cls(rotation_degrees=int(rotation))
        edges = f"left {roi.left}, top {roi.top}, right {roi.right}, bottom {roi.bottom}"
        if not (0 <= roi.left < roi.right <= 1 and 0 <= roi.top < roi.bottom <= 1):
            raise InvalidArgumentError(
                f"a region of interest must have 0 <= left < right <= 1 and 0 <= top < bottom <= 1,"
                f" not {edges}"
            )
        if (roi.right - roi.left) * width < 1 or (roi.bottom - roi.top) * height < 1:
            raise InvalidArgumentError(
                f"the region of interest has not a pixel of a {width} x {height} photo: {edges}"
            )
        return cls(roi.left, roi.top, roi.right, roi.bottom, int(rotation))

    @property
    def is_all(self) -> bool:
        """Whether the region is all of the photo."""
        return (self.left, self.top, self.right, self.bottom) == (0, 0, 1, 1)

    def cut(
        self, image: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
        """Cuts the region out, turned, for a task that takes none.

        As in MediaPipe's graph the region is extended to a square about its centre, with the
        photo's own pixels where it has some and black elsewhere; its edges become whole pixels.

        Args:
          image: the photo, [height, width, 3] uint8.

        Returns:
          The cut, [rows, columns, 3] uint8, and the matrix [2, 3] from its pixels to the photo's:
          matrix @ (x, y, 1) of the cut is (x, y) of the photo.
        """
        height, width = image.shape[:2]
        left, columns = _whole_pixels(self.left, self.right, width)
        top, rows = _whole_pixels(self.top, self.bottom, height)
        side = max(columns, rows)
        left, top = left - (side - columns) // 2, top - (side - rows) // 2
        turns = self.rotation_degrees // 90 % 4
        # The detector reads the square from its edge on, and coordinates name pixels: turned about
        # its centre, the square's first edge is the one that was last, with the pixels after it.
        first_column, first_row = left + (turns in (2, 3)), top + (turns in (1, 2))
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

    def mediapipe_options(self, mediapipe: Any) -> Any:
        """Returns the `ImageProcessingOptions` that say the same to a task that takes a region.

        Args:
          mediapipe: the module.
        """
        return mediapipe.tasks.vision.ImageProcessingOptions(
            region_of_interest=None
            if self.is_all
            else mediapipe.tasks.components.containers.Rect(
                left=self.left, top=self.top, right=self.right, bottom=self.bottom
            ),
            rotation_degrees=self.rotation_degrees,
        )


def _whole_pixels(first: float, last: float, size: int) -> tuple[int, int]:
    """Returns the first whole pixel of a part of a side, and how many there are, one at least."""
    start = min(round(first * size), size - 1)
    return start, max(round(last * size) - start, 1)
