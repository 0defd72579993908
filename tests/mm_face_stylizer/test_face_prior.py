import numpy as np
import pytest

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.face_prior import NOISE_DIM, FacePrior


@pytest.fixture
def latents():
    """Portraits whose latents vary together along three directions."""
    random = np.random.default_rng(0)
    hidden = random.standard_normal((200, 3))
    shapes = {"code": (4, 4, 17), "spatial_8": (8, 8, 16), "spatial_16": (16, 16, 16)}
    result = {}
    for name, shape in shapes.items():
        directions = random.standard_normal((3, int(np.prod(shape))))
        result[name] = (5.0 + hidden @ directions).reshape(-1, *shape).astype(np.float32)
    return result


@pytest.fixture
def prior():
    keras.utils.set_random_seed(0)
    prior = FacePrior(width=0.125)
    prior.build()
    return prior


def _noise(count):
    return np.random.default_rng(1).standard_normal((count, NOISE_DIM)).astype(np.float32)


def test_draws_have_the_portraits_mean_and_spread(prior, latents):
    assert prior.fit_latents(latents) == pytest.approx(1.0, abs=1e-4)
    drawn = prior(_noise(4000))
    for name, value in latents.items():
        assert drawn[name].shape[1:] == value.shape[1:]
        found = drawn[name].numpy()
        np.testing.assert_allclose(found.mean(axis=0), value.mean(axis=0), atol=0.25)
        assert found.std(axis=0).mean() == pytest.approx(value.std(axis=0).mean(), rel=0.05)


def test_latents_that_vary_together_are_drawn_together(prior, latents):
    prior.fit_latents(latents)
    drawn = prior(_noise(500))
    a, b = (drawn[name].numpy().reshape(500, -1)[:, 7] for name in ("code", "spatial_16"))
    c, d = (latents[name].reshape(200, -1)[:, 7] for name in ("code", "spatial_16"))
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(np.corrcoef(c, d)[0, 1], abs=0.15)


def test_coordinates_are_of_unit_variance_and_lead_back(prior, latents):
    prior.fit_latents(latents)
    coordinates = prior.coordinates(latents)
    assert list(coordinates) == [4, 8, 16]
    for side, maps in coordinates.items():
        assert maps.shape == (200, *prior.coordinate_shapes[side])
        assert maps.var(axis=0).mean() == pytest.approx(1.0, rel=0.3)
    back = coordinates[8] @ prior._axes["8"].numpy() + prior._means["8"].numpy()
    np.testing.assert_allclose(back, latents["spatial_8"], atol=1e-3)


def test_only_the_commonest_directions_are_drawn(latents):
    keras.utils.set_random_seed(0)
    prior = FacePrior((8,), width=1.0)
    prior.build()
    random = np.random.default_rng(2)
    common = random.standard_normal((100, 8, 8, 16)) @ random.standard_normal((16, 128))
    rare = 0.01 * random.standard_normal((100, 8, 8, 128))
    wide = {"code": latents["code"][:100], "spatial_8": (common + rare).astype(np.float32)}
    prior.fit_latents(wide)
    maps = prior.coordinates(wide)[8]
    assert maps.shape[-1] == 16
    back = maps @ prior._axes["8"].numpy() + prior._means["8"].numpy()
    assert np.abs(back - wide["spatial_8"]).std() < 0.02


def test_fewer_portraits_than_axes(prior, latents):
    prior.fit_latents({name: value[:5] for name, value in latents.items()})
    # Five points span four directions at most.
    code = prior(_noise(100))["code"].numpy().reshape(100, -1) - prior._means["4"].numpy().ravel()
    assert np.linalg.matrix_rank(code, tol=1e-2) <= 5


def test_the_generator_adds_to_the_linear_map_once_it_has_learned(prior, latents):
    prior.fit_latents(latents)
    before = prior(_noise(4))
    head = prior._heads["8"]
    head.kernel.assign(tf.ones_like(head.kernel))
    after = prior(_noise(4))
    assert np.abs(after["spatial_8"] - before["spatial_8"]).max() > 0.01
    np.testing.assert_array_equal(after["code"], before["code"])
    half = prior(_noise(4), detail=0.5)["spatial_8"]
    np.testing.assert_allclose(half, (after["spatial_8"] + before["spatial_8"]) / 2, atol=1e-3)
    prior.fit_latents(latents)
    np.testing.assert_array_equal(prior(_noise(4))["spatial_8"], before["spatial_8"])
