"""Dense correspondence of two faces by the points of the face mesh."""

from __future__ import annotations

import numpy as np

_GRID = 64
# Half of the points carry the shape; all of them take twice the time.
_EVERY = 2
# How far from the face, as a fraction of the side, single points still matter.
_REACH = 0.18


def correspondence(source: np.ndarray, target: np.ndarray, side: int) -> np.ndarray:
    """Where each pixel of a face lies in another face.

    An affine map of all points, and inside the face what it leaves over, interpolated by inverse
    squared distances. Source: Shepard, "A two-dimensional interpolation function for
    irregularly-spaced data" (1968).

    Args:
      source: Points of the face to look up in, [points, 2] in pixels.
      target: The same points of the face whose pixels are asked about.
      side: Side of both pictures in pixels.

    Returns:
      Column and row in the source for each pixel of the target, float32 [side, side, 2].
    """
    import cv2

    homogeneous = np.column_stack([target, np.ones(len(target))]).astype(np.float64)
    affine, *_ = np.linalg.lstsq(homogeneous, source.astype(np.float64), rcond=None)
    left = (source - homogeneous @ affine)[::_EVERY].astype(np.float32)
    anchors = target[::_EVERY].astype(np.float32)
    step = side / _GRID
    axis = (np.arange(_GRID, dtype=np.float32) + 0.5) * step - 0.5
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    squares = (grid**2).sum(axis=1)[:, np.newaxis] + (anchors**2).sum(axis=1) - 2 * grid @ anchors.T
    squares = np.maximum(squares, 0.0) + 4.0 * (side / 256) ** 2
    weights = squares**-2.0
    offsets = weights @ left / weights.sum(axis=1, keepdims=True)
    fade = np.exp(-squares.min(axis=1) / (_REACH * side) ** 2)[:, np.newaxis]
    mapped = np.column_stack([grid, np.ones(len(grid))]) @ affine + fade * offsets
    field = mapped.reshape(_GRID, _GRID, 2).astype(np.float32)
    return cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC)
