import dataclasses
import json

import numpy as np
import pytest
from tiny import assert_resumes, run_as_if_killed, write_pictures

from mm_face_stylizer._keras import tf
from mm_face_stylizer.errors import PresetError
from mm_face_stylizer.models.stylegan.networks import Teacher
from mm_face_stylizer.preset import save_preset
from mm_face_stylizer.training.blaze_stylegan.teacher import TeacherOptions, TeacherTraining
from mm_face_stylizer.training.portraits import Portraits

# Whole trainings, though small ones.
pytestmark = pytest.mark.slow

_OPTIONS = TeacherOptions(
    image_size=16,
    width=0.02,
    batch_size=4,
    steps=40,
    r1_interval=2,
    path_interval=2,
    augmentation_images=400,
    augmentation_target=0.3,
)
_SAVED = 37


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portraits")
    return Portraits(write_pictures(folder / "faces", 32), folder / "cache", side=32)


@pytest.fixture(scope="module")
def finished(portraits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    run = TeacherTraining(_OPTIONS, portraits, folder / "run")
    return run, run_as_if_killed(run, _SAVED, folder / "killed")


def _state(run):
    return [
        *run.teacher.weights().items(),
        *((v.name, v.numpy()) for v in run._generator_variables),
        ("p", run.augmentation.probability.numpy()),
    ]


def test_every_loss_is_logged_and_regularization_is_lazy(finished):
    run, history = finished
    always = {"discriminator", "generator", "augmentation", "certainty"}
    assert set(history[0]) == always | {"r1", "path"} and set(history[1]) == always
    assert (run.folder / "samples_000040.png").exists()
    last = json.loads((run.folder / "log.jsonl").read_text().splitlines()[-1])
    assert {"r1", "path"} < set(last)


def test_pictures_come_closer_to_the_portraits(finished, portraits, tmp_path):
    fresh = TeacherTraining(_OPTIONS, portraits, tmp_path)
    wanted = portraits.training().mean(axis=(0, 1, 2))

    def distance(run):
        drawn = run.teacher.pictures(32, 0).astype(np.float32)
        return np.abs(drawn.mean(axis=(0, 1, 2)) - wanted).mean()

    assert distance(finished[0]) < 0.7 * distance(fresh)


def test_a_killed_run_ends_with_the_same_weights(finished, portraits):
    run, history = finished
    resumed = TeacherTraining(_OPTIONS, portraits, run.folder.with_name("killed"))
    assert_resumes(resumed, _SAVED, history)
    for (name, wanted), (_, found) in zip(_state(run), _state(resumed), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4, err_msg=name)


def test_every_option_changes_what_a_step_does(untraced, portraits, tmp_path):
    def trained(index, **changes):
        options = dataclasses.replace(_OPTIONS, **changes)
        run = TeacherTraining(options, portraits, tmp_path / str(index))
        run.augmentation.probability.assign(0.5)
        run._train(0)
        generator = np.concatenate([v.numpy().ravel() for v in run._generator_variables])
        discriminator = run.teacher.discriminator.trainable_variables
        return generator, np.concatenate([v.numpy().ravel() for v in discriminator])

    usual = trained(0)
    path = trained(1, path_weight=0.0)
    assert np.any(path[0] != usual[0]) and np.all(path[1] == usual[1])
    for index, change in enumerate(
        ({"r1_weight": 50.0}, {"style_mixing": 0.0}, {"augmentation_target": 0.0})
    ):
        assert np.any(trained(2 + index, **change)[1] != usual[1]), change


def test_weights_are_averaged_and_the_mean_latent_is_tracked(finished):
    run, _ = finished
    differences = [
        np.abs(a - b).max()
        for a, b in zip(run._averaged_variables, run._generator_variables, strict=True)
    ]
    assert np.mean(np.array(differences) > 0) > 0.9
    assert run._averaging(0) < 0.01 and 0.9 < run._averaging(10**6) < 1.0
    exact = run.teacher.with_exact_mean()
    tracked = run.teacher.w_avg.numpy()
    assert np.corrcoef(exact.w_avg, tracked)[0, 1] > 0.5
    # 40 steps at 0.998: the running mean has come 8 % of the way.
    assert 0.02 < np.linalg.norm(tracked) / np.linalg.norm(exact.w_avg) < 0.3


def test_truncation_draws_towards_the_mean(finished):
    teacher = finished[0].teacher.with_exact_mean()
    noise = tf.random.stateless_normal((64, 512), [0, 1])
    whole, half = teacher.latents(noise), teacher.latents(noise, 0.5)
    np.testing.assert_allclose(half - teacher.w_avg, 0.5 * (whole - teacher.w_avg), atol=1e-4)
    np.testing.assert_allclose(teacher.latents(noise, 0.0)[0, 0], teacher.w_avg, atol=1e-5)


def test_a_teacher_on_disk_draws_the_same(finished, tmp_path):
    teacher = finished[0].teacher.with_exact_mean()
    save_preset(tmp_path, teacher, {"name": "tiny"})
    again = Teacher.load(tmp_path)
    difference = again.pictures(8, 0).astype(int) - teacher.pictures(8, 0)
    assert np.abs(difference).mean() < 1
    card = json.loads((tmp_path / "card.json").read_text())
    assert set(card["parameters"]) == {"mapping", "synthesis", "discriminator", "w_avg"}
    with pytest.raises(PresetError, match="power of two"):
        from mm_face_stylizer.preset import Preset

        Preset.find(tmp_path).networks()


def test_a_larger_teacher_knows_what_it_knew(untraced, finished, portraits, tmp_path):
    teacher = finished[0].teacher.with_exact_mean()
    options = dataclasses.replace(_OPTIONS, image_size=32, steps=1)
    run = TeacherTraining(options, portraits, tmp_path, teacher)
    drawn = teacher.pictures(8, 0, 0.7).astype(int)
    for networks in (run._live, run.teacher):
        larger = networks.pictures(8, 0, 0.7).astype(int)
        smaller = larger.reshape(8, 16, 2, 16, 2, 3).mean(axis=(2, 4))
        assert np.abs(smaller - drawn).mean() < 0.3 * np.abs(drawn - drawn.mean()).mean()
    # Of smooth pictures the discriminator thinks what it thought of their halves.
    noise = tf.random.stateless_normal((32, 4, 4, 3), [0, 1])
    halves, wholes = (tf.image.resize(noise, (side, side), "bicubic") for side in (16, 32))
    thought = teacher.discriminator(halves)[:, 0]
    assert np.corrcoef(run._live.discriminator(wholes)[:, 0], thought)[0, 1] > 0.9
    before = run._live.weights()
    run._train(0)
    for name in ("synthesis/block32_to_rgb/kernel", "discriminator/block32_conv1/kernel"):
        assert not before[name].any() and run._live.weights()[name].any()


def test_portraits_and_batches_that_do_not_fit_are_refused(portraits, finished, tmp_path):
    with pytest.raises(ValueError, match="batch_size is 6"):
        TeacherOptions(batch_size=6)
    with pytest.raises(ValueError, match="r1_interval is 0"):
        TeacherOptions(r1_interval=0)
    with pytest.raises(ValueError, match="32 pixels a side; 64"):
        TeacherTraining(TeacherOptions(image_size=64), portraits, tmp_path)
    with pytest.raises(ValueError, match="width is 1.0.*0.02"):
        TeacherTraining(TeacherOptions(image_size=32), portraits, tmp_path, finished[0].teacher)
    with pytest.raises(ValueError, match="of 16 px cannot go on at 8 px"):
        finished[0].teacher.with_image_size(8)


def test_weight_of_r1_follows_size_and_batch():
    assert TeacherOptions(image_size=256, batch_size=16).effective_r1_weight == pytest.approx(
        0.8192
    )
    assert TeacherOptions(r1_weight=3.0).effective_r1_weight == 3.0
