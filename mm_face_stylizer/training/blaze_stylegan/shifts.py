"""Small shifts of pictures before the face mesh sees them.

At one place only, a generator finds stripes that the mesh takes for an eye; they seldom work a
pixel further. Each picture keeps its own shift, so that what must stay is computed once. A shift is
in pixels of pictures of 256 px and, since the mesh shrinks larger ones, in more of theirs.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import tf

_MOST, _SIDE = 4, 256


def random_shifts(random: np.random.Generator, count: int) -> np.ndarray:
    """Draws rows and columns, int32 [count, 2] from 0 to 8; 4 is no shift."""
    return random.integers(0, 2 * _MOST + 1, (count, 2)).astype(np.int32)


def shifted(images: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
    """Shifts every picture by its own few pixels, its edges mirrored.

    Args:
      images: [batch, side, side, 3].
      shifts: Row and column of the bordered picture's pixel that becomes the first, [batch, 2].
    """
    count, side = images.shape[0], images.shape[1]
    border = 2 * (_MOST * _unit(side),)
    bordered = tf.pad(images, ((0, 0), border, border, (0, 0)), "SYMMETRIC")
    cut = [
        tf.slice(image, tf.concat([_unit(side) * shift, [0]], axis=0), (side, side, 3))
        for image, shift in zip(tf.unstack(bordered, count), tf.unstack(shifts, count), strict=True)
    ]
    return tf.stack(cut)


def unshifted(landmarks: np.ndarray, shifts: np.ndarray, side: int) -> np.ndarray:
    """Where landmarks of shifted pictures lie in the pictures themselves.

    Args:
      landmarks: [count, points, 2 or 3] as fractions of the side.
      shifts: As `shifted` took them.
      side: Side of the pictures in pixels.

    Returns:
      [count, points, 2].
    """
    moved = _unit(side) * (_MOST - shifts[:, np.newaxis, ::-1]) / side
    return landmarks[..., :2] - moved


def _unit(side: int) -> int:
    return max(1, side // _SIDE)
