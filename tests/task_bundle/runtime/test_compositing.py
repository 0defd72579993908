"""Tests of task_bundle.runtime.compositing."""

import functools
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from task_bundle.errors import ImageError, InvalidArgumentError
from task_bundle.faces.alignment import Face, FaceCrop, FaceFinder
from task_bundle.faces.person import find_person_segmenter
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.runtime import compositing
from task_bundle.runtime.compositing import face_mask, head_mask
from task_bundle.runtime.stylized_face import StylizedFace

# Most of these faces are drawn: no network sees a person in them.
composite = functools.partial(compositing.composite, region="face")
cutout = functools.partial(compositing.cutout, region="face")


def _face(x: float, y: float, size: float, degrees: float = 0.0) -> Face:
    """A face whose outline is a circle of radius `size`, with eyes and mouth at their places."""
    angles = np.linspace(0, 2 * np.pi, 478)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points[[33, 133]], points[[263, 362]], points[[61, 291]] = (-0.4, -0.2), (0.4, -0.2), (0, 0.6)
    turn = np.radians(degrees)
    turned = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    landmarks = np.zeros((478, 3))
    landmarks[:, :2] = turned * size + (x, y)
    return Face(landmarks, FaceCrop.from_landmarks(landmarks))


def _noise(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _plain(face: Face, color: tuple[int, int, int], side: int = 64) -> StylizedFace:
    return StylizedFace(np.full((side, side, 3), color, np.uint8), face)


def _smooth(height: int, width: int) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9.0), np.cos(y / 11.0), np.sin((x + y) / 13.0)]
    return np.rint(128 + 100 * np.stack(waves, axis=2)).astype(np.uint8)


_PLACES = [
    _face(100, 110, 40),
    _face(100, 110, 40, 33),
    _face(60.3, 90.7, 25, -140),
    _face(5, 100, 50, 20),
    _face(195, 235, 60),
    _face(-35, 100, 45),
    _face(100, 100, 400, 10),
    _face(50, 50, 1.5),
]


@pytest.mark.parametrize("color_match", [False, True])
@pytest.mark.parametrize("face", _PLACES)
@pytest.mark.parametrize("side", [32, 256])
def test_nothing_outside_the_mask_changes(face: Face, side: int, color_match: bool) -> None:
    photo = _noise(240, 200)
    before = photo.copy()
    result = StylizedFace(_noise(side, side, 1), face)
    pasted = composite(photo, result, color_match=color_match)
    mask = face_mask(face, 240, 200)
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(pasted[mask == 0], photo[mask == 0])
    # The mask covers about the circle of the face, and the pixels there do change.
    y, x = np.mgrid[:240, :200]
    center, radius = face.landmarks[:, :2].mean(axis=0), np.ptp(face.landmarks[:, 0]) / 2
    distance = np.hypot(x - center[0], y - center[1]) / radius
    assert not mask[distance > 1.6 + 2 / radius].any()
    middle = distance < 0.6
    if radius > 10 and middle.any():
        assert mask[middle].min() > 0.99
        assert (pasted[middle] != photo[middle]).mean() > 0.9


@pytest.mark.parametrize("feather", [0.0, 0.08, 0.5])
@pytest.mark.parametrize("face", _PLACES)
def test_the_mask_stays_inside_the_crop(face: Face, feather: float) -> None:
    # An enlarged outline is outside the crop on all sides.
    landmarks = face.landmarks.copy()
    landmarks[:, :2] += 2 * (landmarks[:, :2] - (face.crop.center_x, face.crop.center_y))
    mask = face_mask(Face(landmarks, face.crop), 240, 200, feather)
    y, x = np.nonzero(mask)
    inside = face.crop.matrix(1) @ np.stack([x, y, np.ones_like(x)])
    assert ((inside[:2] >= 0) & (inside[:2] < 1)).all()


@pytest.mark.parametrize("degrees", [0, 30, 80, 200])
def test_no_soft_edge_is_cut_short(degrees: float) -> None:
    mask = face_mask(_face(300, 300, 100, degrees), 600, 600, feather=0.2)
    y, x = np.nonzero(mask)
    for edge in (mask[y.min()], mask[y.max()], mask[:, x.min()], mask[:, x.max()]):
        assert edge.max() < 0.01


