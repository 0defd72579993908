import json

import numpy as np
import pytest
from tiny import assert_resumes, eager_steps, run_as_if_killed, tiny_networks, write_pictures

from mm_face_stylizer.cli import main
from mm_face_stylizer.preset import Preset, save_preset
from mm_face_stylizer.training.blaze_stylegan.prior_training import (
    PriorOptions,
    PriorStage,
    PriorTraining,
    coarse_latents,
)
from mm_face_stylizer.training.portraits import Portraits

# Whole trainings, though small ones.
pytestmark = pytest.mark.slow

_OPTIONS = PriorOptions(PriorStage(40, average=0.8), batch_size=8, learning_rate=5e-3)
_SAVED = 37


@pytest.fixture(scope="module")
def networks():
    return tiny_networks()


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portraits")
    return Portraits(write_pictures(folder / "faces"), folder / "cache", side=64)


@pytest.fixture(scope="module")
def finished(networks, portraits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prior")
    run = PriorTraining(_OPTIONS, networks, portraits, folder / "run")
    return run, run_as_if_killed(run, _SAVED, folder / "killed")


def test_latents_are_those_of_photos_and_their_mirror_images(networks, portraits):
    photos = portraits.training()[:3]
    latents = coarse_latents(networks, photos)
    assert latents["code"].shape == (6, 4, 4, 17)
    mirrored = coarse_latents(networks, photos[:, :, ::-1])
    np.testing.assert_allclose(latents["code"][3:], mirrored["code"][:3], atol=1e-5)
    from_code = networks.latents(photos / np.float32(127.5) - 1.0)
    np.testing.assert_allclose(latents["spatial_16"][:3], from_code["spatial_16"], atol=1e-5)


def test_only_the_prior_changes(finished, networks):
    run, history = finished
    assert {"velocity", "map4", "map8", "map16"} == set(history[0])
    before, after = networks.weights(), run.released().weights()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed and all(name.startswith("prior/") for name in changed)


def test_the_velocity_is_learned(networks, portraits, tmp_path):
    run = PriorTraining(_OPTIONS, networks, portraits, tmp_path)
    # Two points, and a Gaussian that knows nothing of them.
    run._prior._variances.assign(np.ones(run._prior._variances.shape))
    run._prior._rest.assign(1.0)
    sides = np.random.default_rng(0).choice([-2.0, 2.0], (40, 1))
    run._portraits = np.repeat(sides, run._portraits.shape[1], axis=1).astype(np.float32)
    losses = [float(run._train(step)["velocity"]) for step in range(150)]
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])


def test_resumes_where_it_was_killed(finished, networks, portraits):
    run, history = finished
    resumed = PriorTraining(_OPTIONS, networks, portraits, run.folder.with_name("killed"))
    assert_resumes(resumed, _SAVED, history)


def test_the_command_writes_the_preset_with_another_prior(networks, tmp_path, capsys):
    metrics = {"held_out_reconstruction": {"psnr": 30.0}, "evaluation": {"generated": 1.0}}
    card = {"name": "start", "seed": 7, "metrics": metrics}
    start = save_preset(tmp_path / "start", networks, card)
    write_pictures(tmp_path / "faces")
    # Neither every file nor every column has to be there.
    (tmp_path / "faces.csv").write_text("source,file\nmine,00001.png\n")
    arguments = ["pretrain-prior", "--data", str(tmp_path / "faces"), "--output"]
    arguments += [str(tmp_path / "run"), "--start-from", str(tmp_path / "start")]
    arguments += ["--data-list", str(tmp_path / "faces.csv")]
    with eager_steps():
        assert main([*arguments, "--steps", "3", "--batch-size", "4"]) == 0
    folder = tmp_path / "run" / "start"
    assert capsys.readouterr().out == f"{folder}\n"
    card = json.loads((folder / "card.json").read_text())
    # The card is still that of the networks; what is new is said apart.
    assert card["name"] == "start" and card["seed"] == 7
    # Reconstructions are what they were, faces that are drawn are not.
    assert card["metrics"] == {"held_out_reconstruction": {"psnr": 30.0}}
    assert card["prior"]["steps"] == 3 and card["prior"]["stages"][0]["steps"] == 3
    assert card["prior"]["batch_size"] == 4 and card["prior"]["data"]["train"] == 22
    sources = {(row["source"], row["train"]) for row in card["prior"]["data"]["sources"]}
    assert sources == {("mine", 1), ("unknown", 21)}
    before, after = start.weights(), Preset.find(folder).weights()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed and all(name.startswith("prior/") for name in changed)
