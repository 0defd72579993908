import dataclasses

import numpy as np
import pytest
from tiny import TinyMesh, assert_resumes, run_as_if_killed, tiny_networks, write_pictures

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training.blaze_stylegan.inversion import (
    FROZEN_STAGES,
    JOINT_STAGES,
    Inversion,
    InversionOptions,
    InversionStage,
    embedding_distance,
)
from mm_face_stylizer.training.losses import image_pyramid
from mm_face_stylizer.training.portraits import Portraits

# Whole trainings, though small ones.
pytestmark = pytest.mark.slow

_FROZEN = InversionStage(16, generated_share=0.5, perceptual_images=4)
_JOINT = dataclasses.replace(_FROZEN, steps=4, trains_synthesis=True, frozen_statistics=True)
_OPTIONS = InversionOptions((_FROZEN, _JOINT), batch_size=4, learning_rate=0.01)
_SAVED = 16


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portraits")
    return Portraits(write_pictures(folder / "faces"), folder / "cache", side=64)


@pytest.fixture(scope="module")
def finished(portraits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inversion")
    run = Inversion(_OPTIONS, tiny_networks(), portraits, TinyMesh(), folder / "run")
    return run, run_as_if_killed(run, _SAVED, folder / "killed")


def test_the_loss_falls_and_has_every_term(finished):
    _, history = finished
    assert set(history[0]) == {"l1", "content", "style", "landmark", "embedding"}
    weights = {name: getattr(_FROZEN, f"{name}_weight") for name in history[0]}
    totals = [sum(weights[name] * entry[name] for name in weights) for entry in history]
    assert np.mean(totals[13:16]) < 0.9 * np.mean(totals[:3])


def test_the_synthesis_network_is_frozen_until_the_joint_stage(finished, portraits):
    run, history = finished
    start = tiny_networks().synthesis.get_weights()
    # The killed run saved its checkpoint at the end of the frozen stage.
    killed = tiny_networks(1)
    killed.mapping.set_weights(run.networks.mapping.get_weights())
    folder = run.folder.with_name("killed")
    resumed = Inversion(_OPTIONS, killed, portraits, TinyMesh(), folder)
    for a, b in zip(start, killed.synthesis.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert_resumes(resumed, _SAVED, history)
    joint = run.networks.synthesis.get_weights()
    assert np.mean([np.any(a != b) for a, b in zip(start, joint, strict=True)]) > 0.9
    for a, b in zip(joint, killed.synthesis.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("term", ["l1", "content", "style", "landmark"])
def test_each_term_sees_a_difference(finished, term):
    run = finished[0]
    photos = tf.random.stateless_uniform((4, 64, 64, 3), [0, 1], -1, 1)
    same = run._losses(_FROZEN, photos, image_pyramid(photos, 4))
    darker = run._losses(_FROZEN, photos, image_pyramid(0.5 * photos, 4))
    assert same[term].numpy() < 1e-5 < 1e-3 < darker[term].numpy()


def test_each_weight_matters(untraced, portraits, tmp_path):
    networks = tiny_networks()
    start = networks.encoder.get_weights()

    def trained(index, stage):
        networks.encoder.set_weights(start)
        options = dataclasses.replace(_OPTIONS, stages=(stage,))
        run = Inversion(options, networks, portraits, TinyMesh(), tmp_path / str(index))
        run._train(0)
        return np.concatenate([v.numpy().ravel() for v in networks.encoder.trainable_variables])

    usual = trained(0, _FROZEN)
    terms = ("l1", "content", "style", "embedding", "landmark")
    for index, term in enumerate(terms):
        name = f"{term}_weight"
        stage = dataclasses.replace(_FROZEN, **{name: 3.0 * getattr(_FROZEN, name)})
        assert np.any(trained(1 + index, stage) != usual), term


def test_embedding_distance_is_relative():
    known = tf.random.stateless_normal((4, 6, 512), [0, 1])
    mean = tf.ones((1, 6, 512))
    assert embedding_distance(known, known, mean).numpy() == 0.0
    always_mean = tf.repeat(mean, 4, axis=0)
    assert embedding_distance(always_mean, known, mean).numpy() == pytest.approx(1.0)
    far = embedding_distance(10 * always_mean, 10 * known, 10 * mean)
    assert far.numpy() == pytest.approx(1.0)


def test_the_published_recipe_freezes_first():
    assert not any(stage.trains_synthesis for stage in FROZEN_STAGES)
    assert JOINT_STAGES[:-1] == FROZEN_STAGES and JOINT_STAGES[-1].trains_synthesis


def test_portraits_of_another_side(tmp_path):
    pictures = Portraits(write_pictures(tmp_path / "faces", 32), tmp_path / "cache", side=32)
    with pytest.raises(ValueError, match="32 pixels a side; the networks need 64"):
        Inversion(_OPTIONS, tiny_networks(), pictures, TinyMesh(), tmp_path / "run")
