"""Tests of the painter on drawings of flat areas, made from the parts of a photo."""

import dataclasses

import cv2
import numpy as np
import pytest

from mm_face_stylizer.painting.painter import Painter
from mm_face_stylizer.painting.person_mask import PersonMask
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.painting.spectacles import spectacles
from task_bundle.faces.alignment import FaceFinder

_WALL = (0.55, 0.8, 0.95)
_FAIR, _DARK = (0.98, 0.85, 0.72), (0.4, 0.25, 0.18)
_BLOND, _BLACK = (0.95, 0.8, 0.35), (0.12, 0.1, 0.12)
_FRAME = (0.1, 0.0, 0.5)


@pytest.fixture(scope="module")
def photo(face_models, grace_hopper) -> Portrait:
    with FaceFinder(face_models) as finder:
        landmarks = finder.find(grace_hopper)[0].landmarks
    return Portrait.from_photo(grace_hopper, landmarks, PersonMask())


@pytest.fixture(scope="module")
def drawing(photo):
    """Returns a function that draws her in flat colors of skin and hair."""

    def draw(skin, hair, frame: bool = False) -> Portrait:
        colors = {
            "skin": skin, "hair": hair, "brows": hair, "clothes": (0.8, 0.2, 0.3),
            "eyes": (0.1, 0.1, 0.1), "lips": (0.8, 0.3, 0.3), "background": _WALL,
        }  # fmt: skip
        names = list(colors)
        owner = np.argmax([photo.parts[name] for name in names], axis=0)
        picture = np.array([colors[name] for name in names], np.float32)[owner]
        if frame:
            left, right, brows, nose = (photo.landmarks[i] for i in (127, 356, 9, 197))
            start, end = (int(left[0]), int(brows[1]) + 6), (int(right[0]), int(nose[1]) + 6)
            cv2.rectangle(picture, start, end, _FRAME, 3)
        pixels = (picture * 255).astype(np.uint8)
        return Portrait.from_aligned(pixels, photo.landmarks, PersonMask())

    return draw


def test_skin_and_hair_have_the_nearest_of_the_styles_colors(photo, drawing) -> None:
    styles = [drawing(_FAIR, _BLACK), drawing(_DARK, _BLOND)]
    painter = Painter(styles).only(0)
    cheek = tuple(photo.landmarks[50].astype(int)[::-1])
    for factor, nearest in ((1.5, _FAIR), (0.3, _DARK)):
        shade = dataclasses.replace(photo, picture=np.clip(photo.picture * factor, 0.0, 1.0))
        painted = painter.paint(shade).picture[cheek] / 255.0
        others = [color for color in (_FAIR, _DARK) if color is not nearest]
        assert np.abs(painted - nearest).max() < 0.1 < np.abs(painted - others[0]).max()
    # The wall is no part of a person.
    assert np.abs(painter.paint(photo).picture[8, 8] / 255.0 - _WALL).max() < 0.03


def test_one_picture_keeps_its_own_colors(photo, drawing) -> None:
    dark = dataclasses.replace(photo, picture=photo.picture * 0.3)
    cheek = tuple(photo.landmarks[50].astype(int)[::-1])
    painted = Painter([drawing(_FAIR, _BLACK)]).paint(dark).picture[cheek] / 255.0
    assert np.abs(painted - _FAIR).max() < 0.1


def test_the_photos_colors_leave_the_wall_alone(photo, drawing) -> None:
    painter = Painter([drawing(_FAIR, _BLACK)], colors="photo")
    assert np.abs(painter.paint(photo).picture[8, 8] / 255.0 - _WALL).max() < 0.03


