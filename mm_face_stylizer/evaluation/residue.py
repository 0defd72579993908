"""Residue: how much of a photo's finest detail is still in its stylization."""

from __future__ import annotations

from typing import Any

import numpy as np

from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures, at_side

# Side in pixels at which pictures are measured. The band and the windows are in these pixels.
_SIDE = 256
# Standard deviations in pixels of the two Gaussians whose difference is the band.
_FINE, _COARSE = 1.0, 2.0
_WINDOW = 16
# Standard deviation of the photo's band in a window, for gray values in [0, 1], above which the
# window has detail that could be kept. Below it there are only sensor noise and JPEG artifacts.
_LEAST_DETAIL = 0.01
_LEAST_VARIANCE = 1e-7
# Weights of red, green and blue in gray. Source: ITU-R BT.601.
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)


def residue(photos: Pictures, pictures: Pictures) -> Numbers:
    """Measures how much of each photo's finest detail is left in the picture made of it.

    Photo and picture are converted to gray, and the band of 1 to 2 px is taken as the difference of
    two Gaussian filters. The two bands are correlated in windows of 16 px around every pixel where
    the photo's band has a standard deviation above 0.01. The result is the mean absolute value of
    the normalized correlation over these windows, so neither contrast nor inverted tones change it.

    A filter over the photo, however strong, has about 0.8 to 1. A picture whose strokes have
    nothing to do with the photo's pores and hairs has about 0.2 and not 0, because two independent
    bands correlate by chance in windows this small.

    Args:
      photos: uint8 [count, side, side, 3] RGB. Pictures of another side than 256 px are resized to
        256 px before they are measured.
      pictures: uint8 of the same shape.

    Returns:
      [count], in [0, 1]; NaN for a photo without fine detail.
    """
    pairs = zip(at_side(photos, _SIDE), at_side(pictures, _SIDE), strict=True)
    return np.array([_residue(photo, picture) for photo, picture in pairs], np.float64)


def _residue(photo: Pictures, picture: Pictures) -> float:
    before, after = _band(photo), _band(picture)
    mean_before, mean_after = _windowed(before), _windowed(after)
    spread_before = _spread(before, mean_before)
    spread_after = _spread(after, mean_after)
    covariance = _windowed(before * after) - mean_before * mean_after
    has_detail = spread_before > _LEAST_DETAIL
    if not has_detail.any():
        return float("nan")
    return float(np.abs(covariance / (spread_before * spread_after))[has_detail].mean())


def _band(picture: Pictures) -> Any:
    import cv2

    gray = (picture.astype(np.float32) / 255.0) @ _GRAY
    return cv2.GaussianBlur(gray, (0, 0), _FINE) - cv2.GaussianBlur(gray, (0, 0), _COARSE)


def _windowed(values: Any) -> Any:
    """Means over the window around each pixel, [height, width]."""
    import cv2

    return cv2.blur(values, (_WINDOW, _WINDOW))


def _spread(band: Any, mean: Any) -> Any:
    """Standard deviations in the window around each pixel, [height, width]."""
    return np.sqrt(np.maximum(_windowed(band * band) - mean * mean, _LEAST_VARIANCE))
