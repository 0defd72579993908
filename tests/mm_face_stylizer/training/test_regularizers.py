import numpy as np
import pytest

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training.draws import Draws
from mm_face_stylizer.training.regularizers import gradient_penalty, mixed_rows, path_lengths


def _draws():
    return Draws(tf.constant([3, 4]))


def test_gradient_penalty_is_the_squared_slope():
    slope = tf.constant(np.random.default_rng(0).standard_normal((1, 4, 4, 3)), tf.float32)
    pictures = tf.random.stateless_normal((5, 4, 4, 3), [0, 1])

    def discriminator(images):
        return tf.reduce_sum(images * slope, axis=(1, 2, 3))[:, tf.newaxis] + 7.0

    logits, penalty = gradient_penalty(discriminator, pictures)
    np.testing.assert_allclose(logits, discriminator(pictures))
    assert penalty.numpy() == pytest.approx(np.square(slope).sum(), rel=1e-4)


def test_gradient_penalty_trains_the_discriminator():
    weight = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        _, penalty = gradient_penalty(
            lambda x: weight * tf.reduce_sum(x, axis=(1, 2, 3)), tf.ones((2, 4, 4, 3))
        )
    # 48 pixels of slope w: 48 w^2.
    assert tape.gradient(penalty, weight).numpy() == pytest.approx(2 * 48 * 2.0)


def test_path_lengths_are_those_of_a_linear_network():
    weight = tf.Variable(3.0)

    def synthesis(latents):
        # Every pixel is the sum over rows of the latent's first numbers, times the weight.
        return tf.reshape(weight * tf.reduce_sum(latents, axis=1)[:, :192], (-1, 8, 8, 3))

    latents = tf.random.stateless_normal((64, 5, 512), [0, 1])
    with tf.GradientTape() as tape:
        lengths = path_lengths(synthesis, latents, _draws())
        mean = tf.reduce_mean(lengths)
    # 192 directions of variance 1/64, each times 3, the same in every row.
    assert mean.numpy() == pytest.approx(3.0 * np.sqrt(192 / 64), rel=0.05)
    assert np.std(lengths) > 0.05
    assert tape.gradient(mean, weight).numpy() == pytest.approx(mean.numpy() / 3.0, rel=1e-4)


def test_mixed_rows_change_over_once():
    first, second = tf.zeros((400, 6, 4)), tf.ones((400, 6, 4))
    mixed = mixed_rows(first, second, 0.75, _draws()).numpy()
    np.testing.assert_array_equal(mixed, np.repeat(mixed[..., :1], 4, axis=-1))
    rows = mixed[..., 0]
    assert np.all(rows[:, 0] == 0) and np.all(np.diff(rows, axis=1) >= 0)
    changed = rows.sum(axis=1)
    assert (changed > 0).mean() == pytest.approx(0.75, abs=0.07)
    assert set(changed) == {0, 1, 2, 3, 4, 5}
    np.testing.assert_array_equal(mixed_rows(first, second, 0.0, _draws()), first)


def test_each_draw_is_another_and_follows_from_the_seed():
    draws, again = _draws(), _draws()
    numbers = [draws.normal((8,)).numpy() for _ in range(3)]
    assert not np.allclose(numbers[0], numbers[1]) and not np.allclose(numbers[1], numbers[2])
    np.testing.assert_array_equal(numbers[0], again.normal((8,)))
    assert 2.0 <= draws.uniform((100,), 2.0, 3.0).numpy().min() < 2.1
