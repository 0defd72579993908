import numpy as np
import pytest

from mm_face_stylizer.models.face_prior import NOISE_DIM, FacePrior


@pytest.fixture
def latents():
    """Portraits whose latents vary together along three directions."""
    random = np.random.default_rng(0)
    hidden = random.standard_normal((200, 3))
    shapes = {"inputs": (4, 512), "spatial_8": (8, 8, 16), "spatial_16": (16, 16, 16)}
    result = {}
    for name, shape in shapes.items():
        directions = random.standard_normal((3, int(np.prod(shape))))
        result[name] = (5.0 + hidden @ directions).reshape(-1, *shape).astype(np.float32)
    result["inputs"] = np.repeat(result["inputs"], 2, axis=1)
    return result


def test_draws_have_the_portraits_mean_and_spread(latents):
    prior = FacePrior(64, width=0.125)
    prior.build()
    assert prior.fit_latents(latents) == pytest.approx(1.0, abs=1e-4)
    noise = np.random.default_rng(1).standard_normal((4000, NOISE_DIM)).astype(np.float32)
    drawn = prior(noise)
    for name, value in latents.items():
        assert drawn[name].shape[1:] == value.shape[1:]
        found = drawn[name].numpy()
        np.testing.assert_allclose(found.mean(axis=0), value.mean(axis=0), atol=0.25)
        assert found.std(axis=0).mean() == pytest.approx(value.std(axis=0).mean(), rel=0.05)


def test_latents_that_vary_together_are_drawn_together(latents):
    prior = FacePrior(64, width=0.125)
    prior.build()
    prior.fit_latents(latents)
    noise = np.random.default_rng(1).standard_normal((500, NOISE_DIM)).astype(np.float32)
    drawn = prior(noise)
    a, b = (drawn[name].numpy().reshape(500, -1)[:, 7] for name in ("inputs", "spatial_16"))
    c, d = (latents[name].reshape(200, -1)[:, 7] for name in ("inputs", "spatial_16"))
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(np.corrcoef(c, d)[0, 1], abs=0.15)


def test_rows_come_in_pairs(latents):
    prior = FacePrior(64, width=0.125)
    prior.build()
    rows = prior(np.ones((1, NOISE_DIM), np.float32))["inputs"].numpy()
    np.testing.assert_array_equal(rows[:, ::2], rows[:, 1::2])


def test_fewer_portraits_than_axes(latents):
    prior = FacePrior(64, width=0.125)
    prior.build()
    prior.fit_latents({name: value[:5] for name, value in latents.items()})
    noise = np.random.default_rng(1).standard_normal((100, NOISE_DIM)).astype(np.float32)
    # Five points span four directions at most.
    assert np.linalg.matrix_rank(prior(noise)["inputs"].numpy()[:, 0] - 5.0, tol=1e-2) <= 5
