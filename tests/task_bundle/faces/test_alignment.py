"""Tests of task_bundle.faces.alignment."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from task_bundle.errors import FaceModelsError, ImageError
from task_bundle.faces.alignment import FaceCrop, FaceFinder
from task_bundle.faces.face_models import FaceModels
from task_bundle.faces.region import Region


def _landmarks(left=(80.0, 100.0), right=(120.0, 100.0), mouth=(100.0, 140.0)) -> np.ndarray:
    points = np.zeros((478, 3))
    for indices, (x, y) in (((33, 133), left), ((263, 362), right), ((61, 291), mouth)):
        for index, offset in zip(indices, (-5.0, 5.0), strict=True):
            points[index, :2] = x + offset, y
    return points


def test_an_upright_face_gives_an_upright_square() -> None:
    crop = FaceCrop.from_landmarks(_landmarks())
    # Eyes at (100, 100), 40 apart; the mouth 40 below: 4.0 * 40 is more than 3.6 * 40.
    assert crop == FaceCrop(100.0, 104.0, 160.0, 0.0)
    assert FaceCrop.from_landmarks(_landmarks()[:468, :2]) == crop


@pytest.mark.parametrize(
    "left, right, mouth, crop",
    [
        # The values of the unit test of MediaPipe's calculator for a photo of 1280 x 720 pixels, to
        # five digits.
        ((384, 360), (768, 324), (640, 468), FaceCrop(582.0, 355.0, 1543.0, -0.193622)),
        ((768, 576), (256, 288), (1024, 144), FaceCrop(563.0, 403.0, 2350.0, -2.35619)),
    ],
)
def test_crops_of_mediapipes_own_test(left, right, mouth, crop) -> None:
    found = FaceCrop.from_landmarks(_landmarks(left, right, mouth))
    assert (found.center_x, found.center_y, found.side) == (crop.center_x, crop.center_y, crop.side)
    assert found.rotation == pytest.approx(crop.rotation, abs=1e-5)


def test_crop_between_pixels() -> None:
    points = _landmarks(mouth=(100.3, 160.2))
    points[:, 0] += 0.25
    crop = FaceCrop.from_landmarks(points, whole_pixels=False)
    assert crop.center_x == pytest.approx(100.28)
    assert crop.center_y == pytest.approx(106.02)
    assert crop.side == pytest.approx(3.6 * math.hypot(0.3, 60.2))


def test_long_face_is_measured_down() -> None:
    crop = FaceCrop.from_landmarks(_landmarks(mouth=(100.0, 161.0)))
    assert crop.side == 220.0  # 3.6 * 61 = 219.6
    assert crop.center_y == 106.0  # 106.1


@pytest.mark.parametrize("degrees", [-120, -30, 10, 90, 170])
def test_rotation_follows_the_face(degrees: float) -> None:
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = _landmarks()
    points[:, :2] = (points[:, :2] - 100) @ turn.T + 300
    crop = FaceCrop.from_landmarks(points)
    assert crop.rotation == pytest.approx(angle)
    assert crop.side == 160.0
    expected = turn @ [0, 4] + 300
    assert [crop.center_x, crop.center_y] == pytest.approx(expected, abs=0.5)
    assert crop.center_x == round(crop.center_x)


@pytest.mark.parametrize(
    "bad", [np.zeros((467, 3)), np.zeros((478, 4)), np.zeros(478), np.full((478, 3), np.nan)]
)
def test_landmarks_of_another_shape_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        FaceCrop.from_landmarks(bad)
    with pytest.raises(ValueError, match="coincide"):
        FaceCrop.from_landmarks(np.zeros((478, 3)))


def test_matrix_maps_the_square() -> None:
    crop = FaceCrop(300.0, 200.0, 100.0, math.pi / 2)
    matrix = crop.matrix(50)
    assert matrix.shape == (3, 3) and matrix.dtype == np.float64
    np.testing.assert_allclose(matrix @ [300, 200, 1], [25, 25, 1], atol=1e-9)
    # In a crop rotated clockwise by a quarter turn, right is down in the photo.
    np.testing.assert_allclose(matrix @ [300, 250, 1], [50, 25, 1], atol=1e-9)
    np.testing.assert_allclose(matrix @ [250, 200, 1], [25, 50, 1], atol=1e-9)
    np.testing.assert_allclose(crop.inverse(50) @ matrix, np.eye(3), atol=1e-9)
    with pytest.raises(ValueError, match="positive"):
        crop.matrix(0)


def test_pictures_that_are_not_square_show_more(grace_hopper: np.ndarray) -> None:
    crop = FaceCrop(200.0, 300.0, 100.0, 0.0)
    np.testing.assert_array_equal(
        crop.crop(grace_hopper, (100, 140)), grace_hopper[230:370, 150:250]
    )
    np.testing.assert_array_equal(
        crop.crop(grace_hopper, (120, 100)), grace_hopper[250:350, 140:260]
    )
    with pytest.raises(ValueError, match="positive"):
        crop.matrix((100, 0))


def test_crop_of_whole_pixels_is_a_slice(grace_hopper: np.ndarray) -> None:
    crop = FaceCrop(200.0, 300.0, 100.0, 0.0).crop(grace_hopper, 100)
    np.testing.assert_array_equal(crop, grace_hopper[250:350, 150:250])


def test_a_crop_is_black_outside_the_photo(grace_hopper: np.ndarray) -> None:
    crop = FaceCrop(0.0, 0.0, 100.0, 0.0).crop(np.maximum(grace_hopper, 1), 100)
    assert crop[:50].max() == 0 and crop[:, :50].max() == 0
    np.testing.assert_array_equal(crop[50:, 50:], np.maximum(grace_hopper, 1)[:50, :50])


def test_crop_wants_a_picture() -> None:
    with pytest.raises(ImageError, match="uint8"):
        FaceCrop(0.0, 0.0, 1.0, 0.0).crop(np.zeros((4, 4, 3)), 4)


def test_the_face_of_a_photo_is_found(face_models, grace_hopper: np.ndarray) -> None:
    with FaceFinder(face_models) as finder:
        (face,) = finder.find(grace_hopper)
        assert finder.find(np.full((300, 300, 3), 128, np.uint8)) == []
        with pytest.raises(ImageError):
            finder.find(grace_hopper[..., 0])
        turned = finder.find(np.ascontiguousarray(grace_hopper[:, ::-1]))
    assert face.landmarks.shape == (478, 3)
    # The place of the face in the photo.
    assert face.crop.center_x == pytest.approx(265, abs=6)
    assert face.crop.center_y == pytest.approx(200, abs=6)
    assert face.crop.side == pytest.approx(335, abs=25)
    assert turned[0].crop.center_x == pytest.approx(512 - face.crop.center_x, abs=6)
    finder.close()
    with pytest.raises(ValueError, match="closed"):
        finder.find(grace_hopper)


def test_a_border_helps_to_find_a_face(face_models, grace_hopper: np.ndarray, monkeypatch) -> None:
    with FaceFinder(face_models) as finder:
        (face,) = finder.find(grace_hopper)
        np.testing.assert_array_equal(
            finder.find_with_margins(grace_hopper)[0].landmarks, face.landmarks
        )
        find = finder.find
        # A detector that misses faces in pictures without a border.
        monkeypatch.setattr(
            finder, "find", lambda image: [] if image.shape == grace_hopper.shape else find(image)
        )
        (again,) = finder.find_with_margins(grace_hopper)
        blank = np.zeros_like(grace_hopper)
        assert finder.find_with_margins(blank) == []
    assert np.linalg.norm((again.landmarks - face.landmarks)[:, :2], axis=1).mean() < 5.0
    assert abs(again.crop.center_x - face.crop.center_x) < 5.0


@pytest.mark.parametrize("region", [None, Region(top=0.01, right=0.99)])
def test_biggest_face_first(region, face_models, grace_hopper: np.ndarray) -> None:
    import cv2

    canvas = np.full((620, 900, 3), 120, np.uint8)
    canvas[300:600, :256] = cv2.resize(grace_hopper, (256, 300), interpolation=cv2.INTER_AREA)
    canvas[:600, 388:] = grace_hopper
    with FaceFinder(face_models) as finder:
        faces = finder.find(canvas, region)
    assert len(faces) == 2
    assert faces[0].crop.side > 1.6 * faces[1].crop.side
    assert faces[0].crop.center_x > 388 > faces[1].crop.center_x


def test_a_face_is_found_once(face_models, grace_hopper: np.ndarray, monkeypatch) -> None:
    with FaceFinder(face_models) as finder:
        detect = finder._landmarker.detect

        def twice(*arguments):
            result = detect(*arguments)
            # In this case MediaPipe returns two detections of one face, a few pixels apart.
            again = [SimpleNamespace(x=p.x + 0.01, y=p.y, z=p.z) for p in result.face_landmarks[0]]
            result.face_landmarks.append(again)
            return result

        monkeypatch.setattr(finder._landmarker, "detect", twice)
        (face,) = finder.find(grace_hopper)
    assert face.crop.center_x == pytest.approx(265, abs=6)


def test_options_of_the_finder_are_checked(face_models) -> None:
    with pytest.raises(ValueError, match="max_faces"):
        FaceFinder(face_models, max_faces=0)


def test_unusable_models_are_named(make_stylizer) -> None:
    models = FaceModels(make_stylizer(128), make_stylizer(192), "stand-ins")
    with pytest.raises(FaceModelsError, match="stand-ins"):
        FaceFinder(models)


def _two_portraits(portrait: np.ndarray) -> np.ndarray:
    canvas = np.full((640, 1100, 3), 90, np.uint8)
    canvas[20:620, 20:532] = canvas[20:620, 568:1080] = portrait
    return canvas


def _region(left: int, top: int, right: int, bottom: int) -> Region:
    """A region of the picture of two portraits, from edges in pixels."""
    return Region(left / 1100, top / 640, right / 1100, bottom / 640)


def test_the_finder_searches_a_region(face_models, grace_hopper: np.ndarray) -> None:
    canvas = _two_portraits(grace_hopper)
    with FaceFinder(face_models, max_faces=1) as finder:
        whole = finder.find(grace_hopper)[0]
        for left in (20, 568):
            # The edges of the portrait, and a box like those of other face detectors.
            for box in ((0, 0, 512, 600), (190, 115, 345, 310)):
                edges = np.add(box, [left, 20, left, 20]).tolist()
                (face,) = finder.find(canvas, _region(*edges))
                assert face.crop.center_x == pytest.approx(whole.crop.center_x + left, abs=4)
                assert face.crop.center_y == pytest.approx(whole.crop.center_y + 20, abs=4)
                assert face.crop.side == pytest.approx(whole.crop.side, abs=8)
                assert face.crop.side == round(face.crop.side)
                np.testing.assert_allclose(
                    face.landmarks[:, :2], whole.landmarks[:, :2] + [left, 20], atol=12
                )
        assert finder.find(canvas, _region(20, 420, 532, 620)) == []
    with pytest.raises(ValueError, match="closed"):
        finder.find(canvas, _region(20, 420, 532, 620))


def test_the_tracker_searches_a_region(face_models, grace_hopper: np.ndarray) -> None:
    canvas = _two_portraits(grace_hopper)
    with FaceFinder(face_models, max_faces=1, video=True) as tracker:
        (alone,) = tracker.track(grace_hopper, 0)
    for left in (20, 568):
        with FaceFinder(face_models, max_faces=1, video=True) as tracker:
            (face,) = tracker.track(canvas, 0, _region(left, 20, left + 512, 620))
        np.testing.assert_allclose(
            face.landmarks[:, :2], alone.landmarks[:, :2] + [left, 20], atol=8
        )


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_in_a_turned_photo_is_found(
    face_models, grace_hopper: np.ndarray, turns: int
) -> None:
    photo = np.ascontiguousarray(np.rot90(grace_hopper, turns))
    with FaceFinder(face_models, max_faces=1) as finder:
        (upright,) = finder.find(grace_hopper)
        (turned,) = finder.find(photo, Region(rotation_degrees=90 * turns))
    assert turned.crop.side == pytest.approx(upright.crop.side, abs=4)
    turn = math.remainder(turned.crop.rotation - upright.crop.rotation, 2 * math.pi)
    assert abs(math.remainder(turn + turns * math.pi / 2, 2 * math.pi)) < 0.03


def test_a_face_is_tracked_over_frames(face_models, grace_hopper: np.ndarray) -> None:
    with FaceFinder(face_models, max_faces=1, video=True) as tracker:
        faces = [tracker.track(grace_hopper, time)[0] for time in (0, 40, np.int64(80))]
        with pytest.raises(TypeError, match="float"):
            tracker.track(grace_hopper, 81.5)
        with pytest.raises(ValueError, match="increase: got 80 ms after 80 ms"):
            tracker.track(grace_hopper, 80)
        assert tracker.track(np.zeros((64, 64, 3), np.uint8), 120) == []
        with pytest.raises(ValueError, match="call track"):
            tracker.find(grace_hopper)
    assert faces[2].crop.side == pytest.approx(faces[0].crop.side, rel=0.02)
    assert faces[0].crop.side != round(faces[0].crop.side)
    with pytest.raises(ValueError, match="closed"):
        tracker.track(grace_hopper, 160)
    with FaceFinder(face_models) as finder, pytest.raises(ValueError, match="call find"):
        finder.track(grace_hopper, 0)
    with (
        FaceFinder(face_models, video=True) as tracker,
        pytest.raises(ValueError, match="negative"),
    ):
        tracker.track(grace_hopper, -1)
