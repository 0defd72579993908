"""How faithful reconstructions are: the numbers on a preset's card."""

from __future__ import annotations

import dataclasses

import numpy as np
from tqdm import tqdm

from task_bundle.alignment import Face, FaceFinder
from task_bundle.face_models import FaceModels

# Corners of the eyes in the face mesh; their means are the eyes' centres.
_LEFT_EYE, _RIGHT_EYE = (33, 133), (263, 362)
_MESH_POINTS = 468


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
    photos: np.ndarray, reconstructions: np.ndarray, face_models: FaceModels | None = None
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
    squared = np.square(difference).mean(axis=(1, 2, 3))
    psnr = 10.0 * np.log10(255.0**2 / np.maximum(squared, 1e-6))
    found, errors = [], []
    with FaceFinder(face_models) as finder:
        pairs = zip(photos, reconstructions, strict=True)
        for photo, reconstruction in tqdm(pairs, "Finding faces", len(photos), unit="image"):
            wanted = finder.find(photo)
            if not wanted:
                continue
            seen = finder.find(reconstruction)
            found.append(bool(seen))
            if seen:
                errors.append(landmark_error(wanted[0], seen[0]))
    return ReconstructionMetrics(
        count=len(photos),
        psnr=float(psnr.mean()),
        l1=float(np.abs(difference).mean() / 127.5),
        face_found=float(np.mean(found)) if found else 0.0,
        landmark_error=float(np.mean(errors)) if errors else float("inf"),
    )


def landmark_error(wanted: Face, seen: Face) -> float:
    """Mean distance of the landmarks as a fraction of `wanted`'s inter-ocular distance."""
    a, b = wanted.landmarks[:_MESH_POINTS, :2], seen.landmarks[:_MESH_POINTS, :2]
    eyes = a[list(_LEFT_EYE)].mean(axis=0) - a[list(_RIGHT_EYE)].mean(axis=0)
    return float(np.linalg.norm(a - b, axis=1).mean() / np.linalg.norm(eyes))
