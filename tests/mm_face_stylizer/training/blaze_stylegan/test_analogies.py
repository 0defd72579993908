import dataclasses

import numpy as np
import pytest

from mm_face_stylizer.training.blaze_stylegan.analogies import (
    ANALOGY_SIDE,
    Guide,
    _nearest,
    analogy,
    painted,
)
from task_bundle.faces.alignment import FaceFinder

pytestmark = pytest.mark.usefixtures("face_models")

_RED, _GREEN, _BLUE = (0.8, -0.6, -0.6), (-0.6, 0.8, -0.6), (-0.6, -0.6, 0.8)


@pytest.fixture(scope="module")
def face(grace_hopper):
    """An aligned portrait in [-1, 1] and its landmarks as fractions of its side."""
    with FaceFinder() as finder:
        aligned = finder.find(grace_hopper)[0].crop.crop(grace_hopper, 256)
        landmarks = finder.find(aligned)[0].landmarks / 256
    return aligned.astype(np.float32) / 127.5 - 1.0, landmarks


def _painted(picture, style, landmarks):
    places = analogy(Guide.of(picture, landmarks), Guide.of(style, landmarks))
    return painted(style, places)


def _oval_mask(landmarks):
    white = np.full((256, 256, 3), 1.0, np.float32)
    vectors = Guide.of(white, landmarks).vectors.reshape(ANALOGY_SIDE, ANALOGY_SIDE, -1)
    return vectors[..., 2] > 0


def test_skin_becomes_skin_and_wall_becomes_wall(face):
    picture, landmarks = face
    inside = np.kron(_oval_mask(landmarks), np.ones((4, 4)))[..., np.newaxis]
    random = np.random.default_rng(0)
    shade = random.normal(0, 0.02, (256, 256, 1))
    style = (np.where(inside, _RED, _BLUE) + shade).astype(np.float32)
    result = _painted(picture, style, landmarks)
    assert result.shape == picture.shape
    red, inside = result[..., 0] > result[..., 2], inside[..., 0] > 0
    assert red[inside].mean() > 0.95 and red[~inside].mean() < 0.05


def test_light_becomes_light(face):
    picture, landmarks = face
    # The same picture in other colors, green where it is light, is its own best match.
    light = picture.mean(axis=-1, keepdims=True)
    style = (light * 0.5 + np.where(light > 0, _GREEN, _BLUE) * 0.4).astype(np.float32)
    result = _painted(picture, style, landmarks)
    greener = result[..., 1] - result[..., 2]
    assert greener[light[..., 0] > 0.3].mean() > greener[light[..., 0] < -0.3].mean() + 0.5


def test_every_color_comes_from_the_style(face):
    picture, landmarks = face
    style = np.empty_like(picture)
    style[:] = _RED
    result = _painted(picture, style, landmarks)
    np.testing.assert_allclose(result, np.broadcast_to(_RED, result.shape), atol=1e-5)


def test_a_picture_is_its_own_best_match(face):
    picture, landmarks = face
    guide = Guide.of(picture, landmarks)
    places = analogy(guide, guide)
    np.testing.assert_array_equal(places, np.moveaxis(np.mgrid[:64, :64], 0, -1))
    np.testing.assert_allclose(painted(picture, places), picture, atol=1e-5)


def test_what_moves_in_one_piece_stays_sharp():
    random = np.random.default_rng(0)
    picture = random.uniform(-1, 1, (256, 256, 3)).astype(np.float32)
    places = np.moveaxis(np.mgrid[:64, :64], 0, -1) + (2, 3)
    result = painted(picture, np.minimum(places, 63))
    np.testing.assert_allclose(result[:240, :236], picture[8:248, 12:248], atol=1e-5)


def test_neighbors_come_from_neighboring_places(face):
    picture, landmarks = face
    guide = Guide.of(picture, landmarks)
    random = np.random.default_rng(0)
    noisy = dataclasses.replace(
        guide, vectors=guide.vectors + random.normal(0, 0.05, guide.vectors.shape)
    )
    style = Guide.of(0.8 * picture[:, ::-1], landmarks)
    places = analogy(noisy, style)
    nearest = _nearest(noisy.vectors, style.vectors).reshape(64, 64)
    alone = np.stack(np.divmod(nearest, 64), axis=-1)

    def seams(places):
        return (np.diff(places, axis=1) != (0, 1)).any(axis=-1).mean()

    assert seams(places) < 0.8 * seams(alone)


def test_features_lie_on_eyes_and_mouth(face):
    picture, landmarks = face
    features = Guide.of(picture, landmarks).features[..., 0]
    for point in (159, 386, 13):  # upper lids, inner upper lip
        x, y = (landmarks[point, :2] * ANALOGY_SIDE).astype(int)
        assert features[y, x] > 0.6, point
    x, y = (landmarks[4, :2] * ANALOGY_SIDE).astype(int)  # tip of the nose
    assert features[y, x] < 0.4
    assert features[0].max() == 0


def test_skin_is_the_brightness_inside_the_oval(face):
    picture, landmarks = face
    darker = Guide.of(picture - 0.2, landmarks).skin
    assert Guide.of(picture, landmarks).skin == pytest.approx(darker + 0.2, abs=1e-4)
