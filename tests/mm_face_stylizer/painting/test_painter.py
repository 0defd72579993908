"""Tests of the painter on a real portrait and on styles that the project draws itself."""

import dataclasses
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest

from mm_face_stylizer.painting.painter import Painter
from mm_face_stylizer.painting.person_mask import PersonMask
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.style_pictures import draw_style
from task_bundle.faces.alignment import FaceFinder


@pytest.fixture(scope="module")
def finder(face_models):
    with FaceFinder(face_models) as made:
        yield made


@pytest.fixture(scope="module")
def portrait_of(finder):
    """Returns a function that makes a portrait of the biggest face of a picture."""
    mask = PersonMask()

    def make(picture: np.ndarray, size: int = 256) -> Portrait:
        return Portrait.from_photo(picture, finder.find(picture)[0].landmarks, mask, size)

    return make


@pytest.fixture(scope="module")
def photo(portrait_of, grace_hopper) -> Portrait:
    return portrait_of(grace_hopper)


@pytest.fixture(scope="module")
def comic_picture() -> np.ndarray:
    return draw_style("comic")


@pytest.fixture(scope="module")
def comic(portrait_of, comic_picture) -> Portrait:
    return portrait_of(comic_picture)


def test_same_seed_same_bytes_also_after_pickling(photo, comic) -> None:
    painter = Painter([comic], seed=3)
    first = painter.paint(photo).picture
    copy = pickle.loads(pickle.dumps(painter))
    assert np.array_equal(first, copy.paint(pickle.loads(pickle.dumps(photo))).picture)
    assert not np.array_equal(first, Painter([comic], seed=4).paint(photo).picture)
    assert first.shape == (256, 256, 3) and first.dtype == np.uint8


def test_never_paints_with_what_is_outside_the_style_picture(photo, comic) -> None:
    # Green is nowhere in the style picture, but all over what lies outside.
    valid = comic.valid.copy()
    valid[:, 200:] = False
    green = comic.picture.copy()
    green[:, 200:] = (0, 1, 0)
    style = Portrait(green, comic.landmarks, valid, comic.parts)
    painted = Painter([style]).paint(photo).picture.astype(int)
    is_green = (painted[..., 1] > 200) & (painted[..., [0, 2]].max(axis=2) < 60)
    assert not is_green.any()
    unguarded = Portrait(green, comic.landmarks, np.ones_like(valid), comic.parts)
    painted = Painter([unguarded]).paint(photo).picture.astype(int)
    assert ((painted[..., 1] > 200) & (painted[..., [0, 2]].max(axis=2) < 60)).any()


def test_more_likeness_follows_the_photos_light_and_shade(photo, comic) -> None:
    own = _tone(photo.luma)
    face = photo.parts["skin"] > 0.5
    agreements = [
        np.corrcoef(_tone(_luma(Painter([comic], likeness).paint(photo).picture))[face], own[face])[
            0, 1
        ]
        for likeness in (0.0, 1.0)
    ]
    assert agreements[1] > agreements[0] + 0.05


def test_an_open_mouth_stays_open(photo, comic) -> None:
    # The same face, once with the lips' opening drawn, as the guides see it.
    closed = Painter([comic]).paint(photo).picture
    landmarks = photo.landmarks.copy()
    landmarks[14] += (0.0, 12.0)
    mouth = np.zeros_like(photo.parts["mouth"])
    center = tuple(int(v) for v in np.round(photo.landmarks[[13, 14]].mean(axis=0) + (0, 6)))
    cv2.ellipse(mouth, center, (18, 8), 0, 0, 360, 1.0, -1)
    picture = photo.picture.copy()
    picture[mouth > 0.5] = 0.05
    opened = Portrait(picture, landmarks, photo.valid, photo.parts | {"mouth": mouth})
    assert opened.has_open_mouth and not comic.has_open_mouth
    painted = Painter([comic]).paint(opened).picture
    inside = mouth > 0.5
    assert _luma(painted)[inside].mean() < _luma(closed)[inside].mean() - 0.1


def test_photo_colors_are_the_photos(photo, comic) -> None:
    green = dataclasses.replace(comic, picture=comic.picture * np.float32([0.6, 1.0, 0.7]))
    hues = {}
    for colors in ("style", "photo"):
        picture = Painter([green], colors=colors).paint(photo).picture
        hues[colors] = _mean_color(picture, photo.parts["skin"] > 0.7)
    own = _mean_color((photo.picture * 255).astype(np.uint8), photo.parts["skin"] > 0.7)
    assert np.linalg.norm(hues["photo"] - own) < 0.4 * np.linalg.norm(hues["style"] - own)


def test_hair_is_told_from_skin(photo) -> None:
    parts = photo.parts
    total = parts["skin"] + parts["hair"] + parts["clothes"] + parts["background"]
    assert np.abs(total - 1)[photo.valid].max() < 0.01
    forehead, cheek = (photo.landmarks[i].astype(int) for i in (151, 50))
    assert parts["skin"][forehead[1], forehead[0]] > 0.7
    assert parts["skin"][cheek[1], cheek[0]] > 0.7
    # Her hair is under the cap's rim, beside the temples; the uniform is below the chin.
    below = slice(min(250, int(photo.landmarks[152, 1]) + 30), 256)
    assert parts["clothes"][below].mean() > 0.4


def test_a_drawing_on_plain_paper_is_cut_out_whole() -> None:
    picture = np.full((256, 256, 3), (230, 240, 250), np.uint8)
    cv2.circle(picture, (128, 120), 80, (200, 60, 60), -1)
    oval = np.zeros((256, 256), np.float32)
    cv2.circle(oval, (128, 130), 40, 1.0, -1)
    person = PersonMask().find(picture, oval)
    assert person[60, 128] > 0.9 and person[10, 10] < 0.1


def test_portraits_of_512_px_are_painted(portrait_of, comic_picture, grace_hopper) -> None:
    style = portrait_of(comic_picture, 512)
    assert Painter([style]).paint(portrait_of(grace_hopper, 512)).picture.shape == (512, 512, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"likeness": 1.5}, "likeness is 1.5; it must be a number from 0 to 1"),
        ({"colors": "none"}, "colors is 'none'; it must be one of style, photo"),
    ],
)
def test_wrong_arguments(comic, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        Painter([comic], **arguments)


def test_a_style_picture_is_needed() -> None:
    with pytest.raises(ValueError, match="no style picture"):
        Painter([])


def test_tensorflow_is_not_imported() -> None:
    code = "import sys, mm_face_stylizer.painting.painter; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _luma(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) / 255 @ np.array([0.299, 0.587, 0.114], np.float32)


def _tone(luma: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(np.asarray(luma, np.float32), (0, 0), 3)


def _mean_color(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab[mask].mean(axis=0)[1:]


def test_dark_people_are_painted_from_dark_pictures(photo, portrait_of, comic_picture) -> None:
    # The same drawing twice, once with darker hair and skin.
    dark = (comic_picture * 0.55).astype(np.uint8)
    painter = Painter([portrait_of(dark), portrait_of(comic_picture)])
    shades = [
        dataclasses.replace(photo, picture=np.clip(photo.picture * factor, 0.0, 1.0))
        for factor in (0.35, 1.8)
    ]
    assert [painter.paint(shade).style for shade in shades] == [0, 1]
    assert painter.most_suitable(shades[1:]) == 1
