"""Distance of pictures in the space of the face-mesh network."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import graph_function
from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures
from mm_face_stylizer.models.perceptual import FaceMeshFeatures
from mm_face_stylizer.networks import from_pixels
from mm_face_stylizer.training import losses

_BATCH = 16


def feature_distances(photos: Pictures, pictures: Pictures, landmarks_model: bytes) -> Numbers:
    """L1 of face-mesh features, layer by layer relative to the photo's mean magnitude.

    Training minimises features of the same kind, so that this flatters networks trained here
    against others; it tells this project's from each other.

    Args:
      photos: uint8 [count, side, side, 3].
      pictures: uint8 of the same shape.
      landmarks_model: A face landmark TFLite flatbuffer, as for `FaceMeshFeatures`.

    Returns:
      [count], 0 for equal pictures, about 1 for unrelated ones.
    """
    face_mesh = FaceMeshFeatures(landmarks_model)

    look = graph_function(lambda batch: face_mesh(batch).features, reduce_retracing=True)

    distances = []
    for start in range(0, len(photos), _BATCH):
        wanted, seen = (
            look(from_pixels(some[start : start + _BATCH])) for some in (photos, pictures)
        )
        for row in range(len(wanted[0])):
            one = [[layer[row : row + 1] for layer in layers] for layers in (seen, wanted)]
            distances.append(float(losses.feature_distance(*one)))
    return np.array(distances, np.float64)
