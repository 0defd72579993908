import dataclasses
import json

import numpy as np
import pytest
from tiny import assert_resumes, eager_steps, run_as_if_killed

from mm_face_stylizer import cli
from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.face_swap.config import FaceSwapConfig
from mm_face_stylizer.models.face_swap.identity import Identity
from mm_face_stylizer.models.face_swap.networks import FaceSwapNetworks
from mm_face_stylizer.painting.face_texture import face_textures
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.practice_faces import practice_pictures
from mm_face_stylizer.training.card import Provenance
from mm_face_stylizer.training.face_swap.pairs import SwapPairs
from mm_face_stylizer.training.face_swap.refinement import RefinementOptions, refine
from mm_face_stylizer.training.face_swap.release import release_face_swap
from mm_face_stylizer.training.face_swap.swap_losses import SwapLosses, SwapWeights
from mm_face_stylizer.training.face_swap.swap_training import (
    SwapOptions,
    SwapStage,
    SwapTraining,
)
from mm_face_stylizer.training.portraits import Portraits
from task_bundle.media.images import save_png

pytestmark = pytest.mark.usefixtures("face_models")

_CONFIG = FaceSwapConfig(
    64, (4, 6, 8, 10, 12), (6, 4), (8, 6, 4, 4, 2), skip=True, width=8, texture=(4, 3, 2)
)
_STAGE = SwapStage(24, SwapWeights(features=0.0), average=0.7)
_OPTIONS = SwapOptions(_CONFIG, _STAGE, batch_size=2, learning_rate=3e-2)
_SAVED = 21


class TinyIdentity:
    """Stands in for dlib's network: means of places."""

    def __call__(self, pictures):
        pictures = tf.image.resize(pictures, (64, 64), antialias=True)
        places = tf.nn.avg_pool2d(pictures, 16, 16, "VALID")
        features = tf.tile(places, (1, 1, 1, 86))[..., :256]
        return features, tf.tile(tf.reshape(places, (-1, 48)), (1, 3))[:, :128]

    def of(self, pictures, textures):
        outputs = self(tf.constant(pictures.astype(np.float32) / 127.5 - 1.0))
        return Identity(*(values.numpy() for values in outputs), textures)

    def embed(self, pictures):
        return self.of(pictures, None).embedding


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    (folder / "data").mkdir()
    for number, picture in enumerate(practice_pictures(256, 12), 1):
        # Two are held out.
        name = 10 * number if number > 10 else number + number // 10
        save_png(folder / "data" / f"{name:05d}.png", picture)
    return Portraits(folder / "data", folder / "cache", 256)


