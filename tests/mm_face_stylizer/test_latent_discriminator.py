import numpy as np
import pytest

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.latent_discriminator import LatentDiscriminator

_SHAPES = {4: (4, 4, 17), 8: (8, 8, 16), 16: (16, 16, 16)}


def _discriminator(shapes):
    keras.utils.set_random_seed(0)
    discriminator = LatentDiscriminator(shapes, width=0.25)
    discriminator.build()
    return discriminator


def _maps(shapes, count=4):
    random = np.random.default_rng(0)
    return {
        side: tf.constant(random.standard_normal((count, *shape)), tf.float32)
        for side, shape in shapes.items()
    }


@pytest.mark.parametrize("sides", [(4,), (4, 8), (4, 8, 16)])
def test_every_map_and_pixel_is_judged(sides):
    shapes = {side: _SHAPES[side] for side in sides}
    discriminator, maps = _discriminator(shapes), _maps(shapes)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logits = discriminator(maps)
        total = tf.reduce_sum(logits)
    assert logits.shape == (4, 1)
    for side, gradient in tape.gradient(total, maps).items():
        assert (np.abs(gradient).max(axis=(0, 3)) > 0).all(), side


def test_faces_that_are_all_alike_are_judged_otherwise():
    discriminator, maps = _discriminator(_SHAPES), _maps(_SHAPES)
    alike = {side: tf.repeat(value[:1], 4, axis=0) for side, value in maps.items()}
    logits = discriminator(alike).numpy()
    np.testing.assert_allclose(logits[1:], logits[:-1], atol=1e-5)
    assert abs(logits[0, 0] - discriminator(maps).numpy()[0, 0]) > 1e-4
