"""How faithful reconstructions are: the numbers on a preset's card."""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_face_stylizer.evaluation.landmarks import find_faces, landmark_error
from mm_face_stylizer.evaluation.picture_quality import Pictures, psnr
from task_bundle.faces.face_models import FaceModels


@dataclasses.dataclass(frozen=True)
class ReconstructionMetrics:
    """Means over the pictures that were evaluated.

    Attributes:
      count: Number of pictures.
      psnr: Peak signal-to-noise ratio in dB, mean over pictures.
      l1: Mean absolute difference, of values in [-1, 1].
      face_found: Share of reconstructions in which MediaPipe finds a face, of those pictures in
        which it finds one before.
      landmark_error: Mean distance of the 468 landmarks from the input's, as a fraction of the
        input's inter-ocular distance.
    """

    count: int
    psnr: float
    l1: float
    face_found: float
    landmark_error: float


def evaluate_reconstructions(
    photos: Pictures, reconstructions: Pictures, face_models: FaceModels | None = None
) -> ReconstructionMetrics:
    """Compares photos with their reconstructions.

    Args:
      photos: uint8 [count, side, side, 3].
      reconstructions: uint8 of the same shape.
      face_models: What MediaPipe finds faces with; found as usual if None.

    Returns:
      The means.
    """
    difference = photos.astype(np.float32) - reconstructions.astype(np.float32)
    faces = zip(
        find_faces(photos, face_models), find_faces(reconstructions, face_models), strict=True
    )
    pairs = [(wanted, seen) for wanted, seen in faces if wanted is not None]
    errors = [landmark_error(wanted, seen) for wanted, seen in pairs if seen is not None]
    return ReconstructionMetrics(
        count=len(photos),
        psnr=float(psnr(photos, reconstructions).mean()),
        l1=float(np.abs(difference).mean() / 127.5),
        face_found=len(errors) / len(pairs) if pairs else 0.0,
        landmark_error=float(np.mean(errors)) if errors else float("inf"),
    )
