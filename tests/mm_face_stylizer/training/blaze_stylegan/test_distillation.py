import dataclasses

import numpy as np
import pytest
from tiny import TinyMesh, assert_resumes, run_as_if_killed, write_pictures

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.stylegan.networks import Teacher, TeacherConfig
from mm_face_stylizer.training.blaze_stylegan.distillation import (
    Distillation,
    DistillationOptions,
    sample_weights,
)
from mm_face_stylizer.training.portraits import Portraits

# Whole trainings, though small ones.
pytestmark = pytest.mark.slow

_OPTIONS = DistillationOptions(
    image_size=64,
    width=0.05,
    batch_size=4,
    steps=120,
    learning_rate=0.02,
    adversarial_share=0.2,
    reweighting=0.5,
)
_SAVED = 117


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portraits")
    return Portraits(write_pictures(folder / "faces"), folder / "cache", side=64)


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(0)
    teacher = Teacher.build(TeacherConfig(64, 0.02))
    return dataclasses.replace(teacher.with_exact_mean(1000))


@pytest.fixture(scope="module")
def finished(teacher, portraits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distillation")
    run = Distillation(_OPTIONS, teacher, portraits, TinyMesh(), folder / "run")
    return run, run_as_if_killed(run, _SAVED, folder / "killed")


def test_the_student_comes_closer_to_the_teacher(finished):
    run, history = finished
    assert set(history[0]) == {"l1", "features", "generator", "discriminator"}
    for name, share in (("l1", 0.85), ("features", 0.97)):
        values = [entry[name] for entry in history]
        assert np.mean(values[-20:]) < share * np.mean(values[:5]), name
    assert (run.folder / "samples_000120.png").exists()


def test_mapping_and_mean_are_the_teachers(finished, teacher):
    networks = finished[0].networks
    assert networks.config.spatial_sides == () and networks.config.mapping_layers == 8
    noise = np.random.default_rng(5).standard_normal((8, 512)).astype(np.float32)
    shared = networks.mapping([noise, tf.zeros((8, 0))])
    np.testing.assert_allclose(shared, teacher.latents(noise)[:, :8], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(networks.w_avg, np.tile(teacher.w_avg, (1, 8, 1)))


def test_a_killed_run_ends_with_the_same_weights(finished, teacher, portraits):
    run, history = finished
    folder = run.folder.with_name("killed")
    resumed = Distillation(_OPTIONS, teacher, portraits, TinyMesh(), folder)
    assert_resumes(resumed, _SAVED, history)
    found = resumed.networks.weights()
    for name, wanted in run.networks.weights().items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-3, atol=1e-4, err_msg=name)


def _pyramid(seed=0, batch=4):
    random = np.random.default_rng(seed)
    return [
        tf.constant(random.uniform(-1, 1, (batch, side, side, 3)), tf.float32)
        for side in (8, 16, 32, 64)
    ]


def test_every_head_counts(finished):
    run, ones = finished[0], tf.ones((4,))
    target = _pyramid()[-1]
    from mm_face_stylizer.training.losses import image_pyramid

    perfect = image_pyramid(target, 4)
    loss, values = run._losses(perfect, target, ones)
    assert loss < 1e-6 and all(value < 1e-6 for value in values.values())
    for head in range(4):
        worse = [x + 0.1 * (index == head) for index, x in enumerate(perfect)]
        _, values = run._losses(worse, target, ones)
        assert values["l1"].numpy() == pytest.approx(0.1 / 4, rel=1e-3), head
        # Below 32 px no face mesh sees a face.
        assert (values["features"] > 1e-3) == (perfect[head].shape[1] >= 32), head
        wanted = values["l1"] + 0.3 * values["features"]
        assert run._losses(worse, target, ones)[0].numpy() == pytest.approx(wanted.numpy())


def test_pictures_count_as_their_weights_say(finished):
    run = finished[0]
    outputs, target = _pyramid(), _pyramid(1)[-1]
    weights = tf.constant([0.0, 2.0, 1.0, 1.0])
    _, usual = run._losses(outputs, target, weights)
    for index, matters in ((0, False), (1, True)):
        noise = np.zeros((4, 1, 1, 1), np.float32)
        noise[index] = 0.5
        _, changed = run._losses([x + noise for x in outputs], target, weights)
        for name in ("l1", "features"):
            assert (abs(changed[name] - usual[name]) > 1e-4) == matters, (index, name)


def test_good_pictures_count_more():
    logits = tf.constant([[2.0], [0.0], [-2.0], [0.0]])
    weights = sample_weights(logits, 0.5).numpy()
    assert weights.mean() == pytest.approx(1.0)
    assert weights[0] / weights[1] == pytest.approx(np.exp(1.0), rel=1e-4)
    np.testing.assert_allclose(sample_weights(logits, 0.0), 1.0, rtol=1e-6)


def test_a_teacher_that_is_too_small(teacher, portraits, tmp_path):
    options = dataclasses.replace(_OPTIONS, image_size=128)
    with pytest.raises(ValueError, match="teacher's pictures have 64 pixels a side.*128"):
        Distillation(options, teacher, portraits, TinyMesh(), tmp_path)
