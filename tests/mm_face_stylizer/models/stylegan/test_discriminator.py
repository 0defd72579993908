import numpy as np
import pytest

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.stylegan.discriminator import StyleGanDiscriminator, with_deviation


def _random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_published_size():
    with tf.Graph().as_default():
        discriminator = StyleGanDiscriminator(1024)
        discriminator.build()
        assert discriminator.count_params() == 29_012_513


def test_deviation_is_that_of_each_group():
    x = np.zeros((8, 2, 2, 3), np.float32)
    x[:, 1, 1] = _random(8, 1)
    found = with_deviation(tf.constant(x)).numpy()
    assert found.shape == (8, 2, 2, 4)
    np.testing.assert_array_equal(found[..., :3], x)
    # Picture i belongs to group i % 2; of four pixels three do not differ.
    for group in range(2):
        wanted = np.std(x[group::2, 1, 1, 0]) / 4 + 0.75e-4
        np.testing.assert_allclose(found[group::2, ..., 3], wanted, rtol=1e-3)
    assert not np.isclose(found[0, 0, 0, 3], found[1, 0, 0, 3])


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_one_logit_a_picture(batch):
    keras.utils.set_random_seed(0)
    discriminator = StyleGanDiscriminator(32, width=0.05)
    discriminator.build()
    pictures = _random(batch, 32, 32, 3)
    logits = discriminator(pictures).numpy()
    assert logits.shape == (batch, 1)
    if batch > 1:
        alike = discriminator(np.repeat(pictures[:1], batch, axis=0)).numpy()
        assert np.abs(alike[0] - logits[0]) > 1e-4, "the others of its batch do not matter"


def test_gradient_penalty_has_a_derivative_that_xla_compiles():
    discriminator = StyleGanDiscriminator(16, width=0.05)
    discriminator.build()

    @tf.function(jit_compile=True)
    def gradients(pictures):
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(pictures)
                total = tf.reduce_sum(discriminator(pictures))
            penalty = tf.reduce_sum(tf.square(inner.gradient(total, pictures)))
        return [g for g in tape.gradient(penalty, discriminator.weights) if g is not None]

    found = gradients(tf.constant(_random(4, 16, 16, 3)))
    assert len(found) > 8 and all(np.isfinite(gradient).all() for gradient in found)
