"""Converts the colors of video frames to RGB for ordinary screens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from task_bundle.media.color_tables import conversion_table, convert
from task_bundle.media.images import over_white

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL.ImageFilter import Color3DLUT

# FFmpeg's numbers, which are those of ITU-T H.273.
_UNSPECIFIED = 2
_BT709_MATRIX, _BT601_MATRIX = 1, 5
# The matrices that FFmpeg converts: RGB, BT.709, FCC, BT.601 by two names, SMPTE 240M, BT.2020.
_CONVERTED_MATRICES = frozenset((0, 1, 4, 5, 6, 7, 9))
_UNKNOWN_MATRICES = frozenset((_UNSPECIFIED, 3))
# Players agree that frames that name no matrix are in BT.709 if they have at least this many rows,
# and in BT.601 otherwise.
_HD_ROWS = 720


@dataclass(frozen=True)
class ColorConversion:
    """The conversion of the frames of a video to RGB.

    Attributes:
      problem: a sentence for users if the colors cannot be right, otherwise None.
    """

    _lut: "Color3DLUT | None"
    problem: str | None = None

    @classmethod
    def of(cls, frame: "VideoFrame") -> "ColorConversion":
        """Returns the conversion for all frames of a video, given its first frame."""
        if frame.colorspace not in _CONVERTED_MATRICES | _UNKNOWN_MATRICES:
            # ICtCp, for instance, which films for Dolby Vision use.
            return cls(
                None,
                f"its colors are coded with matrix {frame.colorspace} of ITU-T H.273, which is not"
                " supported: they will be wrong",
            )
        return cls(conversion_table(frame.color_primaries, frame.color_trc))

    def to_rgb(self, frame: "VideoFrame", width: int, height: int) -> npt.NDArray[np.uint8]:
        """Scales a frame and returns it as uint8 RGB, [height, width, 3], over white."""
        from av.video.reformatter import Interpolation

        matrix = None
        if frame.colorspace not in _CONVERTED_MATRICES:
            matrix = _BT709_MATRIX if frame.height >= _HD_ROWS else _BT601_MATRIX
        has_alpha = any(c.is_alpha for c in frame.format.components) or frame.format.has_palette
        converted = frame.reformat(
            width,
            height,
            "rgba" if has_alpha else "rgb24",
            src_colorspace=matrix,
            interpolation=Interpolation.BICUBIC
            | Interpolation.ACCURATE_RND
            | Interpolation.FULL_CHR_H_INT,
        )
        picture = np.asarray(converted.to_ndarray(), np.uint8)
        if self._lut is not None:
            converted_color = convert(picture[..., :3], self._lut)
            picture = np.concatenate([converted_color, picture[..., 3:]], -1)
        return over_white(picture) if has_alpha else picture
