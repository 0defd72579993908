"""Distance of pictures in the space of the face-mesh network."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import graph_function
from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.pixels import from_pixels

_BATCH = 16
_EPSILON = 1e-6


def feature_distances(photos: Pictures, pictures: Pictures, landmarks_model: bytes) -> Numbers:
    """L1 of face-mesh features, layer by layer relative to the photo's mean magnitude.

    Training minimizes features of the same kind, so this flatters networks trained here against
    others; it tells this project's own apart. The definition is fixed here and shared with no loss,
    so that a figure means the same after a loss was tuned.

    Args:
      photos: uint8 [count, side, side, 3].
      pictures: uint8 of the same shape.
      landmarks_model: A face landmark TFLite flatbuffer, as for `FaceMeshFeatures`.

    Returns:
      [count], 0 for equal pictures, about 1 for unrelated ones.
    """
    face_mesh = FaceMeshFeatures(landmarks_model)

    look = graph_function(lambda batch: face_mesh(batch).features, reduce_retracing=True)

    distances: list[Numbers] = []
    for start in range(0, len(photos), _BATCH):
        wanted, seen = (
            [layer.numpy() for layer in look(from_pixels(some[start : start + _BATCH]))]
            for some in (photos, pictures)
        )
        layers = [
            np.mean(np.abs(b - a), axis=(1, 2, 3)) / (np.mean(np.abs(a), axis=(1, 2, 3)) + _EPSILON)
            for a, b in zip(wanted, seen, strict=True)
        ]
        distances.append(np.mean(layers, axis=0))
    return np.concatenate(distances, dtype=np.float64)
