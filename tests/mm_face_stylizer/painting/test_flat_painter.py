import dataclasses

import numpy as np
import pytest

from mm_face_stylizer.painting.flat_painter import FlatPainter
from mm_face_stylizer.painting.portrait import EYES, MOUTH
from mm_face_stylizer.painting.portrait_finder import PortraitFinder

_SIDE = 128


@pytest.fixture(scope="module")
def photo(grace_hopper, face_models):
    with PortraitFinder(face_models) as finder:
        return finder.find(grace_hopper, _SIDE)


def _in_color(portrait, **colors):
    """A flat picture of the style: the photo's parts in one color each."""
    picture = np.full_like(portrait.picture, 0.9)
    for name, color in colors.items():
        picture[portrait.parts[name] > 0.5] = color
    picture[portrait.parts["eyes"] > 0.5] = (0.1, 0.05, 0.05)
    return dataclasses.replace(portrait, picture=picture)


@pytest.fixture(scope="module")
def styles(photo):
    return [
        _in_color(photo, skin=(0.9, 0.7, 0.6), hair=(0.9, 0.8, 0.5), background=(0.7, 0.8, 0.9)),
        _in_color(photo, skin=(0.4, 0.2, 0.1), hair=(0.1, 0.1, 0.1), background=(0.7, 0.8, 0.9)),
    ]


def _colors(picture, portrait, name):
    return np.median(picture[portrait.parts[name] > 0.9], axis=0) / 255.0


def test_parts_have_the_nearest_colors_of_the_style(photo, styles):
    picture = FlatPainter(styles).paint(photo)
    assert picture.shape == (_SIDE, _SIDE, 3) and picture.dtype == np.uint8
    np.testing.assert_allclose(_colors(picture, photo, "background"), (0.7, 0.8, 0.9), atol=0.02)
    light = _colors(picture, photo, "skin")
    np.testing.assert_allclose(light, (0.9, 0.7, 0.6), atol=0.12)
    dark = dataclasses.replace(photo, picture=photo.picture * 0.35)
    assert _colors(FlatPainter(styles).paint(dark), photo, "skin").mean() < light.mean() - 0.3


def test_flat_parts_and_features_with_contrast(photo, styles):
    picture = FlatPainter(styles).paint(photo).astype(float)
    # Most of a face is of one color, and its eyes have both white and ink.
    skin = picture[photo.parts["skin"] > 0.9]
    assert np.mean(np.abs(skin - np.median(skin, axis=0)).max(axis=1) < 3) > 0.6
    for eye in EYES:
        middle = photo.landmarks[list(eye)].mean(axis=0).astype(int)
        around = picture[middle[1] - 6 : middle[1] + 7, middle[0] - 8 : middle[0] + 9].mean(axis=2)
        assert around.max() > 220 and around.min() < 60


def test_mouths_and_eyes_open_with_those_of_the_photo(photo, styles):
    points = photo.landmarks.copy()
    points[list(MOUTH[11:])] += [0.0, 8.0]
    opened = dataclasses.replace(photo, landmarks=points)
    points = photo.landmarks.copy()
    for eye in EYES:
        points[list(eye), 1] = points[list(eye), 1].mean()
    closed = dataclasses.replace(photo, landmarks=points)
    painter = FlatPainter(styles)
    own, wide, shut = (painter.paint(x).astype(int) for x in (photo, opened, closed))
    middle = photo.landmarks[14].astype(int) + [0, 3]
    mouth = (slice(middle[1] - 3, middle[1] + 4), slice(middle[0] - 5, middle[0] + 6))
    # Teeth and the inside of the mouth are lighter and darker than lips.
    assert np.ptp(wide[mouth].mean(axis=2)) > np.ptp(own[mouth].mean(axis=2)) + 20
    eye = photo.landmarks[list(EYES[0])].mean(axis=0).astype(int)
    eye = (slice(eye[1] - 5, eye[1] + 6), slice(eye[0] - 7, eye[0] + 8))
    assert own[eye].mean(axis=2).max() > 220 > shut[eye].mean(axis=2).max()


def test_a_shadow_beside_the_mouth_is_no_beard(photo, styles):
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    nose = photo.landmarks[2]
    lower = (rows > nose[1]) & (photo.parts["skin"] > 0.5)

    def bearded(where):
        parts = photo.parts | {
            "hair": np.where(where, 1.0, photo.parts["hair"]).astype(np.float32),
            "skin": np.where(where, 0.0, photo.parts["skin"]).astype(np.float32),
        }
        picture = FlatPainter(styles).paint(dataclasses.replace(photo, parts=parts))
        cheek = photo.landmarks[[207, 427]].astype(int)
        return [picture[y, x].astype(int) for x, y in cheek]

    without = bearded(np.zeros_like(lower))
    beside = bearded(lower & (columns < nose[0]))
    whole = bearded(lower)
    np.testing.assert_allclose(beside, without, atol=12)
    assert np.abs(np.subtract(whole, without)).max(axis=1).min() > 25


def test_a_style_without_clothes_and_a_photo_without_hair(photo, styles):
    parts = photo.parts | {"hair": np.zeros_like(photo.parts["hair"])}
    picture = FlatPainter(styles).paint(dataclasses.replace(photo, parts=parts))
    assert np.isfinite(picture).all() and picture.std() > 20