def test_the_mask_is_an_oval_with_a_soft_edge() -> None:
    mask = face_mask(_face(150, 150, 60), 300, 300)
    assert mask.dtype == np.float32 and mask.min() == 0 and mask.max() == pytest.approx(1, abs=1e-5)
    assert mask[150, 150] == pytest.approx(1, abs=1e-5)
    # It is 1/2 on the circle, greater inside, smaller outside, and 0 in the corners of the box.
    assert 0.4 < mask[150, 150 + 60] < 0.65
    assert 0.4 < mask[150 + 60, 150] < 0.65
    assert not mask[150 + 51, 150 + 51]
    assert np.abs(np.diff(mask, axis=1)).max() < 0.13
    # The mask is extended above the mesh, for the forehead.
    assert mask[150 - 66, 150] > 0.9
    hard = face_mask(_face(150, 150, 60), 300, 300, feather=0)
    assert ((hard > 0) & (hard < 1)).sum() < 0.4 * ((mask > 0) & (mask < 1)).sum()


def test_the_soft_edge_grows_with_the_face() -> None:
    def width(size: float) -> int:
        mask = face_mask(_face(700, 700, size), 1400, 1400)
        return int(((mask[700] > 0.01) & (mask[700] < 0.99)).sum())

    assert width(360) == pytest.approx(4 * width(90), rel=0.1)


def test_the_mask_follows_mediapipes_face_oval(grace_hopper, face_models) -> None:
    module = import_mediapipe("mediapipe.tasks.python.vision.face_landmarker")
    oval = [c.start for c in module.FaceLandmarksConnections.FACE_LANDMARKS_FACE_OVAL]
    with FaceFinder(face_models) as finder:
        (face,) = finder.find(grace_hopper)
    height, width = grace_hopper.shape[:2]
    drawn = np.zeros((height, width), np.uint8)
    cv2.fillPoly(drawn, [np.rint(face.landmarks[oval, :2]).astype(np.int32)], 1)
    mask = face_mask(face, height, width)
    below = np.arange(height)[:, None] > face.crop.center_y
    both, either = (drawn > 0) & (mask > 0.5) & below, ((drawn > 0) | (mask > 0.5)) & below
    assert both.sum() > 0.92 * either.sum()
    assert mask[drawn > 0].min() > 0.4


@pytest.mark.parametrize("degrees", [0, 25, -110])
@pytest.mark.parametrize("side", [64, 160, 256, 512])
def test_a_face_returns_to_where_it_came_from(side: int, degrees: float) -> None:
    photo = _smooth(300, 320)
    face = _face(150.4, 140.2, 40, degrees)
    assert face.crop.side in range(120, 170)
    # Cropped without MediaPipe's aliasing, so that only the way back makes a difference.
    crop = cv2.warpAffine(
        cv2.resize(photo, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC).astype(np.float32),
        (face.crop.matrix(side) @ np.array([[0.25, 0, -0.375], [0, 0.25, -0.375], [0, 0, 1]]))[:2],
        (side, side),
    )
    result = StylizedFace(np.clip(np.rint(crop), 0, 255).astype(np.uint8), face)
    pasted = composite(photo, result)
    inside = face_mask(face, 300, 320) > 0.5
    difference = pasted[inside].astype(float) - photo[inside]
    assert np.abs(difference).mean() < (2.0 if side < 128 else 0.9)


def test_fine_pictures_are_smoothed_before_they_shrink() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    face = _face(50.0, 50.0, 12)
    pasted = composite(np.full((100, 100, 3), 128, np.uint8), StylizedFace(stripes, face))
    assert np.abs(pasted.astype(int) - 128).max() <= 8


def test_no_pixels_show_where_a_picture_is_enlarged() -> None:
    # The finest possible pattern, an artifact of many generators.
    pattern = np.full((64, 64, 3), 120, np.uint8)
    pattern[::2, ::2] = pattern[1::2, 1::2] = 136
    face = _face(300, 300, 150)
    pasted = composite(np.full((600, 600, 3), 128, np.uint8), StylizedFace(pattern, face))
    assert np.abs(pasted.astype(int) - 128).max() <= 1
    # But a picture in the resolution of the photo stays sharp.
    face = _face(50, 50, 15)
    assert face.crop.side == 48
    pasted = composite(np.full((100, 100, 3), 128, np.uint8), StylizedFace(pattern[:48, :48], face))
    assert np.abs(pasted[45:55, 45:55].astype(int) - 128).min() >= 7
    # And one that is slightly enlarged is slightly smoothed.
    larger = StylizedFace(pattern[:48, :48], _face(50, 50, 17))
    pasted = composite(np.full((100, 100, 3), 128, np.uint8), larger)
    assert np.abs(pasted.astype(int) - 128).max() >= 5


