"""Tests of task_bundle.faces.tracking."""

import dataclasses
import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from task_bundle.faces.alignment import Face, FaceCrop
from task_bundle.faces.tracking import CropTracker

_FRAME = 1 / 30
# Grace Hopper's face.
_CROP = FaceCrop(277.0, 190.0, 260.0, 0.0)
# About a pixel of 260, like the jitter of MediaPipe's landmarks.
_JITTER = np.array([0.7, 0.7, 1.0, 0.003])

_Picture = npt.NDArray[np.uint8]


def _matrix(x: float, y: float, scale: float, turn: float) -> npt.NDArray[np.float64]:
    """Scales and rotates around the face, then shifts, [3, 3]."""
    center = np.array([_CROP.center_x, _CROP.center_y])
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, center - linear @ center + (x, y)
    return matrix


def _moved_crop(matrix: npt.NDArray[np.float64], crop: FaceCrop = _CROP) -> FaceCrop:
    x, y, _ = matrix @ (crop.center_x, crop.center_y, 1.0)
    scale, turn = math.hypot(*matrix[:2, 0]), math.atan2(matrix[1, 0], matrix[0, 0])
    return FaceCrop(
        float(x),
        float(y),
        crop.side * scale,
        math.remainder(crop.rotation + turn, 2 * math.pi),
    )


def _moved_frame(photo: _Picture, matrix: npt.NDArray[np.float64]) -> _Picture:
    size = (photo.shape[1], photo.shape[0])
    moved = cv2.warpAffine(photo, matrix[:2], size, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)


def _face(crop: FaceCrop = _CROP, random: np.random.Generator | None = None) -> Face:
    """A face whose landmarks are spread over the middle of the crop, with jitter if asked for."""
    places = np.random.default_rng(3).uniform(0.3, 0.7, (478, 2))
    points = np.concatenate([places, np.ones((478, 1))], axis=1) @ crop.inverse(1).T
    landmarks = np.concatenate([points[:, :2], np.zeros((478, 1))], axis=1)
    if random is not None:
        landmarks[:, :2] += random.normal(0, 0.7, (478, 2))
        x, y, side, rotation = (random.normal(0, 1, 4) * _JITTER).tolist()
        crop = FaceCrop(
            crop.center_x + x, crop.center_y + y, crop.side + side, crop.rotation + rotation
        )
    return Face(landmarks, crop)


def _state(crop: FaceCrop) -> list[float]:
    return [crop.center_x, crop.center_y, crop.side, crop.rotation]


def test_the_first_crop_is_the_one_found(grace_hopper: _Picture) -> None:
    face = _face()
    (steady,) = CropTracker().update(grace_hopper, [face], 0.0)
    assert steady.landmarks is face.landmarks
    assert steady.crop == face.crop


def test_the_crop_of_a_still_face_stands_still_while_its_landmarks_jitter(
    grace_hopper: _Picture,
) -> None:
    random, tracker = np.random.default_rng(0), CropTracker()
    states = np.array(
        [
            _state(tracker.update(grace_hopper, [_face(random=random)], i * _FRAME)[0].crop)
            for i in range(60)
        ]
    )
    assert len(np.unique(states, axis=0)) == 1


def test_a_slow_face_is_followed(grace_hopper: _Picture) -> None:
    tracker = CropTracker()
    # A twentieth of a pixel per frame, which is less than counts as motion.
    for i in range(81):
        matrix = _matrix(0.05 * i, 0.0, 1.0, 0.0)
        frame = _moved_frame(grace_hopper, matrix)
        crop = tracker.update(frame, [_face(_moved_crop(matrix))], i * _FRAME)[0].crop
        assert crop.center_x == pytest.approx(_CROP.center_x + 0.05 * i, abs=0.4)


