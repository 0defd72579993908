"""Small shifts of pictures before the face mesh sees them.

At a fixed position, a generator finds stripes that the mesh takes for an eye, and they seldom work
after a shift by a pixel. Each picture has a constant shift, so that its target features are
computed only once. The unit of shifts is a pixel of pictures of 256 px; in larger ones, which the
mesh downsamples, it is proportionally more pixels.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import tf

_LARGEST_SHIFT, _UNIT_SIDE = 4, 256


def random_shifts(random: np.random.Generator, count: int) -> np.ndarray:
    """Draws shifts of rows and columns, int32 [count, 2] from 0 to 8, where 4 is no shift."""
    return random.integers(0, 2 * _LARGEST_SHIFT + 1, (count, 2)).astype(np.int32)


def shifted(images: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
    """Shifts every picture by its own few pixels; edges are mirrored.

    Args:
      images: [batch, side, side, 3].
      shifts: As `random_shifts` returns them, [batch, 2].
    """
    count, side = images.shape[0], images.shape[1]
    border = 2 * (_LARGEST_SHIFT * _unit(side),)
    bordered = tf.pad(images, ((0, 0), border, border, (0, 0)), "SYMMETRIC")
    cut = [
        tf.slice(image, tf.concat([_unit(side) * shift, [0]], axis=0), (side, side, 3))
        for image, shift in zip(tf.unstack(bordered, count), tf.unstack(shifts, count), strict=True)
    ]
    return tf.stack(cut)


def unshifted(landmarks: np.ndarray, shifts: np.ndarray, side: int) -> np.ndarray:
    """Converts landmarks of shifted pictures to landmarks of the pictures.

    Args:
      landmarks: [count, points, 2 or 3] as fractions of the side.
      shifts: The pictures' shifts, [count, 2].
      side: Side of the pictures in pixels.

    Returns:
      [count, points, 2].
    """
    moved = _unit(side) * (_LARGEST_SHIFT - shifts[:, np.newaxis, ::-1]) / side
    return landmarks[..., :2] - moved


def _unit(side: int) -> int:
    """Returns the pixels of a shift by one."""
    return max(1, side // _UNIT_SIDE)
