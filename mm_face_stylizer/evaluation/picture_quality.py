"""How close one picture is to another, and how sharp: one number a pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]

# MS-SSIM's window has 11 pixels, and must fit into the smallest scale.
_WINDOW = 11
# Weights of the scales, finest first: Wang, Simoncelli and Bovik (2003), section 3.2.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_BATCH = 16


def psnr(photos: Pictures, pictures: Pictures) -> Numbers:
    """Peak signal-to-noise ratio.

    Args:
      photos: uint8 [count, side, side, 3].
      pictures: uint8 of the same shape.

    Returns:
      dB, [count]; 108.1 for equal pictures, where it would be infinite.
    """
    pairs = zip(photos, pictures, strict=True)
    squared = [np.square(a.astype(np.float32) - b.astype(np.float32)).mean() for a, b in pairs]
    ratios = 255.0**2 / np.maximum(np.array(squared, np.float64), 1e-6)
    return np.asarray(10.0 * np.log10(ratios))


def ms_ssim(photos: Pictures, pictures: Pictures) -> Numbers:
    """Structural similarity over several scales.

    TensorFlow's. Source: Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image
    quality assessment" (2003). Pictures under 176 px have room for fewer than five scales; the
    weights of those that are left then add up to what five do.

    Args:
      photos: uint8 [count, side, side, 3], the side at least 11 px.
      pictures: uint8 of the same shape.

    Returns:
      [count], 1 for equal pictures.
    """
    from mm_face_stylizer._keras import tf

    side = photos.shape[1]
    scales = sum(side // 2**level >= _WINDOW for level in range(len(_SCALE_WEIGHTS)))
    weights = np.array(_SCALE_WEIGHTS[:scales])
    weights *= sum(_SCALE_WEIGHTS) / weights.sum()
    values = [
        tf.image.ssim_multiscale(
            tf.constant(photos[start : start + _BATCH]),
            tf.constant(pictures[start : start + _BATCH]),
            255,
            power_factors=tuple(weights),
        ).numpy()
        for start in range(0, len(photos), _BATCH)
    ]
    return np.asarray(np.concatenate(values), np.float64)


def detail_energy(pictures: Pictures) -> Numbers:
    """Energy of the finest level of the Laplacian pyramid.

    What a picture loses when it is halved and doubled again: edges of hair, lashes, pores. Source:
    Burt and Adelson, "The Laplacian pyramid as a compact image code" (1983).

    Args:
      pictures: uint8 [count, side, side, 3].

    Returns:
      Mean square of that level, of values in [0, 255], [count].
    """
    return np.array([np.square(laplacian_pyramid(one, 2)[0]).mean() for one in pictures])


def laplacian_pyramid(picture: Pictures, levels: int) -> list[npt.NDArray[np.float32]]:
    """Splits a picture into levels of detail.

    Args:
      picture: uint8 [height, width, 3].
      levels: Number of arrays to return.

    Returns:
      Finest first, what each halving loses, and last the smallest picture; in [0, 255].
    """
    import cv2

    bands: list[Any] = []
    left: Any = picture.astype(np.float32)
    for _ in range(levels - 1):
        smaller = cv2.pyrDown(left)
        bands.append(left - cv2.pyrUp(smaller, dstsize=(left.shape[1], left.shape[0])))
        left = smaller
    return [*bands, left]