def test_the_crop_moves_with_the_face_without_lag_or_jitter(grace_hopper: _Picture) -> None:
    random, tracker = np.random.default_rng(0), CropTracker()
    errors = []
    for i in range(40):
        t = 2 * math.pi * i / 40
        matrix = _matrix(18 * math.sin(t), 12 * math.sin(1.4 * t), 1 + 0.1 * math.sin(t), 0.3 * t)
        frame = _moved_frame(grace_hopper, matrix)
        face = _face(_moved_crop(matrix), random)
        crop = tracker.update(frame, [face], i * _FRAME)[0].crop
        # Where the crop is in the picture that stands still.
        errors.append(_state(_moved_crop(np.linalg.inv(matrix), crop)))
    changes = np.abs(np.diff(np.array(errors), axis=0))
    assert np.all(np.median(changes, axis=0) < [0.1, 0.1, 0.2, 1e-3])
    assert np.all(np.abs(np.array(errors) - _state(_CROP)) < [8, 8, 14, 0.05])


def test_an_ill_placed_crop_drifts_to_the_landmarks(grace_hopper: _Picture) -> None:
    tracker = CropTracker()
    tracker.update(grace_hopper, [dataclasses.replace(_face(), crop=_moved_far())], 0.0)
    distances = []
    for i in range(1, 60):
        crop = tracker.update(grace_hopper, [_face()], i * _FRAME)[0].crop
        distances.append(abs(crop.center_x - _CROP.center_x))
    assert distances[0] > 25 and distances[-1] < 0.025 * _CROP.side
    assert np.abs(np.diff(distances)).max() < 2.5


def _moved_far() -> FaceCrop:
    return dataclasses.replace(_CROP, center_x=_CROP.center_x + 30)


def test_landmarks_tell_the_motion_where_the_picture_does_not(grace_hopper: _Picture) -> None:
    tracker = CropTracker()
    tracker.update(np.zeros_like(grace_hopper), [_face()], 0.0)
    matrix = _matrix(5.0, -3.0, 1.02, 0.01)
    noise = np.random.default_rng(0).integers(0, 255, grace_hopper.shape, np.uint8)
    for number, frame in enumerate((np.zeros_like(grace_hopper), noise), 1):
        moved = np.linalg.matrix_power(matrix, number)
        crop = tracker.update(frame, [_face(_moved_crop(moved))], number * _FRAME)[0].crop
        np.testing.assert_allclose(_state(crop), _state(_moved_crop(moved)), atol=0.01)


def test_a_face_at_the_edge_or_outside_of_the_frame(grace_hopper: _Picture) -> None:
    for x in (-40.0, 600.0, 5000.0, -5000.0):
        tracker = CropTracker()
        face = _face(FaceCrop(x, 200.0, 260.0, 0.0))
        for i in range(3):
            crop = tracker.update(grace_hopper, [face], i * _FRAME)[0].crop
            assert crop.center_x == pytest.approx(x, abs=6) and crop.side == pytest.approx(260, 0.1)


def test_a_jump_is_another_face(grace_hopper: _Picture) -> None:
    tracker = CropTracker()
    tracker.update(grace_hopper, [_face()], 0.0)
    far = FaceCrop(_CROP.center_x - 160, _CROP.center_y, _CROP.side, 0.0)
    assert tracker.update(grace_hopper, [_face(far)], _FRAME)[0].crop == far
    # The same applies to a face that was missing in one frame.
    tracker.update(grace_hopper, [], 2 * _FRAME)
    near = dataclasses.replace(far, center_x=far.center_x + 10)
    assert tracker.update(grace_hopper, [_face(near)], 3 * _FRAME)[0].crop == near


def test_faces_keep_their_own_tracks(grace_hopper: _Picture) -> None:
    photo = np.hstack([grace_hopper, grace_hopper[:, ::-1]])
    other = FaceCrop(2 * 512 - 1 - _CROP.center_x, _CROP.center_y, 250.0, 0.0)
    tracker = CropTracker()
    first = tracker.update(photo, [_face(), _face(other)], 0.0)
    second = tracker.update(photo, [_face(other), _face()], _FRAME)
    for before, after in zip(first, reversed(second), strict=True):
        np.testing.assert_allclose(_state(after.crop), _state(before.crop), atol=1e-3)
