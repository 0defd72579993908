import dataclasses
import json

import numpy as np
import pytest
from tiny import assert_resumes, run_as_if_killed
from tiny_translator import CONFIG, InvertedPairs, features, two_domains

from mm_face_stylizer._keras import tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.card import Provenance
from mm_face_stylizer.training.translator.picture_pool import PicturePool
from mm_face_stylizer.training.translator.release import release_translator, translated
from mm_face_stylizer.training.translator.translator_training import (
    TranslatorOptions,
    TranslatorStage,
    TranslatorTraining,
)

_OPTIONS = TranslatorOptions(
    CONFIG,
    (
        TranslatorStage.from_paintings(24, 4, 10.0, backward=True),
        TranslatorStage(6, 2),
    ),
    pool_size=3,
    discriminator_width=8,
    learning_rate=1e-3,
)
_SAVED = 28


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    return two_domains(tmp_path_factory.mktemp("domains"))


@pytest.fixture(scope="module")
def finished(domains, tmp_path_factory):
    folder = tmp_path_factory.mktemp("translator")
    run = TranslatorTraining(_OPTIONS, domains, folder / "run", features, InvertedPairs(domains))
    return run, run_as_if_killed(run, _SAVED, folder / "killed")


@pytest.mark.slow
def test_paintings_are_learned_first(finished):
    run, history = finished
    assert {"l1", "face", "features", "texture", "backward"} < set(history[0])
    first, last = (np.mean([values["loss"] for values in x]) for x in (history[:4], history[20:24]))
    assert last < 0.8 * first
    assert {"cycle", "identity", "activation", "adversarial", "discriminator"} < set(history[24])
    assert "l1" not in history[24]
    assert (run.folder / "samples_000030.png").exists()


@pytest.mark.slow
def test_a_killed_run_resumes(finished, domains):
    run, history = finished
    folder = run.folder.parent / "killed"
    again = TranslatorTraining(_OPTIONS, domains, folder, features, InvertedPairs(domains))
    assert_resumes(again, _SAVED, history)


@pytest.mark.slow
def test_a_sheet_shows_both_directions_only_if_both_are_trained(finished, domains, tmp_path):
    run, _ = finished
    assert len(run._sheet(30).rows) == 8
    stages = (TranslatorStage.from_paintings(1, 2, 1.0, backward=False),)
    options = dataclasses.replace(_OPTIONS, stages=stages)
    one_way = TranslatorTraining(options, domains, tmp_path, features, InvertedPairs(domains))
    assert one_way._sheet(1).captions == ("photo, held out", "to the style, 1 steps")


@pytest.mark.slow
def test_the_preset_has_widths_measures_and_a_sheet(finished, domains, tmp_path):
    run, _ = finished
    provenance = Provenance("tiny", "command", "commit")
    preset = release_translator(run, domains, provenance, tmp_path / "tiny")
    card = json.loads((preset.folder / "card.json").read_text())
    assert card["family"] == "translator" and card["config"]["blocks"] == [8, 12]
    assert card["macs"] > 0 and card["data"]["train"] == 108
    metrics = card["metrics"]
    assert metrics["people"] == 6 and metrics["kernel_distance_of_photos"] < 0.1
    assert len(metrics["kernel_distance_interval"]) == 2
    assert (preset.folder / "held_out.png").exists()
    photos, _ = domains.held_out()
    found = translated(Preset.find(preset.folder).networks(), photos).astype(int)
    np.testing.assert_allclose(found, translated(run.released(), photos), atol=3)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("options", "stage"),
    [
        ({"identity_loss": "l1"}, {}),
        ({"pool_size": 0}, {}),
        ({}, {"activation": 0.0}),
        ({"config": dataclasses.replace(CONFIG, attention=None)}, {}),
    ],
    ids=["l1", "no_pool", "no_activation_loss", "no_attention"],
)
def test_parts_can_be_left_out(options, stage, domains, tmp_path):
    changed = dataclasses.replace(_OPTIONS, stages=(TranslatorStage(1, 1, **stage),), **options)
    run = TranslatorTraining(changed, domains, tmp_path, features)
    values = run._train(0)
    assert ("activation" in values) == (not stage and "config" not in options)
    assert np.isfinite(float(values["loss"]))


def test_missing_networks_and_unknown_losses_are_named(domains, tmp_path):
    with pytest.raises(InvalidArgumentError, match="needs a feature network"):
        TranslatorTraining(_OPTIONS, domains, tmp_path)
    with pytest.raises(InvalidArgumentError, match="a stage learns from paintings"):
        TranslatorTraining(_OPTIONS, domains, tmp_path, features)
    with pytest.raises(InvalidArgumentError, match="'l2'.*perceptual, l1"):
        dataclasses.replace(_OPTIONS, identity_loss="l2")


def test_a_pool_returns_new_pictures_until_it_is_full():
    pool = PicturePool(2, 4)
    pictures = tf.stack([tf.fill((4, 4, 3), value) for value in (-1.0, -0.6, 0.2, 0.6)])
    draws = tf.constant([[0.9, 0.1]] * 2)
    np.testing.assert_array_equal(pool.exchanged(pictures[:2], draws), pictures[:2])
    # The third takes the place of the second; the fourth is returned itself.
    draws = tf.constant([[0.9, 0.4], [0.0, 0.6]])
    returned = pool.exchanged(pictures[2:], draws).numpy()[:, 0, 0, 0]
    np.testing.assert_allclose(returned, [-0.6, 0.6], atol=0.01)
    returned = pool.exchanged(pictures[:2], tf.constant([[0.9, 0.4], [0.0, 0.4]])).numpy()
    np.testing.assert_allclose(returned[:, 0, 0, 0], [0.2, -1.0], atol=0.01)