def test_spectacles_are_found_by_their_bridge(drawing) -> None:
    with_frame = drawing(_FAIR, _BLACK, frame=True)
    found = spectacles(with_frame)
    is_frame = np.abs(with_frame.picture - _FRAME).max(axis=-1) < 0.05
    assert found[is_frame].mean() > 0.6 and found[~is_frame].mean() < 0.05
    without = drawing(_FAIR, _BLACK)
    assert not spectacles(without).any()
    # The line of a nose runs down and covers few of the columns between the eyes.
    picture = without.picture.copy()
    top, bottom = (tuple(without.landmarks[i].astype(int)) for i in (168, 5))
    cv2.line(picture, top, bottom, (0.0, 0.0, 0.0), 3)
    assert not spectacles(dataclasses.replace(without, picture=picture)).any()


def test_spectacles_are_avoided_or_stay_where_they_are_worn(photo, drawing) -> None:
    with_frame, without = drawing(_FAIR, _BLACK, frame=True), drawing(_FAIR, _BLACK)
    assert Painter([with_frame, without]).most_suitable([photo]) == 1
    painted = Painter([with_frame]).paint(photo).picture / 255.0
    is_frame = np.abs(painted - _FRAME).max(axis=-1) < 0.2
    assert is_frame.sum() > 100
    brows = int(photo.landmarks[[105, 334], 1].min())
    assert not is_frame[: brows - 8].any()


def test_high_hair_is_painted_without_stripes_of_wall(photo, drawing) -> None:
    style = drawing(_FAIR, _BLACK)
    # The style's hair is a thin rim; hers is everything above her face.
    rows = np.arange(256)[:, np.newaxis]
    hair = np.where(rows < photo.landmarks[10, 1] - 8, 1.0, 0.0) * np.ones((256, 256), np.float32)
    parts = {name: mask * (1 - hair) for name, mask in photo.parts.items()} | {"hair": hair}
    style_hair = hair * (rows > photo.landmarks[10, 1] - 20)
    picture = np.where(hair[..., np.newaxis] > 0, _WALL, style.picture)
    picture = np.where(style_hair[..., np.newaxis] > 0, _BLACK, picture).astype(np.float32)
    own = {name: mask * (1 - hair) for name, mask in style.parts.items()}
    own["hair"], own["background"] = style_hair, own["background"] + hair - style_hair
    style = dataclasses.replace(style, picture=picture, parts=own)
    painted = Painter([style]).paint(dataclasses.replace(photo, parts=parts)).picture / 255.0
    tall = hair > 0
    tall[int(photo.landmarks[10, 1]) - 14 :] = False
    assert (np.abs(painted[tall] - _WALL).max(axis=-1) < 0.2).mean() < 0.1


def test_hair_at_the_rim_is_no_wall() -> None:
    picture = np.full((256, 256, 3), (205, 215, 222), np.uint8)
    picture[:110, :200] = (30, 12, 70)
    oval = np.zeros((256, 256), np.float32)
    cv2.ellipse(oval, (140, 150), (45, 60), 0, 0, 360, 1.0, -1)
    person = PersonMask().find(picture, oval)
    assert person[20, 100] > 0.9 and person[20, 240] < 0.1 and person[200, 20] < 0.1


def test_skin_is_told_beside_a_fringe_and_spectacles(drawing) -> None:
    portrait = drawing(_FAIR, (0.55, 0.35, 0.36), frame=True)
    picture = portrait.picture.copy()
    # The fringe covers the points where foreheads have skin.
    bottom = int(portrait.landmarks[9, 1])
    left, right = int(portrait.landmarks[103, 0]), int(portrait.landmarks[332, 0])
    picture[int(portrait.landmarks[10, 1]) - 6 : bottom, left:right] = (0.55, 0.35, 0.36)
    pixels = (picture * 255).astype(np.uint8)
    found = Portrait.from_aligned(pixels, portrait.landmarks, PersonMask())
    fringe = tuple(portrait.landmarks[151].astype(int)[::-1])
    cheek = tuple(portrait.landmarks[50].astype(int)[::-1])
    assert found.parts["hair"][fringe] > 0.7 and found.parts["skin"][cheek] > 0.9
    # Nothing on a face is clothes.
    nose = tuple(portrait.landmarks[6].astype(int)[::-1])
    assert found.parts["clothes"][nose] < 0.05
