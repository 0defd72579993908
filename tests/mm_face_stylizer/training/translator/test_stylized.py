import dataclasses
import hashlib

import numpy as np
import pytest
from tiny import write_portraits
from tiny_translator import CONFIG, features, in_this_process

from mm_face_stylizer.errors import DataError, InvalidArgumentError
from mm_face_stylizer.models.efficientnet_lite import PerceptualWeightsError
from mm_face_stylizer.training.card import Provenance
from mm_face_stylizer.training.translator import domains as domains_module
from mm_face_stylizer.training.translator import release as release_module
from mm_face_stylizer.training.translator import stylized as stylized_module
from mm_face_stylizer.training.translator.domains import Domains
from mm_face_stylizer.training.translator.stylized import Stylized, Teacher
from mm_face_stylizer.training.translator.translator_training import (
    TranslatorOptions,
    TranslatorStage,
    TranslatorTraining,
)
from task_bundle import TaskBundle
from task_bundle.errors import BundleError

_SIDE = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, make_stylizer, face_models):
    """A teacher that halves the brightness, at a side that is not the translator's."""
    path = tmp_path_factory.mktemp("teacher") / "half.task"
    TaskBundle.build(make_stylizer(96, gain=0.5), face_models).save(path)
    return path


@pytest.fixture
def domains(tmp_path, grace_hopper, monkeypatch):
    in_this_process(monkeypatch)
    monkeypatch.setattr(domains_module, "_check_faces", lambda *_: None)
    # A face that is not its own mirror image.
    shaded = np.uint8(grace_hopper * np.linspace(0.5, 1.0, grace_hopper.shape[1])[:, np.newaxis])
    folders = [
        write_portraits(tmp_path / name, picture, 50)
        for name, picture in (("photos", shaded), ("style", grace_hopper))
    ]
    return Domains(*folders, tmp_path / "cache", _SIDE, crops=False)


def _stylized(domains, bundle, tmp_path, face_models, people=9):
    return Stylized(domains, Teacher(bundle), tmp_path / "made", people, face_models=face_models)


def test_photos_and_their_mirror_images_are_stylized_once(
    domains, bundle, tmp_path, face_models, monkeypatch
):
    made = _stylized(domains, bundle, tmp_path, face_models)
    assert made.pictures.shape == (18, _SIDE, _SIDE, 3) and made.pictures.dtype == np.uint8
    photos, pictures, masks = (x.astype(int) for x in made.batch(24, 0, 5))
    assert np.abs(photos / 2 - pictures).mean() < 3
    # Some of the photos are brighter on the left, and their pictures with them.
    left, right = photos[:, :, : _SIDE // 2], photos[:, :, _SIDE // 2 :]
    brighter = left.mean(axis=(1, 2, 3)) > right.mean(axis=(1, 2, 3))
    assert 0 < brighter.sum() < 24
    # Eyes and mouth are a small part of a face, and the masks are turned with it.
    assert masks.shape == (24, _SIDE, _SIDE, 1) and 0.01 < masks.mean() / 255 < 0.3
    by_turn = [masks[brighter == turned][0] for turned in (True, False)]
    assert np.abs(by_turn[0] - by_turn[1][:, ::-1]).mean() < np.abs(by_turn[0] - by_turn[1]).mean()
    monkeypatch.setattr(stylized_module, "_stylize", None)
    again = _stylized(domains, bundle, tmp_path, face_models)
    np.testing.assert_array_equal(again.batch(3, 0, 5)[1], made.batch(3, 0, 5)[1])
    held_out, _ = domains.held_out(2)
    assert np.abs(made.pictures_of(held_out) - held_out / 2).mean() < 3


def test_the_card_names_the_teacher(domains, bundle, tmp_path, face_models):
    card = _stylized(domains, bundle, tmp_path, face_models).card()["teacher"]
    assert card["bundle"] == "half.task" and card["image_size"] == 96 and card["photos"] == 9
    assert card["sha256"] == hashlib.sha256(bundle.read_bytes()).hexdigest()


def test_another_teacher_is_not_answered_from_the_cache(
    domains, bundle, tmp_path, face_models, make_stylizer
):
    half = _stylized(domains, bundle, tmp_path, face_models)
    other = tmp_path / "whole.task"
    TaskBundle.build(make_stylizer(_SIDE), face_models).save(other)
    whole = _stylized(domains, other, tmp_path, face_models)
    assert whole.pictures.mean() > 1.8 * half.pictures.mean()


def test_a_student_comes_nearer_to_its_teacher(domains, bundle, tmp_path, face_models, monkeypatch):
    options = TranslatorOptions(
        dataclasses.replace(CONFIG, image_size=_SIDE, stride=2, attention=None),
        (TranslatorStage.from_paintings(24, 4, 10.0, backward=False),),
        discriminator_width=8,
        learning_rate=1e-3,
    )
    pairs = _stylized(domains, bundle, tmp_path, face_models)
    run = TranslatorTraining(options, domains, tmp_path / "run", features, pairs)
    values = [float(run._train(step)["l1"]) for step in range(24)]
    assert np.mean(values[-3:]) < 0.85 * np.mean(values[:3])
    assert run._sheet(24).captions[-1] == "the teacher's"
    monkeypatch.setattr(release_module, "perceptual_network", _not_installed)
    preset = release_module.release_translator(
        run, domains, Provenance("student", "command", "commit"), tmp_path / "student", face_models
    )
    assert preset.card["teacher"]["bundle"] == "half.task"
    metrics = preset.card["metrics"]
    assert 0.0 < metrics["difference_to_teacher"] < 0.5
    assert metrics["teacher"]["people"] == metrics["people"]


def _not_installed(*_):
    raise PerceptualWeightsError("no weights")


def test_what_is_no_teacher(domains, tmp_path, face_models, make_stylizer):
    wide = tmp_path / "wide.task"
    TaskBundle.build(make_stylizer(shape=[1, 64, 96, 3]), face_models).save(wide)
    with pytest.raises(InvalidArgumentError, match="wide.task takes pictures of 96 x 64 px"):
        Teacher(wide)
    with pytest.raises(FileNotFoundError):
        Teacher(tmp_path / "missing.task")
    (tmp_path / "text.task").write_text("no archive")
    with pytest.raises(BundleError, match="text.task"):
        Teacher(tmp_path / "text.task")


def test_photos_without_faces(domains, bundle, tmp_path, face_models):
    domains.photos._train = np.zeros_like(domains.photos.training())
    with pytest.raises(DataError, match="found in only 0 of 9 photos"):
        _stylized(domains, bundle, tmp_path, face_models)


def test_photos_that_are_larger_than_the_translator(
    domains, bundle, tmp_path, face_models, monkeypatch
):
    monkeypatch.setattr(domains, "loaded_side", 72)
    with pytest.raises(InvalidArgumentError, match="the photos have 72 px, the translator 64 px"):
        _stylized(domains, bundle, tmp_path, face_models)
