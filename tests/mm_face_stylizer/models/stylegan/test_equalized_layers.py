import numpy as np
import pytest

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import ModulatedConv2D, upsample_2x
from mm_face_stylizer.models.stylegan.equalized_layers import (
    EqualizedConv2D,
    EqualizedDense,
    EqualizedModulatedConv2D,
    activated,
    blurred,
    upsampled,
)


def _random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_blur_keeps_constants_and_halves_what_it_should():
    ones = blurred(tf.ones((1, 8, 8, 2)), 1, 2)
    assert ones.shape == (1, 8, 8, 2)
    np.testing.assert_allclose(ones[:, 2:-2, 2:-2], 1.0, atol=1e-6)
    impulse = np.zeros((1, 7, 7, 1), np.float32)
    impulse[0, 3, 3] = 64.0
    found = blurred(tf.constant(impulse), 2, 1)[0, 2:6, 2:6, 0]
    np.testing.assert_allclose(found, np.outer([1, 3, 3, 1], [1, 3, 3, 1]), atol=1e-5)


def test_upsampling_is_bilinear():
    x = tf.constant(_random(2, 6, 5, 3))
    np.testing.assert_allclose(upsampled(x), upsample_2x(x), atol=1e-6)


def test_transposed_convolution_equals_one_behind_upsampling():
    keras.utils.set_random_seed(0)
    fast = EqualizedModulatedConv2D(6, 3, transposed=True, activate=False)
    x, w = _random(2, 8, 8, 4), _random(2, 16, seed=1)
    found = fast((x, w))
    slow = ModulatedConv2D(6, 3, upsample=True, activate=False)
    slow((x, w))
    kernel, affine_kernel = fast._kernels()
    slow.set_weights([kernel, fast.bias, affine_kernel, fast.affine_bias])
    # Borders differ: there upsampling goes on with the edge, the transposed one with zeros.
    np.testing.assert_allclose(found[:, 3:-3, 3:-3], slow((x, w))[:, 3:-3, 3:-3], atol=1e-4)
    assert found.shape == (2, 16, 16, 6)


@pytest.mark.parametrize(
    "layer",
    [
        EqualizedDense(256),
        EqualizedDense(256, learning_rate_multiplier=0.01),
        EqualizedConv2D(256, 3),
        EqualizedModulatedConv2D(256, 3, activate=False),
    ],
)
def test_layers_keep_the_variance_and_their_weights_have_it(layer):
    keras.utils.set_random_seed(0)
    if isinstance(layer, EqualizedDense):
        y = layer(_random(256, 512))
    elif isinstance(layer, EqualizedConv2D):
        y = layer(_random(8, 16, 16, 64))
    else:
        y = activated(layer((_random(8, 16, 16, 64), _random(8, 512, seed=1))))
    assert np.mean(np.square(y)) == pytest.approx(1.0, abs=0.15)
    multiplier = getattr(layer, "learning_rate_multiplier", 1.0)
    assert np.std(layer.kernel) * multiplier == pytest.approx(1.0, abs=0.1)


def test_a_slower_layer_moves_less():
    layer = EqualizedDense(8, learning_rate_multiplier=0.01, activate=False)
    x = _random(4, 8)
    before = layer(x)
    layer.kernel.assign_add(tf.ones_like(layer.kernel))
    layer.bias.assign_add(tf.ones_like(layer.bias))
    wanted = 0.01 * (x.sum(axis=1, keepdims=True) / np.sqrt(8) + 1)
    np.testing.assert_allclose(layer(x) - before, np.repeat(wanted, 8, axis=1), atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_downsampling_halves_and_does_not_shift(kernel_size):
    layer = EqualizedConv2D(1, kernel_size, downsample=True, activate=False)
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32), (1, 16, 16))[..., np.newaxis]
    assert layer(ramp).shape == (1, 8, 8, 1)
    center = np.zeros(layer.kernel.shape, np.float32)
    center[kernel_size // 2, kernel_size // 2] = kernel_size  # 1 after scaling
    layer.kernel.assign(center)
    # A pixel of the smaller map covers two, and lies between them.
    np.testing.assert_allclose(layer(ramp)[0, 4, 2:-2, 0], np.arange(4.5, 12, 2), atol=1e-4)
