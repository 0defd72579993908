"""Measures of image quality: similarity of two pictures, and sharpness."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]

# Side of the MS-SSIM window in pixels, which must fit into the smallest scale.
_WINDOW = 11
# Weights of the scales, finest first. Source: Wang, Simoncelli and Bovik (2003), section 3.2.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_BATCH = 16


def at_side(pictures: Pictures, side: int) -> Pictures:
    """Resizes square pictures, by averaging areas or by bilinear interpolation.

    Args:
      pictures: uint8 [count, any side, any side, 3].
      side: Side of the result in pixels.

    Returns:
      uint8 [count, side, side, 3]; `pictures` itself if it has this side.
    """
    import cv2

    if pictures.shape[1] == side:
        return pictures
    way = cv2.INTER_AREA if pictures.shape[1] > side else cv2.INTER_LINEAR
    return np.stack([cv2.resize(one, (side, side), interpolation=way) for one in pictures])


def psnr(photos: Pictures, pictures: Pictures) -> Numbers:
    """Computes the peak signal-to-noise ratio of each pair of pictures.

    Args:
      photos: uint8 [count, side, side, 3].
      pictures: uint8 of the same shape.

    Returns:
      [count], in dB. Equal pictures have 108.1 dB instead of infinity.
    """
    pairs = zip(photos, pictures, strict=True)
    squared = [np.square(a.astype(np.float32) - b.astype(np.float32)).mean() for a, b in pairs]
    ratios = 255.0**2 / np.maximum(np.array(squared, np.float64), 1e-6)
    return np.asarray(10.0 * np.log10(ratios))


def ms_ssim(photos: Pictures, pictures: Pictures) -> Numbers:
    """Computes the multi-scale structural similarity (MS-SSIM) of each pair of pictures.

    This calls `tf.image.ssim_multiscale`. Pictures smaller than 176 px are too small for five
    scales; the weights of the remaining scales are then multiplied by a factor that keeps their
    sum. Source: Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality
    assessment" (2003).

    Args:
      photos: uint8 [count, side, side, 3], with a side of at least 11 px.
      pictures: uint8 of the same shape.

    Returns:
      [count], at most 1; 1 for equal pictures.
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
    """Computes the energy of the finest level of the Laplacian pyramid, a measure of sharpness.

    The level holds what a picture loses when it is scaled to half its size and back, such as
    hair, eyelashes and pores. Source: Burt and Adelson, "The Laplacian pyramid as a compact image
    code" (1983).

    Args:
      pictures: uint8 [count, side, side, 3].

    Returns:
      Mean square of the level, [count], for pixel values in [0, 255].
    """
    return np.array([np.square(laplacian_pyramid(one, 2)[0]).mean() for one in pictures])


def laplacian_pyramid(picture: Pictures, levels: int) -> list[npt.NDArray[np.float32]]:
    """Computes the Laplacian pyramid of a picture.

    Args:
      picture: uint8 [height, width, 3].
      levels: Number of levels to return, at least 1.

    Returns:
      `levels` arrays [height, width, 3], each half the size of the one before. All but the last
      hold the detail lost by halving, in [-255, 255]; the last is the smallest picture, in
      [0, 255].
    """
    import cv2

    bands: list[Any] = []
    left: Any = picture.astype(np.float32)
    for _ in range(levels - 1):
        smaller = cv2.pyrDown(left)
        bands.append(left - cv2.pyrUp(smaller, dstsize=(left.shape[1], left.shape[0])))
        left = smaller
    return [*bands, left]
