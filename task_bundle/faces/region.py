"""The region of a photo in which faces are searched, and the rotation of the photo."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from task_bundle.errors import InvalidArgumentError


@dataclass(frozen=True)
class Region:
    """A region of interest and a rotation, as in MediaPipe's `ImageProcessingOptions`.

    Coordinates are relative to the size of the photo: 0 is its left or top edge, 1 its right or
    bottom edge.

    Attributes:
      left: left edge of the region.
      top: top edge of the region.
      right: right edge of the region, greater than `left`.
      bottom: bottom edge of the region, greater than `top`.
      rotation_degrees: by how much the photo must be rotated clockwise so that faces are upright; a
        multiple of 90.
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0
    rotation_degrees: int = 0

    @classmethod
    def from_options(cls, options: Any, height: int, width: int) -> Self:
        """Makes a region of MediaPipe's image processing options.

        Args:
          options: None, or an object with the attributes of `ImageProcessingOptions`:
            `region_of_interest`, which is None or has `left`, `top`, `right`, `bottom` in [0, 1],
            and `rotation_degrees`.
          height: the height of the photo, in pixels.
          width: the width of the photo, in pixels.

        Returns:
          The region; the whole photo if there are no options.

        Raises:
          InvalidArgumentError: the edges are in the wrong order, outside the photo or less than a
            pixel apart, or the rotation is not a multiple of 90.
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
        """Whether the region is the whole photo."""
        return (self.left, self.top, self.right, self.bottom) == (0, 0, 1, 1)

    def cut(
        self, image: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
        """Crops and rotates the region, for tasks that do not accept a region of interest.

        As in MediaPipe's graph the region is extended to a square around its center, with pixels of
        the photo where it has some and black elsewhere. The edges are rounded to whole pixels.

        Args:
          image: the photo, [height, width, 3] uint8.

        Returns:
          The cropped picture, [side, side, 3] uint8, and the matrix, [2, 3] float64, from its
          coordinates to the photo's: matrix @ (x, y, 1) in the crop is (x, y) in the photo.
        """
        height, width = image.shape[:2]
        left, columns = _whole_pixels(self.left, self.right, width)
        top, rows = _whole_pixels(self.top, self.bottom, height)
        side = max(columns, rows)
        left, top = left - (side - columns) // 2, top - (side - rows) // 2
        turns = self.rotation_degrees // 90 % 4
        # The detector samples the square from its first edge on, at integer coordinates. After a
        # rotation the first edge is a former last edge, which belongs to the next pixels.
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
        """Converts the region to MediaPipe's `ImageProcessingOptions`.

        Args:
          mediapipe: the imported `mediapipe` module.

        Returns:
          The options, for tasks that accept a region of interest.
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
    """Rounds a relative interval to pixels; returns the first pixel and their number (>= 1)."""
    start = min(round(first * size), size - 1)
    return start, max(round(last * size) - start, 1)
