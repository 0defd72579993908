"""Converts images between uint8 pixels and the value range of the networks."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import tf


def from_pixels(photos: np.ndarray) -> tf.Tensor:
    """Converts uint8 images in [0, 255] of any shape to a float32 tensor in [-1, 1]."""
    return tf.constant(photos.astype(np.float32) / 127.5 - 1.0)


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Converts images of any shape to uint8 in [0, 255]; values outside [-1, 1] are clipped."""
    return np.clip((images + 1.0) * 127.5 + 0.5, 0, 255).astype(np.uint8)
