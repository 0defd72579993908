import numpy as np
import pytest
from tiny import CONFIG, tiny_networks

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.weights import named_weights


@pytest.fixture(scope="module")
def networks():
    """Networks that no test changes."""
    networks = tiny_networks()
    networks.w_avg[:] = 0.25
    return networks


def test_opening_weights_keeps_them_and_draws_nothing(networks):
    weights = networks.weights()
    keras.utils.set_random_seed(1)
    wanted = keras.initializers.HeNormal()((3,)), tf.random.normal((3,))
    keras.utils.set_random_seed(1)
    copy = Networks.from_weights(CONFIG, weights)
    found = keras.initializers.HeNormal()((3,)), tf.random.normal((3,))
    np.testing.assert_array_equal(found, wanted)
    photo = tf.constant(np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)), tf.float32)
    wanted, found = networks.latents(photo), copy.latents(photo)
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])
    np.testing.assert_array_equal(
        copy.synthesis(found)["image"][-1], networks.synthesis(wanted)["image"][-1]
    )
    np.testing.assert_array_equal(copy.random_latents(2, 0), networks.random_latents(2, 0))


def test_the_mean_latent_is_added_once(networks):
    photo = tf.zeros((1, 64, 64, 3))
    bare = networks.encoder(photo)["inputs"]
    np.testing.assert_allclose(networks.latents(photo)["inputs"] - bare, 0.25, atol=1e-5)


def test_missing_and_unknown_weights_are_named(networks):
    weights = networks.weights()
    weights["encoder/nonsense"] = weights.pop("w_avg")
    with pytest.raises(ValueError, match="w_avg.*encoder/nonsense"):
        Networks.from_weights(CONFIG, weights)


def test_wrong_shape_is_named(networks):
    weights = networks.weights()
    weights["discriminator/mix/bias"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"discriminator/mix/bias.*\(3,\)"):
        Networks.from_weights(CONFIG, weights)


def test_generated_faces_depend_on_the_seed_alone(networks):
    faces = networks.generated_faces(3, 1)
    assert faces.shape == (3, 64, 64, 3) and np.abs(faces).max() <= 1
    np.testing.assert_array_equal(faces, networks.generated_faces(3, 1))
    assert np.abs(networks.generated_faces(3, 2) - faces).max() > 0


def test_with_other_spatial_latents_the_rest_is_the_same():
    networks = tiny_networks()
    networks.w_avg[:] = 0.25
    # Zero before training, and then their absence would not show.
    for name, variable in named_weights(networks.encoder).items():
        if name.startswith("spatial"):
            variable.assign(tf.ones_like(variable))
    published = networks.with_spatial_latents(())
    photos = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    assert set(published.encoder.output) == {"inputs"}
    wanted = networks.reconstruct(photos, spatial=False)
    np.testing.assert_array_equal(published.reconstruct(photos), wanted)
    before = networks.reconstruct(photos)
    assert np.abs(before.astype(int) - wanted).max() > 0
    finer = networks.with_spatial_latents((8, 16, 32))
    assert set(finer.encoder.output) == {"inputs", "spatial_8", "spatial_16", "spatial_32"}
    np.testing.assert_array_equal(finer.reconstruct(photos), before)