def test_the_bigger_face_lies_on_top() -> None:
    photo = np.zeros((300, 400, 3), np.uint8)
    big, small = _plain(_face(200, 150, 60), (255, 0, 0)), _plain(_face(250, 150, 30), (0, 255, 0))
    for results in ([big, small], [small, big]):
        pasted = composite(photo, results)
        assert pasted[150, 235].tolist() == [255, 0, 0]
        assert pasted[150, 275].tolist() == [0, 255, 0]
        assert cutout(photo, results)[150, 235].tolist() == [255, 0, 0, 255]


@pytest.mark.parametrize("color_match", [False, True])
def test_a_cutout_over_the_photo_is_the_composite(color_match: bool) -> None:
    photo = _smooth(240, 200)
    results = [StylizedFace(_noise(64, 64, i), face) for i, face in enumerate(_PLACES[:6])]
    cut = cutout(photo, results, color_match=color_match)
    assert cut.shape == (240, 200, 4) and cut.dtype == np.uint8
    over = Image.alpha_composite(Image.fromarray(photo).convert("RGBA"), Image.fromarray(cut))
    pasted = composite(photo, results, color_match=color_match)
    assert np.abs(np.asarray(over)[..., :3].astype(int) - pasted).max() <= 3
    one = cutout(photo, results[0])
    mask = face_mask(_PLACES[0], 240, 200)
    np.testing.assert_allclose(one[..., 3], 255 * mask, atol=0.51)
    assert not one[mask == 0].any()


def test_without_faces_nothing_is_pasted() -> None:
    photo = _noise(20, 30)
    pasted = composite(photo, [])
    np.testing.assert_array_equal(pasted, photo)
    assert not np.shares_memory(pasted, photo)
    assert not cutout(photo, []).any()
    away = _face(900, 900, 20)
    np.testing.assert_array_equal(composite(photo, _plain(away, (1, 2, 3))), photo)
    assert not face_mask(away, 20, 30).any()


