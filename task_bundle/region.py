"""The part of a photo in which a face is looked for, and how the photo is turned."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt


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

        The edges are rounded to whole pixels. Where a face is found depends on the last bit of the
        region's coordinates, in MediaPipe's own graph too, so a fraction of a pixel would only be
        another throw of the dice.

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
        region = cls(
            round(roi.left * width),
            round(roi.top * height),
            round(roi.right * width),
            round(roi.bottom * height),
            int(rotation),
        )
        if region.left == region.right or region.top == region.bottom:
            raise ValueError(
                f"the region of interest has no pixels of a {width} x {height} photo: {edges}"
            )
        return region

    def covers(self, image: npt.NDArray[np.uint8]) -> bool:
        """Returns whether the region is all of a photo of shape [height, width, 3]."""
        height, width = image.shape[:2]
        return (self.left, self.top, self.right, self.bottom) == (0, 0, width, height)

    def cut(
        self, image: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], tuple[float, float]]:
        """Cuts the region out so that a face detector sees what MediaPipe's graph shows it.

        That extends the region to a square about its centre, with the photo's own pixels where it
        has some and black elsewhere. The cut is a pixel less where the square's edges would lie
        between pixels: MediaPipe adds that much again.

        Args:
          image: the photo, [height, width, 3] uint8.

        Returns:
          The cut, [rows, columns, 3] uint8, and the photo's (x, y) at which its first pixel lies.
        """
        if self.covers(image):
            return image, (0.0, 0.0)
        height, width = image.shape[:2]
        columns, rows = self.right - self.left, self.bottom - self.top
        side = max(columns, rows)
        left, top = self.left - (side - columns) // 2, self.top - (side - rows) // 2
        right, bottom = self.right + (side - columns) // 2, self.bottom + (side - rows) // 2
        inside = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        before = (max(-top, 0), max(-left, 0))
        cut = np.zeros((bottom - top, right - left, 3), np.uint8)
        cut[before[0] : before[0] + inside.shape[0], before[1] : before[1] + inside.shape[1]] = (
            inside
        )
        return cut, (float(left), float(top))

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
