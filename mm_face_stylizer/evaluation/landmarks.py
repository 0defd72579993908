"""Faces found in pictures, and how far their landmarks moved."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from task_bundle.faces.alignment import Face, FaceFinder
from task_bundle.faces.face_models import FaceModels

# Corners of the eyes in the face mesh; their means are the eyes' centres.
_LEFT_EYE, _RIGHT_EYE = (33, 133), (263, 362)
_MESH_POINTS = 468


def find_faces(
    pictures: Iterable[npt.NDArray[np.uint8]], face_models: FaceModels | None = None
) -> list[Face | None]:
    """Looks for the face of each picture.

    Args:
      pictures: uint8 [height, width, 3] RGB each.
      face_models: What MediaPipe finds faces with; found as usual if None.

    Returns:
      The biggest face of each picture, None where there is none.
    """
    with FaceFinder(face_models) as finder:
        return [
            next(iter(finder.find(picture)), None)
            for picture in tqdm(pictures, "Finding faces", unit="image", leave=False)
        ]


def inter_ocular_distance(face: Face) -> float:
    """Distance of the eyes' centres in pixels."""
    points = face.landmarks[:, :2]
    between = points[list(_LEFT_EYE)].mean(axis=0) - points[list(_RIGHT_EYE)].mean(axis=0)
    return float(np.linalg.norm(between))


def landmark_error(wanted: Face, seen: Face) -> float:
    """Mean distance of the landmarks as a fraction of `wanted`'s inter-ocular distance."""
    moved = (wanted.landmarks - seen.landmarks)[:_MESH_POINTS, :2]
    return float(np.linalg.norm(moved, axis=1).mean() / inter_ocular_distance(wanted))
