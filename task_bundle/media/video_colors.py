"""Converts the colors of video frames to RGB for ordinary screens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

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
_BT2020, _DCI_P3, _DISPLAY_P3 = 9, 11, 12
_PQ, _HLG = 16, 18
# Players agree that frames that name no matrix are in BT.709 if they have at least this many rows,
# and in BT.601 otherwise.
_HD_ROWS = 720

# Linear RGB to linear RGB of BT.709. The first is from ITU-R BT.2087, the second has the same
# derivation from the primaries of SMPTE EG 432-1.
_TO_BT709 = {
    _BT2020: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    _DISPLAY_P3: ((1.2249, -0.2249, 0.0), (-0.0421, 1.0421, 0.0), (-0.0196, -0.0786, 1.0983)),
}
_TO_BT709[_DCI_P3] = _TO_BT709[_DISPLAY_P3]
# ITU-R BT.2100: the nominal peak of HLG and that of PQ in candelas per square meter.
_HLG_PEAK, _PQ_PEAK = 1000.0, 10000.0
# Brightest PQ light in candelas per square meter that is distinguished from white. Most films are
# mastered on displays with this peak.
_PEAK = 1000.0
# ITU-R BT.2408: the brightness of white paper in HDR videos; white on ordinary screens.
_REFERENCE_WHITE = 203.0
# ITU-R BT.1886: the gamma of ordinary video.
_GAMMA = 2.4
# Linear light above this share of white is compressed, so that highlights keep their shape.
_KNEE = 0.8
_LUT_SIDE = 65


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
        transfer, primaries = frame.color_trc, frame.color_primaries
        if frame.colorspace not in _CONVERTED_MATRICES | _UNKNOWN_MATRICES:
            # ICtCp, for instance, which films for Dolby Vision use.
            return cls(
                None,
                f"its colors are coded with matrix {frame.colorspace} of ITU-T H.273, which is not"
                " supported: they will be wrong",
            )
        if transfer in (_HLG, _PQ) and primaries == _UNSPECIFIED:
            primaries = _BT2020
        if transfer not in (_HLG, _PQ) and primaries not in _TO_BT709:
            return cls(None)
        return cls(_lut(transfer, primaries))

    def to_rgb(self, frame: "VideoFrame", width: int, height: int) -> npt.NDArray[np.uint8]:
        """Scales a frame and returns it as uint8 RGB, [height, width, 3], over white."""
        from av.video.reformatter import Interpolation
        from PIL import Image

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
            color = np.ascontiguousarray(picture[..., :3])
            converted_color = np.asarray(Image.fromarray(color).filter(self._lut), np.uint8)
            picture = np.concatenate([converted_color, picture[..., 3:]], -1)
        return over_white(picture) if has_alpha else picture


def _lut(transfer: int, primaries: int) -> "Color3DLUT":
    """Returns a table from RGB in the given transfer function and primaries to BT.709."""
    from PIL.ImageFilter import Color3DLUT

    levels = np.linspace(0.0, 1.0, _LUT_SIDE)
    # Blue changes slowest in Pillow's tables: [blue, green, red, channel].
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    signal = np.stack([red, green, blue], -1)
    is_hdr = transfer in (_HLG, _PQ)
    if transfer == _HLG:
        light = _hlg_light(signal) / _REFERENCE_WHITE
    elif transfer == _PQ:
        light = _pq_light(signal) / _REFERENCE_WHITE
    else:
        light = signal**_GAMMA
    light = np.maximum(light @ np.transpose(_TO_BT709.get(primaries, np.eye(3))), 0.0)
    if is_hdr:
        light = _compress(light)
    return Color3DLUT(_LUT_SIDE, np.clip(light, 0.0, 1.0).ravel() ** (1 / _GAMMA))


def _hlg_light(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the light that a display shows for HLG, in cd/m2, by ITU-R BT.2100."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return np.asarray(_HLG_PEAK * luminance[..., None] ** 0.2 * scene)


def _pq_light(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the light that a display shows for PQ, in cd/m2, by ITU-R BT.2100."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = signal ** (1 / m2)
    return np.asarray(_PQ_PEAK * (np.maximum(power - c1, 0.0) / (c2 - c3 * power)) ** (1 / m1))


def _compress(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Compresses highlights to at most 1 without changing hues (Reinhard et al., 2002)."""
    brightest = np.maximum(light.max(-1, keepdims=True), 1e-9)
    end = (_PEAK / _REFERENCE_WHITE - _KNEE) / (1 - _KNEE)
    over = np.clip((brightest - _KNEE) / (1 - _KNEE), 0.0, end)
    curved = _KNEE + (1 - _KNEE) * over * (1 + over / end**2) / (1 + over)
    return np.asarray(light * np.where(brightest > _KNEE, curved / brightest, 1.0))
