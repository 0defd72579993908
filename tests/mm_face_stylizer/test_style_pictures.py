"""The style pictures are repeatable, differ from each other, and have a face to align."""

import functools
import itertools
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from mm_face_stylizer.style_pictures import STYLE_NAMES, draw_style
from task_bundle.faces.alignment import FaceFinder
from task_bundle.faces.face_models import FaceModels

_SIZE = 512


@functools.cache
def _drawn(name: str, seed: int) -> np.ndarray:
    """A style's picture, drawn once for all tests."""
    picture = draw_style(name, _SIZE, seed)
    picture.setflags(write=False)
    return picture


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    """Every style at seed 0."""
    return {name: _drawn(name, 0) for name in STYLE_NAMES}


@pytest.fixture(scope="module")
def finder(face_models: FaceModels) -> Iterator[FaceFinder]:
    """A face finder for the whole module, because loading it takes long."""
    with FaceFinder(face_models) as face_finder:
        yield face_finder


def _colors(picture: np.ndarray) -> np.ndarray:
    """A histogram of 6 x 6 x 6 colors that sums to 1."""
    histogram = cv2.calcHist([picture], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3)
    return histogram.ravel() / histogram.sum()


def _edges(picture: np.ndarray) -> float:
    """The mean slope of the luminance."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    slopes = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    return float(np.hypot(*slopes).mean())


@pytest.mark.parametrize("name", STYLE_NAMES)
def test_is_an_rgb_picture(name: str, pictures: dict[str, np.ndarray]) -> None:
    assert pictures[name].shape == (_SIZE, _SIZE, 3)
    assert pictures[name].dtype == np.uint8
    assert pictures[name].std() > 30


@pytest.mark.parametrize("name", STYLE_NAMES)
def test_same_seed_gives_the_same_picture(name: str, pictures: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(draw_style(name, _SIZE, seed=0), pictures[name])


@pytest.mark.parametrize("name", STYLE_NAMES)
def test_another_seed_gives_another_picture(name: str, pictures: dict[str, np.ndarray]) -> None:
    other = _drawn(name, 1)
    assert np.abs(other.astype(int) - pictures[name]).mean() > 5


@pytest.mark.parametrize("name", STYLE_NAMES)
@pytest.mark.parametrize("seed", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
def test_has_one_face_as_large_as_in_a_portrait(name: str, seed: int, finder: FaceFinder) -> None:
    faces = finder.find(_drawn(name, seed))
    assert len(faces) == 1
    # The eyes at two fifths of the height and a crop that stays within reach of the picture.
    crop = faces[0].crop
    assert abs(crop.center_x - _SIZE / 2) < 0.06 * _SIZE
    assert 0.38 * _SIZE < crop.center_y < 0.58 * _SIZE
    assert 0.5 * _SIZE < crop.side < 0.85 * _SIZE
    assert abs(crop.rotation) < 0.12


def test_styles_differ_in_color(pictures: dict[str, np.ndarray]) -> None:
    for one, other in itertools.combinations(STYLE_NAMES, 2):
        # Half the sum of the differences: 0 for the same colors, 1 for none in common.
        difference = 0.5 * np.abs(_colors(pictures[one]) - _colors(pictures[other])).sum()
        assert difference > 0.6, (one, other)


def test_styles_differ_in_line_quality(pictures: dict[str, np.ndarray]) -> None:
    edges = {name: _edges(picture) for name, picture in pictures.items()}
    assert edges["ink"] > 1.3 * edges["comic"] > 1.3 * edges["oil"] > 1.3 * edges["neon"]


def test_scales_to_the_size_asked_for(pictures: dict[str, np.ndarray]) -> None:
    small = draw_style("comic", 64)
    assert small.shape == (64, 64, 3)
    reduced = cv2.resize(pictures["comic"], (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - reduced).max() <= 2


def test_unknown_style_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'crayon'.*ink, comic, oil, neon"):
        draw_style("crayon")


@pytest.mark.parametrize(("arguments", "message"), [({"size": 0}, "size"), ({"seed": -1}, "seed")])
def test_bad_numbers_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_style("ink", **arguments)
