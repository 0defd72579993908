"""Tables from the colors of HDR screens and of large color spaces to those of ordinary screens."""

import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.ImageFilter import Color3DLUT

# Numbers of ITU-T H.273.
_UNSPECIFIED = 2
_BT2020, _DCI_P3, _DISPLAY_P3 = 9, 11, 12
_PQ, _HLG = 16, 18

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


@functools.lru_cache(maxsize=8)
def conversion_table(primaries: int, transfer: int) -> "Color3DLUT | None":
    """Returns a table from RGB in a color space to that of ordinary screens.

    Args:
      primaries: number of the primaries in ITU-T H.273.
      transfer: number of the transfer function there.

    Returns:
      The table, for `convert`; None if the colors are, or are taken to be, those of ordinary
      screens.
    """
    from PIL.ImageFilter import Color3DLUT

    if transfer in (_HLG, _PQ) and primaries == _UNSPECIFIED:
        primaries = _BT2020
    if transfer not in (_HLG, _PQ) and primaries not in _TO_BT709:
        return None
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


def convert(picture: npt.NDArray[np.uint8], table: "Color3DLUT") -> npt.NDArray[np.uint8]:
    """Returns a picture, [height, width, 3] uint8 RGB, in the colors of ordinary screens."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).filter(table), np.uint8)


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
