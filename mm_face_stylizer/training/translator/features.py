"""The features of a translator's perceptual losses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from mm_face_stylizer._keras import tf
from mm_face_stylizer.models.efficientnet_lite import PerceptualWeightsError, perceptual_network
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from task_bundle.faces.face_models import FaceModels


def perceptual_features(
    face_models: FaceModels,
) -> Callable[[tf.Tensor], Sequence[tf.Tensor]]:
    """Returns EfficientNet-Lite0's style features, or without its weights those of the face mesh.

    Args:
      face_models: Has the face mesh.

    Returns:
      A function from pictures [batch, side, side, 3] in [-1, 1] to feature maps.
    """
    try:
        return perceptual_network()
    except PerceptualWeightsError as error:
        sys.stderr.write(f"perceptual losses use the face mesh: {error}\n")
    mesh = FaceMeshFeatures(face_models.landmarks)
    return lambda pictures: mesh(pictures).features
