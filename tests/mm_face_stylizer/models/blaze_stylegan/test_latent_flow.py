import numpy as np
import pytest

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.blaze_stylegan.latent_flow import LatentFlow

_SHAPES = {4: (4, 4, 17), 8: (8, 8, 16), 16: (16, 16, 16)}


def _flow(shapes):
    keras.utils.set_random_seed(0)
    flow = LatentFlow(shapes, width=0.125)
    flow.build()
    return flow


def _maps(shapes, count=3):
    random = np.random.default_rng(0)
    return {
        side: tf.constant(random.standard_normal((count, *shape)), tf.float32)
        for side, shape in shapes.items()
    }


@pytest.mark.parametrize("sides", [(4,), (4, 8), (4, 8, 16)])
def test_untrained_nothing_moves(sides):
    shapes = {side: _SHAPES[side] for side in sides}
    maps = _maps(shapes)
    velocity = _flow(shapes)((maps, tf.constant([0.0, 0.5, 1.0])))
    for side, value in velocity.items():
        assert value.shape == maps[side].shape
        np.testing.assert_array_equal(value, 0.0)


def test_every_place_sees_every_other_and_the_time():
    flow, maps, time = _flow(_SHAPES), _maps(_SHAPES), tf.constant([0.2, 0.5, 0.8])
    random = np.random.default_rng(1)
    for layer in (flow._leave, flow._modulation):
        layer.kernel.assign(0.1 * random.standard_normal(layer.kernel.shape))
    with tf.GradientTape() as tape:
        tape.watch((maps, time))
        corner = tf.reduce_sum(flow((maps, time))[16][:, 0, 0])
    by_map, by_time = tape.gradient(corner, (maps, time))
    assert (np.abs(by_time) > 0).all()
    for side, gradient in by_map.items():
        assert (np.abs(gradient).max(axis=(0, 3)) > 0).all(), side
