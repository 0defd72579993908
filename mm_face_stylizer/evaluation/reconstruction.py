"""Reconstruction quality: the metrics on a preset's card."""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_face_stylizer.evaluation.landmarks import find_faces, landmark_error
from mm_face_stylizer.evaluation.picture_quality import Pictures, psnr
from task_bundle.faces.face_models import FaceModels


@dataclasses.dataclass(frozen=True)
class ReconstructionMetrics:
    """Mean reconstruction metrics of a set of pictures.

    Attributes:
      count: Number of pictures.
      psnr: Peak signal-to-noise ratio in dB, averaged over pictures.
      l1: Mean absolute difference of pixel values scaled to [-1, 1].
      face_found: Share of the photos with a face in whose reconstruction a face is found as well,
        in [0, 1]; 0 if no photo has a face.
      landmark_error: Mean distance between the 468 landmarks in the reconstruction and in the
        photo, as a fraction of the photo's inter-ocular distance; infinite if no reconstruction
        has a face.
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

    Example:
    ```python
    from mm_face_stylizer import Dataset
    from mm_face_stylizer.evaluation import evaluate_reconstructions
    from mm_face_stylizer.evaluation.subject import find_subject

    subject = find_subject("blaze_face_stylizer_256")
    photos = Dataset.from_folder("photos", size=subject.side).images
    metrics = evaluate_reconstructions(photos, subject.pictures(photos))
    print(f"{metrics.psnr:.1f} dB, landmark error {metrics.landmark_error:.3f}")
    ```

    Args:
      photos: uint8 [count, side, side, 3] RGB, aligned.
      reconstructions: uint8 of the same shape, in the same order.
      face_models: The models that find faces and landmarks; those of `find_face_models()` if None.

    Returns:
      The mean metrics.
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
