import numpy as np
import pytest

from mm_face_stylizer.evaluation import evaluate_reconstructions, landmark_error
from task_bundle.faces.alignment import Face, FaceCrop, FaceFinder

pytestmark = pytest.mark.usefixtures("face_models")


@pytest.fixture(scope="module")
def aligned(grace_hopper):
    with FaceFinder() as finder:
        return finder.find(grace_hopper)[0].crop.crop(grace_hopper, 256)


def test_a_perfect_reconstruction(aligned):
    metrics = evaluate_reconstructions(aligned[None], aligned[None])
    assert metrics.face_found == 1 and metrics.landmark_error == 0 and metrics.psnr > 100


def test_known_noise_and_a_lost_face(aligned):
    brighter = np.clip(aligned.astype(int) + 10, 0, 255).astype(np.uint8)
    gray = np.full_like(aligned, 128)
    metrics = evaluate_reconstructions(np.stack([aligned, aligned]), np.stack([brighter, gray]))
    assert metrics.face_found == 0.5
    assert metrics.landmark_error < 0.03
    one = evaluate_reconstructions(aligned[None], brighter[None])
    assert one.psnr == pytest.approx(20 * np.log10(255 / 10), abs=0.3)


def test_landmark_error_is_in_eye_distances():
    points = np.zeros((478, 3))
    points[[33, 133], 0], points[[263, 362], 0] = 10, 60
    face = Face(points, FaceCrop(0, 0, 1, 0))
    assert landmark_error(face, Face(points + [5, 0, 9], face.crop)) == pytest.approx(0.1)
