"""Distance between pictures in the feature space of the face mesh network."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import graph_function
from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.pixels import from_pixels

_BATCH = 16
_EPSILON = 1e-6


def feature_distances(photos: Pictures, pictures: Pictures, landmarks_model: bytes) -> Numbers:
    """Computes the L1 distance of face mesh features, relative to the photo's features.

    In each layer, the mean absolute difference is divided by the mean magnitude of the photo's
    features; the result is the mean over layers.

    Training in this project minimizes a loss on similar features, so this measure favors networks
    trained here: use it to compare them with each other, not with other networks. The definition
    is deliberately independent of the training losses, so that results stay comparable when a loss
    is changed.

    Args:
      photos: uint8 [count, side, side, 3] RGB.
      pictures: uint8 of the same shape, the pictures to compare with the photos.
      landmarks_model: A face landmark TFLite flatbuffer, as for `FaceMeshFeatures`.

    Returns:
      [count], 0 for equal pictures, about 1 for unrelated ones.
    """
    face_mesh = FaceMeshFeatures(landmarks_model)

    features_of = graph_function(lambda batch: face_mesh(batch).features, reduce_retracing=True)

    distances: list[Numbers] = []
    for start in range(0, len(photos), _BATCH):
        wanted, seen = (
            [layer.numpy() for layer in features_of(from_pixels(some[start : start + _BATCH]))]
            for some in (photos, pictures)
        )
        layers = [
            np.mean(np.abs(b - a), axis=(1, 2, 3)) / (np.mean(np.abs(a), axis=(1, 2, 3)) + _EPSILON)
            for a, b in zip(wanted, seen, strict=True)
        ]
        distances.append(np.mean(layers, axis=0))
    return np.concatenate(distances, dtype=np.float64)
