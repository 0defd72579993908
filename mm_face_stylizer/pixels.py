"""Pictures between uint8 and the range that the networks work in."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import tf


def from_pixels(photos: np.ndarray) -> tf.Tensor:
    """Pictures of uint8 as float32 in [-1, 1]."""
    return tf.constant(photos.astype(np.float32) / 127.5 - 1.0)


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Pictures in about [-1, 1] as uint8, what lies outside cut off."""
    return np.clip((images + 1.0) * 127.5 + 0.5, 0, 255).astype(np.uint8)
