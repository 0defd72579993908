"""Finds faces in pictures and measures how far their landmarks are apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from task_bundle.faces.alignment import Face, FaceFinder
from task_bundle.faces.face_models import FaceModels

# Face mesh indices of the eye corners. The center of an eye is the mean of its two corners.
_LEFT_EYE, _RIGHT_EYE = (33, 133), (263, 362)
_MESH_POINTS = 468


def find_faces(
    pictures: Iterable[npt.NDArray[np.uint8]], face_models: FaceModels | None = None
) -> list[Face | None]:
    """Finds the largest face in each picture.

    Args:
      pictures: Pictures, each uint8 [height, width, 3] RGB.
      face_models: The models that find faces and landmarks; those of `find_face_models()` if None.

    Returns:
      The largest face of each picture, or None where no face is found.
    """
    with FaceFinder(face_models) as finder:
        return [
            next(iter(finder.find(picture)), None)
            for picture in tqdm(pictures, "Finding faces", unit="image", leave=False)
        ]


def inter_ocular_distance(face: Face) -> float:
    """Returns the distance between the centers of the eyes in pixels."""
    points = face.landmarks[:, :2]
    between = points[list(_LEFT_EYE)].mean(axis=0) - points[list(_RIGHT_EYE)].mean(axis=0)
    return float(np.linalg.norm(between))


def landmark_error(wanted: Face, seen: Face) -> float:
    """Computes how far the landmarks of two faces are apart.

    Args:
      wanted: The reference face.
      seen: The face to compare with it, in a picture of the same size.

    Returns:
      Mean distance of the 468 landmarks in the image plane, as a fraction of the inter-ocular
      distance of `wanted`.
    """
    moved = (wanted.landmarks - seen.landmarks)[:_MESH_POINTS, :2]
    return float(np.linalg.norm(moved, axis=1).mean() / inter_ocular_distance(wanted))
