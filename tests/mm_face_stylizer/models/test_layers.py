import numpy as np
import pytest
from litert import assert_same_as_litert

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.layers import ModulatedConv2D, repeated_rgb_initializer, upsample_2x


def _random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_upsampling_keeps_constants_and_means():
    x = tf.constant(_random(2, 8, 8, 3))
    up = upsample_2x(x)
    assert up.shape == (2, 16, 16, 3)
    np.testing.assert_allclose(upsample_2x(tf.ones((1, 4, 4, 1))), np.ones((1, 8, 8, 1)), atol=1e-6)
    # Half-pixel centers: away from the border each pixel is 9/16, 3/16, 3/16, 1/16 of four.
    wanted = (9 * x[0, 3, 3] + 3 * x[0, 2, 3] + 3 * x[0, 3, 2] + x[0, 2, 2]) / 16
    np.testing.assert_allclose(up[0, 6, 6], wanted, atol=1e-5)


def test_modulated_convolution_equals_a_kernel_a_sample():
    layer = ModulatedConv2D(6, 3, activate=False)
    x, w = _random(2, 8, 8, 4), _random(2, 16)
    y = layer((x, w)).numpy()
    scale = w @ layer.affine_kernel.numpy() + layer.affine_bias.numpy()
    for sample in range(2):
        kernel = layer.kernel.numpy() * scale[sample][None, None, :, None]
        kernel /= np.sqrt((kernel**2).sum(axis=(0, 1, 2)) + 1e-8)
        wanted = tf.nn.conv2d(x[sample : sample + 1], kernel, 1, "SAME")[0]
        np.testing.assert_allclose(y[sample], wanted, atol=1e-4)


def test_modulated_convolution_exports_to_litert():
    x = keras.Input((8, 8, 4), batch_size=1)
    w = keras.Input((16,), batch_size=1)
    model = keras.Model([x, w], ModulatedConv2D(6, 3, upsample=True)((x, w)))
    assert_same_as_litert(model, [_random(1, 8, 8, 4), _random(1, 16)])


def test_bfloat16_convolution_is_close_but_not_equal():
    exact = ModulatedConv2D(6, 3)
    x, w = _random(1, 8, 8, 4), _random(1, 16)
    wanted = exact((x, w))
    fast = ModulatedConv2D(6, 3, conv_dtype="bfloat16")
    fast((x, w))
    fast.set_weights(exact.get_weights())
    difference = np.abs(fast((x, w)).numpy() - wanted.numpy()).max()
    assert 0 < difference < 0.05


def test_folded_heads_start_without_a_grid():
    kernel = repeated_rgb_initializer(4)((1, 1, 8, 12)).numpy()
    folded = tf.nn.depth_to_space(_random(1, 4, 4, 8) @ kernel[0, 0], 2).numpy()
    np.testing.assert_allclose(folded[:, 0::2], folded[:, 1::2], atol=2e-6)
    np.testing.assert_allclose(folded[:, :, 0::2], folded[:, :, 1::2], atol=2e-6)
    assert np.ptp(folded) > 0


@pytest.mark.parametrize("demodulate", [True, False])
def test_demodulation_cancels_the_latents_scale(demodulate):
    layer = ModulatedConv2D(4, 1, demodulate=demodulate, activate=False)
    x = _random(1, 4, 4, 4)
    layer((x, _random(1, 8)))
    layer.affine_kernel.assign(tf.zeros_like(layer.affine_kernel))
    once = layer((x, _random(1, 8))).numpy()
    layer.affine_bias.assign(3 * layer.affine_bias)
    thrice = layer((x, _random(1, 8))).numpy()
    np.testing.assert_allclose(thrice, once if demodulate else 3 * once, atol=1e-4)
