import numpy as np
import pytest

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training import losses


def _random(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).standard_normal(shape), tf.float32)


def test_image_pyramid_is_coarse_to_fine_and_keeps_the_mean():
    image = _random(2, 16, 16, 3)
    pyramid = losses.image_pyramid(image, 3)
    assert [level.shape[1] for level in pyramid] == [4, 8, 16]
    np.testing.assert_allclose(
        tf.reduce_mean(pyramid[0], axis=(1, 2)), tf.reduce_mean(image, axis=(1, 2)), atol=1e-5
    )


def test_shrunken_pictures_have_the_mean_of_each_place():
    image = _random(2, 16, 16, 3)
    places = image.numpy().reshape(2, 4, 4, 4, 4, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(losses.shrunken(image, 4), places, atol=1e-6)
    np.testing.assert_array_equal(losses.shrunken(image, 16), image)


def test_color_error_sees_colors_and_not_detail():
    image = tf.zeros((1, 16, 16, 3))
    checks = np.indices((16, 16)).sum(axis=0)[np.newaxis, ..., np.newaxis] % 2 * 2.0 - 1.0
    assert losses.color_error(image + checks.astype(np.float32), image).numpy() < 1e-6
    assert losses.color_error(image + 0.5, image).numpy() == pytest.approx(0.25)
    # Squared: one thing that is far off outweighs as much that is a little off.
    hat = np.zeros((1, 16, 16, 3), np.float32)
    hat[:, :4, :4] = 1.0
    assert losses.color_error(image + hat, image) > losses.color_error(image + 1 / 16, image)


def test_detail_distance_asks_how_much_there_is_and_not_where():
    grain = 0.2 * _random(1, 64, 64, 3)
    smooth = tf.zeros_like(grain)
    assert losses.detail_distance(smooth, grain).numpy() == pytest.approx(1.0, abs=0.03)
    assert losses.detail_distance(grain, grain).numpy() == pytest.approx(0.0, abs=1e-6)
    other = 0.2 * _random(1, 64, 64, 3, seed=1)
    assert losses.detail_distance(other, grain).numpy() < 0.15
    # Coarse differences are not its business, and half the energy elsewhere is.
    assert losses.detail_distance(grain + 0.5, grain).numpy() == pytest.approx(0.0, abs=1e-4)
    # As much energy as dots of one pixel is another kind of detail.
    dots = np.indices((64, 64)).sum(axis=0)[np.newaxis, ..., np.newaxis] % 2 * 0.4 - 0.2
    waves = 0.28 * np.sin(np.arange(64) / 2.0)[np.newaxis, np.newaxis, :, np.newaxis]
    waves = tf.constant(waves + np.zeros((1, 64, 64, 3)), tf.float32)
    dotted = tf.constant(dots + np.zeros((1, 64, 64, 3)), tf.float32)
    assert losses.detail_distance(dotted, waves).numpy() > 5.0
    left = tf.concat([grain[:, :, :32], smooth[:, :, 32:]], axis=2)
    # Half of the places lack all of it, the picture as a whole half its energy.
    halved = (0.5 + 1.0 - np.sqrt(0.5)) / 2
    assert losses.detail_distance(left, grain).numpy() == pytest.approx(halved, abs=0.05)


def test_pyramid_l1_counts_levels_alike():
    a = [tf.zeros((1, 4, 4, 3)), tf.zeros((1, 8, 8, 3))]
    b = [tf.ones((1, 4, 4, 3)), 3 * tf.ones((1, 8, 8, 3))]
    assert losses.pyramid_l1(a, b).numpy() == pytest.approx(2.0)


def test_feature_distance_is_relative_to_the_target():
    features = [_random(1, 4, 4, 8)]
    doubled = losses.feature_distance([2 * features[0]], features).numpy()
    scaled = losses.feature_distance([200 * features[0]], [100 * features[0]]).numpy()
    assert doubled == pytest.approx(1.0, abs=0.01)
    assert scaled == pytest.approx(doubled, abs=0.01)
    assert losses.feature_distance(features, features).numpy() == 0


def test_gram_matrix_forgets_places_but_not_channels():
    x = _random(1, 4, 4, 8)
    shuffled = tf.random.shuffle(tf.reshape(x, (16, 8)), seed=1)
    gram = losses.gram_matrix(x)
    np.testing.assert_allclose(
        gram, losses.gram_matrix(tf.reshape(shuffled, (1, 4, 4, 8))), atol=1e-5
    )
    assert np.abs(gram - losses.gram_matrix(tf.reverse(x, [3]))).max() > 0.1


def test_a_picture_keeps_its_brightness_and_takes_the_references_colors():
    image, reference = _random(1, 8, 8, 3), _random(1, 8, 8, 3, seed=1)
    mixed = losses.with_colors_of(image, reference)
    np.testing.assert_allclose(
        tf.reduce_mean(mixed, axis=-1), tf.reduce_mean(image, axis=-1), atol=1e-5
    )
    chroma = reference - tf.reduce_mean(reference, axis=-1, keepdims=True)
    found = mixed - tf.reduce_mean(mixed, axis=-1, keepdims=True)
    np.testing.assert_allclose(found, chroma, atol=1e-5)
    for look in (lambda x: losses.with_colors_of(x, reference), losses.brightness):
        with tf.GradientTape() as tape:
            tape.watch(image)
            total = tf.reduce_sum(look(image) * _random(1, 8, 8, 3, seed=2))
        gradient = tape.gradient(total, image)
        np.testing.assert_allclose(gradient[..., 0], gradient[..., 2], atol=1e-5)
        assert np.abs(gradient).max() > 0.1


def test_adversarial_losses_pull_apart():
    high, low = tf.constant([5.0]), tf.constant([-5.0])
    assert losses.discriminator_loss(high, low) < losses.discriminator_loss(low, high)
    assert losses.generator_loss(high) < losses.generator_loss(low)


def test_errors_are_seen_better_in_dark_and_in_flat_faces():
    pattern = np.random.default_rng(0).choice([-1.0, 1.0], (1, 64, 64, 3)).astype(np.float32)
    usual, dark, flat = 0.57 * pattern - 0.1, 0.57 * pattern - 0.4, 0.25 * pattern - 0.1
    seen = losses.visibility(np.concatenate([usual, dark, flat, 0 * flat - 1.0])).numpy()
    assert 0.7 < seen[0] < 1.4 and seen[1] > 1.3 * seen[0] and seen[2] > 1.5 * seen[0]
    assert seen[3] == 3.0
    # Walls do not matter.
    framed = usual.copy()
    framed[:, :16] = framed[:, -16:] = 1.0
    np.testing.assert_allclose(losses.visibility(framed), seen[:1], rtol=1e-6)