def test_colors_are_matched_to_the_face() -> None:
    rng = np.random.default_rng(3)

    def patches(mean: npt.ArrayLike, spread: float, side: int) -> npt.NDArray[np.uint8]:
        """Makes a picture of patches, which resampling, unlike single pixels, does not average."""
        values = mean + rng.normal(0, spread, (15, 15, 1))
        small = np.clip(values, 0, 255).astype(np.uint8)
        return small.repeat(side // 15, axis=0).repeat(side // 15, axis=1)

    photo = patches((150, 100, 80), 15, 300)
    gray = patches((90, 90, 90), 25, 255)
    face = _face(150, 150, 60)
    inside = face_mask(face, 300, 300) > 0.99
    pasted = composite(photo, StylizedFace(gray, face), color_match=True)
    np.testing.assert_allclose(pasted[inside].mean(axis=0), photo[inside].mean(axis=0), atol=4)
    lightness = [x[inside].astype(float).mean(axis=1).std() for x in (pasted, photo)]
    assert lightness[0] == pytest.approx(lightness[1], rel=0.25)
    # By default the colors of the style are kept.
    plain = composite(photo, StylizedFace(gray, face))
    assert np.ptp(plain[inside].mean(axis=0)) < 1


def test_colors_are_matched_to_what_is_in_the_photo() -> None:
    # Half of the face is outside the photo, where the crop is black.
    photo = np.full((200, 100, 3), 200, np.uint8)
    face = _face(2, 100, 40)
    pasted = composite(photo, _plain(face, (90, 90, 90)), color_match=True)
    assert np.abs(pasted.astype(int) - 200).max() <= 1


def test_pictures_of_one_color_can_be_matched() -> None:
    photo = np.full((200, 200, 3), (10, 200, 30), np.uint8)
    for color in ((0, 0, 0), (255, 255, 255), (200, 10, 10)):
        pasted = composite(photo, _plain(_face(100, 100, 30), color), color_match=True)
        assert np.abs(pasted.astype(int) - photo).max() <= 1


def test_photos_may_be_files_arrays_or_pillow_images(tmp_path: Path) -> None:
    gray = _noise(120, 120)[..., 0]
    result = _plain(_face(60, 60, 20), (1, 2, 3))
    Image.fromarray(gray).save(tmp_path / "gray.png")
    expected = composite(np.stack([gray] * 3, axis=2), result)
    for photo in (gray, Image.fromarray(gray), tmp_path / "gray.png"):
        np.testing.assert_array_equal(composite(photo, result), expected)
        assert cutout(photo, result).shape == (120, 120, 4)


@pytest.mark.parametrize("size", [(40, 64), (64, 40), (200, 320)])
def test_pictures_need_not_be_square(size: tuple[int, int]) -> None:
    photo = _smooth(240, 200)
    for face in (_face(100, 110, 25), _face(100, 110, 25, 33)):
        for match in (False, True):
            seen = StylizedFace(face.crop.crop(photo, size), face)
            # The result is the same as with the square picture.
            square = StylizedFace(face.crop.crop(photo, min(size)), face)
            pasted = composite(photo, seen, color_match=match)
            wanted = composite(photo, square, color_match=match)
            assert np.abs(pasted.astype(int) - wanted).max() <= 1
            assert np.abs(pasted.astype(int) - photo).mean() < 1


def test_wrong_input_is_refused() -> None:
    photo, face = _noise(50, 50), _face(25, 25, 10)
    result = _plain(face, (0, 0, 0))
    for paste in (composite, cutout):
        with pytest.raises(ImageError, match="uint8"):
            paste(photo.astype(float), result)
        for feather in (-0.1, 0.6, float("nan")):
            with pytest.raises(ValueError, match="feather"):
                paste(photo, result, feather=feather)
    with pytest.raises(ValueError, match="0 x 10"):
        face_mask(face, 10, 0)


@pytest.fixture
def segmenter():
    """The network that finds the person, which mediapipe 1.x does not have."""
    found = find_person_segmenter()
    if found is None:
        pytest.skip("this mediapipe has no selfie segmentation")
    return found


@pytest.fixture
def face_of_grace(grace_hopper, face_models) -> Face:
    with FaceFinder(face_models) as finder:
        return finder.find(grace_hopper)[0]


def test_a_head_is_the_face_with_its_hair(segmenter, grace_hopper, face_of_grace: Face) -> None:
    head = head_mask(grace_hopper, face_of_grace)
    face = face_mask(face_of_grace, *grace_hopper.shape[:2])
    assert head.dtype == np.float32 and head.min() >= 0 and head.max() <= 1
    # All of the face but its edge at the neck, and about as much again: her hair and her cap.
    assert (head[face > 0.99] > 0.8).mean() > 0.95
    assert head.sum() > 1.3 * face.sum()
    # Neither the flag behind her nor her uniform.
    assert not head[:, :100].any() and not head[:, 420:].any() and not head[400:].any()
    y, x = np.nonzero(head)
    inside = face_of_grace.crop.matrix(1) @ np.stack([x, y, np.ones_like(x)])
    assert ((inside[:2] >= 0) & (inside[:2] < 1)).all()


def test_heads_are_pasted_unless_faces_are_asked_for(
    segmenter, grace_hopper, face_of_grace: Face
) -> None:
    green = _plain(face_of_grace, (0, 255, 0), 256)
    head = compositing.composite(grace_hopper, green)
    mask = head_mask(grace_hopper, face_of_grace)
    np.testing.assert_array_equal(head[mask == 0], grace_hopper[mask == 0])
    assert (head[mask == 1] == (0, 255, 0)).all()
    face = compositing.composite(grace_hopper, green, region="face")
    cap = (mask > 0.99) & (face_mask(face_of_grace, *grace_hopper.shape[:2]) == 0)
    assert cap.sum() > 1000
    np.testing.assert_array_equal(face[cap], grace_hopper[cap])
    np.testing.assert_array_equal(
        compositing.cutout(grace_hopper, green)[..., 3] > 0, mask > 1 / 510
    )


def test_an_unknown_region_is_refused(grace_hopper, face_of_grace: Face) -> None:
    with pytest.raises(InvalidArgumentError, match="region must be one of head, face, not 'hat'"):
        compositing.composite(grace_hopper, _plain(face_of_grace, (0, 0, 0)), region="hat")


def test_without_a_network_the_face_alone_is_pasted(
    grace_hopper, face_of_grace: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compositing, "find_person_segmenter", lambda: None)
    face = face_mask(face_of_grace, *grace_hopper.shape[:2])
    np.testing.assert_array_equal(head_mask(grace_hopper, face_of_grace), face)
