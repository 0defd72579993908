"""Converts images between uint8 pixels and the value range of the networks, and shrinks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mm_face_stylizer._keras import tf


def from_pixels(photos: np.ndarray) -> tf.Tensor:
    """Converts uint8 images in [0, 255] of any shape to a float32 tensor in [-1, 1]."""
    # What only shrinks pictures does without TensorFlow.
    from mm_face_stylizer._keras import tf

    return tf.constant(photos.astype(np.float32) / 127.5 - 1.0)


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Converts images of any shape to uint8 in [0, 255]; values outside [-1, 1] are clipped."""
    return np.clip((images + 1.0) * 127.5 + 0.5, 0, 255).astype(np.uint8)


def shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    """Resizes a square picture or mask to a smaller side in pixels, by averaging."""
    import cv2

    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
