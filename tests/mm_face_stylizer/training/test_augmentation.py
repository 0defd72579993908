import numpy as np
import pytest

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training.augmentation import (
    AugmentationStrength,
    _recolored,
    _sampled,
    _sampling_matrices,
    augmented,
)
from mm_face_stylizer.training.draws import Draws


def _pictures(count=2, side=16):
    random = np.random.default_rng(0)
    return tf.constant(random.uniform(-1, 1, (count, side, side, 3)), tf.float32)


def _draws(seed=0):
    return Draws(tf.constant([seed, 1]))


def test_without_probability_pictures_stay_as_they_are():
    pictures = _pictures(4)
    np.testing.assert_allclose(augmented(pictures, tf.constant(0.0), _draws()), pictures, atol=1e-6)


def test_with_certainty_every_picture_changes_and_the_same_seed_changes_it_alike():
    pictures = tf.repeat(_pictures(1), 16, axis=0)
    changed = augmented(pictures, tf.constant(1.0), _draws())
    differences = np.abs(changed - pictures).mean(axis=(1, 2, 3))
    assert differences.min() > 0.05
    assert len(np.unique(np.round(differences, 4))) == 16
    np.testing.assert_array_equal(changed, augmented(pictures, tf.constant(1.0), _draws()))
    assert np.abs(changed - augmented(pictures, tf.constant(1.0), _draws(1))).mean() > 0.1


def test_places_are_looked_up_exactly():
    pictures = _pictures()
    quarter = [[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]
    mirror = [[-1.0, 0, 0], [0, 1, 0], [0, 0, 1]]
    found = _sampled(pictures, tf.constant([quarter, mirror])).numpy()
    np.testing.assert_allclose(found[0], np.rot90(pictures[0], 1), atol=1e-5)
    np.testing.assert_allclose(found[1], pictures[1, :, ::-1], atol=1e-5)
    whole = [[1.0, 0, 3 / 16], [0, 1, 0], [0, 0, 1]]
    half = [[1.0, 0, 0], [0, 1, -0.5 / 16], [0, 0, 1]]
    found = _sampled(pictures, tf.constant([whole, half])).numpy()
    mirrored = np.concatenate([pictures[0, :, 3:], pictures[0, :, :-4:-1]], axis=1)
    np.testing.assert_allclose(found[0], mirrored, atol=1e-5)
    between = (pictures[1, 1:] + pictures[1, :-1]) / 2
    np.testing.assert_allclose(found[1, 1:], between, atol=1e-5)


def test_geometry_is_of_every_kind():
    matrices = _sampling_matrices(500, 64, tf.constant(1.0), _draws()).numpy()
    linear, shift = matrices[:, :2, :2], matrices[:, :2, 2]
    determinants = np.linalg.det(linear)
    assert (determinants < 0).mean() == pytest.approx(0.5, abs=0.1)
    # Two independent scales of 0.2 octaves: areas change by twice that.
    areas = np.log2(np.abs(determinants))
    assert np.std(areas) == pytest.approx(0.4, abs=0.05)
    singular = np.linalg.svd(linear, compute_uv=False)
    assert np.std(np.log2(singular[:, 0] / singular[:, 1])) > 0.1
    assert 0.1 < np.std(shift) < 0.25
    seldom = _sampling_matrices(500, 64, tf.constant(0.05), _draws()).numpy()
    unchanged = np.all(np.isclose(seldom, np.eye(3), atol=1e-6), axis=(1, 2))
    # Five kinds with the whole probability; mirrored are half, turned by a quarter three quarters.
    assert unchanged.mean() == pytest.approx(0.95**5 * 0.975 * 0.9625, abs=0.05)


def test_colors_change_in_every_way_and_gray_stays_gray():
    gray = tf.repeat(tf.constant(np.linspace(-0.5, 0.5, 8), tf.float32)[None, None, :, None], 3, -1)
    found = _recolored(tf.repeat(gray, 300, axis=0), tf.constant(1.0), _draws()).numpy()
    np.testing.assert_allclose(found, np.repeat(found[..., :1], 3, -1), atol=1e-5)
    slopes = found[:, 0, -1, 0] - found[:, 0, 0, 0]
    assert (slopes < 0).mean() == pytest.approx(0.5, abs=0.1)
    assert np.std(np.log2(np.abs(slopes))) == pytest.approx(0.5, abs=0.07)
    assert np.std(found.mean(axis=(1, 2, 3))) == pytest.approx(0.23, abs=0.06)
    red = tf.tile(tf.constant([[[[0.6, -0.3, -0.3]]]]), (300, 1, 1, 1))
    chroma = _recolored(red, tf.constant(1.0), _draws()).numpy()[:, 0, 0]
    chroma = chroma - chroma.mean(axis=1, keepdims=True)
    hues = np.arctan2(
        np.sqrt(3) * (chroma[:, 1] - chroma[:, 2]), 2 * chroma[:, 0] - chroma[:, 1:].sum(1)
    )
    assert np.histogram(hues, 6, (-np.pi, np.pi))[0].min() > 25
    assert np.std(np.log2(np.linalg.norm(chroma, axis=1))) == pytest.approx(1.12, abs=0.15)


def test_the_gradient_reaches_the_pictures_twice():
    pictures = _pictures(4)
    with tf.GradientTape() as outer:
        outer.watch(pictures)
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            total = tf.reduce_sum(augmented(pictures, tf.constant(0.8), _draws()) ** 2)
        gradient = tape.gradient(total, pictures)
        length = tf.reduce_sum(gradient**2)
    assert np.abs(gradient).max() > 0 and np.abs(outer.gradient(length, pictures)).max() > 0


def test_strength_follows_the_certainty():
    strength = AugmentationStrength(0.6, 100)
    sure, unsure = tf.ones((4, 1)), tf.constant([[1.0], [-1.0], [1.0], [-1.0]])
    for _ in range(10):
        strength.update(sure)
    assert strength.certainty.numpy() == pytest.approx(1 - 0.9**10)
    # Above 0.6 from the ninth step on; before, nowhere to go down to.
    assert strength.probability.numpy() == pytest.approx(2 * 4 / 100)
    for _ in range(20):
        strength.update(unsure)
    assert strength.probability.numpy() == 0.0
    for _ in range(100):
        strength.update(sure)
    assert strength.probability.numpy() == 1.0
