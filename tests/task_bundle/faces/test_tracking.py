"""Tests of task_bundle.faces.tracking."""

import math

import numpy as np
import pytest

from task_bundle.faces.alignment import Face, FaceCrop
from task_bundle.faces.tracking import CropSmoother

_FRAME = 1 / 30


def _face(x: float, y: float = 200.0, side: float = 300.0, rotation: float = 0.0) -> Face:
    return Face(np.zeros((478, 3)), FaceCrop(x, y, side, rotation))


def _smoothed(crops: list[FaceCrop]) -> list[FaceCrop]:
    smoother = CropSmoother()
    frames = enumerate(Face(np.zeros((478, 3)), crop) for crop in crops)
    return [smoother.update([face], i * _FRAME)[0].crop for i, face in frames]


def test_the_first_crop_is_the_one_found() -> None:
    face = _face(100.3)
    (smoothed,) = CropSmoother().update([face], 0.0)
    assert smoothed.landmarks is face.landmarks
    np.testing.assert_allclose(
        [smoothed.crop.center_x, smoothed.crop.center_y, smoothed.crop.side], [100.3, 200, 300]
    )


def test_a_trembling_face_stands_still() -> None:
    rng = np.random.default_rng(0)
    # About a pixel of 300, like the jitter of MediaPipe's landmarks.
    noise = rng.normal(0, 1, (120, 4)) * [0.7, 0.7, 1.0, 0.003]
    crops = _smoothed([FaceCrop(100 + x, 200 + y, 300 + s, r) for x, y, s, r in noise])
    states = np.array([[c.center_x, c.center_y, c.side, c.rotation] for c in crops])
    changes = np.abs(np.diff(states[10:], axis=0)).max(axis=1)
    # The crop may move once more, but it does not jitter.
    assert np.count_nonzero(changes) <= 3
    assert np.all(np.ptp(states, axis=0) <= [3, 3, 4, 0.01])


def test_a_moving_face_is_followed() -> None:
    # It moves by a third of a side per second, rotates past half a turn, and comes closer.
    turns = [math.remainder(3.0 + 0.01 * i, 2 * math.pi) for i in range(60)]
    frames = [(100 + 3.3 * i, 300 * 1.005**i, turns[i]) for i in range(60)]
    crops = _smoothed([FaceCrop(x, 200, side, r) for x, side, r in frames])
    for crop, (x, side, rotation) in list(zip(crops, frames, strict=True))[15:]:
        assert crop.center_x == pytest.approx(x, abs=0.03 * side)
        assert crop.side == pytest.approx(side, rel=0.03)
        assert abs(math.remainder(crop.rotation - rotation, 2 * math.pi)) < 0.03
        assert abs(crop.rotation) <= math.pi


def test_a_face_that_stops_comes_to_rest() -> None:
    moving = [FaceCrop(100 + 5.0 * i, 200, 300, 0) for i in range(20)]
    crops = _smoothed(moving + [moving[-1]] * 60)
    assert crops[-1].center_x == pytest.approx(195, abs=0.01 * 300)
    assert crops[-1].center_x == pytest.approx(crops[-10].center_x, abs=1e-6)


def test_a_jump_is_another_face() -> None:
    smoother = CropSmoother()
    smoother.update([_face(100)], 0.0)
    assert smoother.update([_face(300)], _FRAME)[0].crop.center_x == pytest.approx(300)
    # The same applies to a face that was missing in one frame.
    smoother.update([], 2 * _FRAME)
    assert smoother.update([_face(310)], 3 * _FRAME)[0].crop.center_x == pytest.approx(310)


def test_faces_keep_their_own_tracks() -> None:
    smoother = CropSmoother()
    first = smoother.update([_face(100), _face(700, side=250.0)], 0.0)
    second = smoother.update([_face(701, side=250.0), _face(101)], _FRAME)
    assert [f.crop.center_x for f in second] == pytest.approx(
        [first[1].crop.center_x, first[0].crop.center_x]
    )
