import numpy as np
import pytest

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.blaze_stylegan import face_prior
from mm_face_stylizer.models.blaze_stylegan.face_prior import FacePrior


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
def prior(monkeypatch):
    # The path under the Gaussian's velocity is exact, whatever the number of steps.
    monkeypatch.setattr(face_prior, "_STEPS", 2)
    keras.utils.set_random_seed(0)
    prior = FacePrior(width=0.125)
    prior.build()
    return prior


def _noise(prior, count):
    shape = (count, prior.noise_dim)
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_draws_have_the_portraits_mean_and_spread(prior, latents):
    assert prior.fit_latents(latents) == pytest.approx(1.0, abs=1e-4)
    drawn = prior(_noise(prior, 400))
    for name, value in latents.items():
        assert drawn[name].shape[1:] == value.shape[1:]
        found = drawn[name].numpy()
        np.testing.assert_allclose(found.mean(axis=0), value.mean(axis=0), atol=0.25)
        assert found.std(axis=0).mean() == pytest.approx(value.std(axis=0).mean(), rel=0.05)


def test_latents_that_vary_together_are_drawn_together(prior, latents):
    prior.fit_latents(latents)
    drawn = prior(_noise(prior, 250))
    a, b = (drawn[name].numpy().reshape(250, -1)[:, 7] for name in ("code", "spatial_16"))
    c, d = (latents[name].reshape(200, -1)[:, 7] for name in ("code", "spatial_16"))
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(np.corrcoef(c, d)[0, 1], abs=0.15)


def test_coordinates_are_of_unit_variance_and_lead_back(prior, latents):
    prior.fit_latents(latents)
    points = prior.coordinates(latents)
    assert points.shape == (200, prior.noise_dim) == (200, 4 * 4 * 17 + (8 * 8 + 16 * 16) * 16)
    maps = prior.by_map(points)
    assert list(maps) == [4, 8, 16]
    for side, values in maps.items():
        assert values.shape[:3] == (200, side, side)
        assert np.var(values, axis=0).mean() == pytest.approx(1.0, rel=0.3)
    back = maps[8] @ prior._channel_axes["8"].numpy() + prior._means["8"].numpy()
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
    maps = prior.by_map(prior.coordinates(wide))[8]
    assert maps.shape[-1] == 16
    back = maps @ prior._channel_axes["8"].numpy() + prior._means["8"].numpy()
    assert np.abs(back - wide["spatial_8"]).std() < 0.02


def test_fewer_portraits_than_axes(prior, latents):
    prior.fit_latents({name: value[:5] for name, value in latents.items()})
    code = prior(_noise(prior, 100))["code"].numpy().reshape(100, -1)
    # Five points span five directions at most; what is left is little.
    values = np.linalg.svd(code - code.mean(axis=0), compute_uv=False)
    assert values[5] < 0.05 * values[0]


def test_without_the_rest_only_the_axes_are_drawn(prior, latents):
    random = np.random.default_rng(4)
    noisy = {
        name: value + 3.0 * random.standard_normal(value.shape) for name, value in latents.items()
    }
    assert prior.fit_latents(noisy) < 0.99
    whole = prior(_noise(prior, 50))["spatial_8"].numpy()
    prior.fit_latents(noisy, whole=False)
    smooth = prior(_noise(prior, 50))["spatial_8"].numpy()
    assert 0.3 * whole.var() < smooth.var() < 0.95 * whole.var()


def test_velocity_is_that_of_straight_lines_from_noise_to_portraits(prior, latents):
    """Where portraits are normal, the mean direction of all lines through a point is known."""
    prior.fit_latents(latents)
    random = np.random.default_rng(3)
    noise = random.standard_normal((200, prior.noise_dim)).astype(np.float32)
    portraits = prior.coordinates(latents)
    for time in (0.0, 0.3, 0.7):
        points = time * portraits + (1.0 - time) * noise
        velocity = prior.velocity(points, np.full(200, time, np.float32)).numpy()
        wanted = portraits - noise
        error = np.square(velocity - wanted).mean()
        # Nobody knows the noise at the start, nor the portrait at the end.
        assert error < 0.9 * np.square(wanted).mean()
        assert error < np.square(0.9 * velocity - wanted).mean()
        assert error < np.square(1.1 * velocity - wanted).mean()


def test_untrained_weights_change_nothing_and_trained_ones_do(prior, latents):
    prior.fit_latents(latents)
    before = prior(_noise(prior, 4))
    leave = prior._flow._leave
    leave.bias.assign(tf.ones_like(leave.bias))
    after = prior(_noise(prior, 4))
    for name, value in before.items():
        assert np.abs(after[name] - value).max() > 0.01
    other_batch = prior(_noise(prior, 4)[:2])
    for name, value in other_batch.items():
        np.testing.assert_allclose(value, after[name][:2], atol=1e-3)