@pytest.fixture(scope="module")
def pairs(portraits, face_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    made = SwapPairs.prepare(
        portraits, face_models, TinyIdentity(), folder, 64, pairs=64, workers=1
    )
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = SwapPairs.prepare(
        portraits, face_models, TinyIdentity(), folder, 64, pairs=64, workers=1
    )
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    np.testing.assert_array_equal(made.weights, again.weights)
    return made


@pytest.fixture(scope="module")
def finished(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("swap")
    run = SwapTraining(_OPTIONS, pairs, TinyIdentity(), folder / "run")
    with eager_steps():
        return run, run_as_if_killed(run, _SAVED, folder / "killed")


def test_pairs_are_of_training_people_and_weighted(portraits, pairs):
    assert len(pairs.photos) <= len(portraits.train_names) == 10
    assert pairs.weights.min() >= 0.0 and pairs.weights.max() <= 1.0
    alone = pairs.sources == pairs.targets
    assert alone.any() and not alone.all()
    for row in np.flatnonzero(alone):
        np.testing.assert_allclose(
            pairs.pictures[row].astype(int), pairs.photos[pairs.targets[row]], atol=1
        )
    # A pair of no weight is never drawn.
    weights = np.where(np.arange(len(alone)) == 3, 1.0, 0.0)
    batch = dataclasses.replace(pairs, weights=weights).batch(np.random.default_rng(0), 3)
    np.testing.assert_array_equal(
        batch.embedding, np.repeat(pairs.identity.embedding[pairs.sources[3:4]], 3, axis=0)
    )
    straight, mirrored = pairs.pictures[3], pairs.pictures[3][:, ::-1]
    for picture in batch.pictures:
        assert np.array_equal(picture, straight) or np.array_equal(picture, mirrored)


@pytest.mark.slow
def test_the_loss_falls(finished):
    run, history = finished
    first, last = (np.mean([v["pixels"] for v in part]) for part in (history[:6], history[-6:]))
    assert last < 0.9 * first
    assert [("identity" in values) for values in history[:4]] == [True, False, False, True]
    assert {"mask", "face", "generator", "discriminator"} <= set(history[0])
    assert (run.folder / "samples_000024.png").exists()


@pytest.mark.slow
def test_a_killed_run_resumes(finished, pairs):
    run, history = finished
    folder = run.folder.parent / "killed"
    assert_resumes(SwapTraining(_OPTIONS, pairs, TinyIdentity(), folder), _SAVED, history)


@pytest.mark.slow
def test_the_preset_has_weights_uses_and_measures(finished, portraits, face_models, tmp_path):
    run, _ = finished
    preset = release_face_swap(
        run, portraits, face_models, TinyIdentity(), Provenance("tiny", "x", "y"), tmp_path / "p"
    )
    card = json.loads((preset.folder / "card.json").read_text())
    assert card["family"] == "face_swap" and card["data"]["train"] == 10
    assert set(card["use"]) == {"intended", "misuse"} and card["macs"] > 0
    # Two people are held out: too few pairs.
    assert card["metrics"] == {} or set(card["metrics"]) == {"networks", "teacher"}
    assert preset.networks().config == _CONFIG


@pytest.mark.parametrize(
    ("term", "changes"),
    [
        ("face", {"face": 0.0}),
        ("mask", {"mask": 0.0}),
        ("identity", {"identity": 0.0}),
    ],
)
def test_a_term_of_no_weight_is_not_computed(term, changes):
    keras.utils.set_random_seed(0)
    networks = FaceSwapNetworks.build(_CONFIG)
    known = (np.ones((2, 4, 4, 256), np.float32), np.ones((2, 128), np.float32))
    known = (*known, np.ones((2, 64, 64, 3), np.uint8))
    photos = tf.zeros((2, 64, 64, 3))
    result = networks.generator((photos, networks.injection(known)), training=True)
    arguments = (result, photos + 0.5, tf.ones((2, 64, 64, 1)), known[1])
    whole = SwapLosses(SwapWeights(), TinyIdentity())(*arguments)
    less = SwapLosses(SwapWeights(**changes), TinyIdentity())(*arguments)
    assert term in whole and term not in less
    assert less["loss"] < whole["loss"]


@pytest.mark.slow
def test_refinement_comes_nearer_to_the_teacher(finished, face_models):
    run, _ = finished
    with PortraitFinder(face_models) as finder:
        people = [finder.find_aligned(picture) for picture in practice_pictures(256, 8)]
    source, targets = people[0], people[1:]
    identity = TinyIdentity().of(source.pixels[np.newaxis], face_textures([source], 64))
    person = run.released().of_person(identity)
    before = person.stylizer.kernels[0][0].numpy()
    history = []
    options = RefinementOptions(24, learning_rate=1e-2, weights=SwapWeights(adversarial=0.0))
    with eager_steps():
        tuned = refine(
            person, [source], targets, identity, TinyIdentity(), options=options,
            on_step=lambda step, values: history.append(values["pixels"]),
        )  # fmt: skip
    assert np.mean(history[-8:]) < np.mean(history[:8])
    # What it started from is as it was.
    np.testing.assert_array_equal(person.stylizer.kernels[0][0].numpy(), before)
    assert np.abs(tuned.stylizer.kernels[0][0].numpy() - before).max() > 0


def test_portraits_of_unknown_or_other_sources_are_refused(tmp_path, capsys):
    command = ["face-swap", "train", "--data", str(tmp_path), "-o", str(tmp_path / "run")]
    assert cli.main(command) == 1
    assert "--data-list" in capsys.readouterr().err
    listing = tmp_path / "list.csv"
    listing.write_text("file,source,licence\n1.png,fairface_subset,CC BY\n")
    assert cli.main([*command, "--data-list", str(listing)]) == 1
    assert "begins with SFHQ or interfaces" in capsys.readouterr().err
