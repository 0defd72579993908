import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from tiny import TinyMesh, assert_resumes, eager_steps, run_as_if_killed, write_portraits

from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.blaze_stylegan import mapping_fit
from mm_face_stylizer.training.blaze_stylegan.pretraining import Pretraining, _kept_latents
from mm_face_stylizer.training.blaze_stylegan.release import release
from mm_face_stylizer.training.blaze_stylegan.schedules import PretrainingOptions, Stage
from mm_face_stylizer.training.card import Provenance
from mm_face_stylizer.training.portraits import Portraits

# Whole trainings, though small ones.
pytestmark = [pytest.mark.usefixtures("face_models"), pytest.mark.slow]

_STAGES = (
    Stage(32, 4),
    Stage(64, 4, 0.1, perceptual_images=2, adversarial_share=0.3, frozen_statistics=True),
)
# The killed run's last checkpoint, in the second stage.
_SAVED = 5
_OPTIONS = PretrainingOptions(_STAGES, image_size=64, batch_size=4, width=0.125)


@pytest.fixture(scope="module")
def mesh():
    return TinyMesh()


@pytest.fixture(scope="module")
def portraits(tmp_path_factory, grace_hopper):
    folder = tmp_path_factory.mktemp("portraits")
    return Portraits(write_portraits(folder / "faces", grace_hopper), folder / "cache", side=64)


def _run(options, portraits, mesh, folder):
    run = Pretraining(options, portraits, mesh, folder)
    run.run()
    return run


def _parameters(run):
    networks = run.networks
    variables = (*networks.encoder.weights, *networks.synthesis.weights, networks.w_avg)
    return [variable.numpy() for variable in variables]


@pytest.fixture(scope="module")
def finished(portraits, mesh, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run = Pretraining(_OPTIONS, portraits, mesh, folder / "run")
    return run, run_as_if_killed(run, _SAVED, folder / "killed")


def test_every_network_learns(finished, portraits, mesh, tmp_path):
    run, _ = finished
    fresh = Pretraining(_OPTIONS, portraits, mesh, tmp_path)
    for name in ("encoder", "synthesis", "discriminator"):
        changed = [
            np.any(a.numpy() != b.numpy())
            for a, b in zip(
                getattr(run.networks, name).trainable_variables,
                getattr(fresh.networks, name).trainable_variables,
                strict=True,
            )
        ]
        assert np.mean(changed) > 0.9, name
    assert np.any(run.networks.w_avg.numpy())


def test_the_same_seed_gives_the_same_weights(untraced, portraits, mesh, tmp_path):
    stages = tuple(dataclasses.replace(stage, steps=1) for stage in _STAGES)
    options = dataclasses.replace(_OPTIONS, stages=stages)
    first, again = (_run(options, portraits, mesh, tmp_path / name) for name in ("a", "b"))
    for a, b in zip(_parameters(first), _parameters(again), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    other = Pretraining(dataclasses.replace(options, seed=1), portraits, mesh, tmp_path / "c")
    assert np.any(_parameters(other)[0] != _parameters(first)[0])


def test_googles_face_mesh_judges(portraits, face_models, tmp_path):
    stage = Stage(64, 1, perceptual_weight=0.1, perceptual_images=2, frozen_statistics=True)
    options = dataclasses.replace(_OPTIONS, stages=(stage,))
    run = Pretraining(options, portraits, FaceMeshFeatures(face_models.landmarks), tmp_path)
    history = []
    with eager_steps():
        run.run(lambda step, values: history.append(values))
    assert 0.0 < history[0]["features"] < 3.0 and 0.0 < history[0]["landmarks"] < 0.5


def test_finer_spatial_latents_are_left_out_more_often():
    random = np.random.default_rng(0)
    kept = _kept_latents(random, 4000, 0.2, (8, 16, 32, 64))
    assert list(kept) == [f"spatial_{side}" for side in (8, 16, 32, 64)]
    for side, share in ((8, 0.8), (16, 0.8), (32, 0.6), (64, 0.6)):
        assert kept[f"spatial_{side}"].mean() == pytest.approx(share, abs=0.03)
    # Never the finer without the coarser.
    assert np.all(kept["spatial_16"] >= kept["spatial_32"])
    np.testing.assert_array_equal(kept["spatial_8"], kept["spatial_16"])
    np.testing.assert_array_equal(kept["spatial_32"], kept["spatial_64"])


def test_resumes_where_it_was_killed(finished, portraits, mesh):
    run, history = finished
    killed = run.folder.with_name("killed")
    assert_resumes(Pretraining(_OPTIONS, portraits, mesh, killed), _SAVED, history)


def test_a_run_can_start_from_a_preset(finished, portraits, mesh, tmp_path):
    start = finished[0].networks
    run = Pretraining(_OPTIONS, portraits, mesh, tmp_path, start)
    found = run.networks.weights()
    for name, value in start.weights().items():
        np.testing.assert_array_equal(value, found[name], name)
    wider = dataclasses.replace(_OPTIONS, width=0.25)
    with pytest.raises(ValueError, match="width=0.125.*width=0.25"):
        Pretraining(wider, portraits, mesh, tmp_path / "wider", start)


@pytest.mark.slow
def test_a_killed_run_resumes(portraits, tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    for index, image in enumerate(portraits.training()):
        from task_bundle.media.images import save_png

        save_png(faces / f"{index:05d}.png", image)
    script = textwrap.dedent(f"""
        from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
        from mm_face_stylizer.training.portraits import Portraits
        from mm_face_stylizer.training.blaze_stylegan.pretraining import Pretraining
        from mm_face_stylizer.training.blaze_stylegan.schedules import PretrainingOptions, Stage
        options = PretrainingOptions(
            (Stage(32, 100000),), image_size=64, batch_size=4, width=0.125
        )
        portraits = Portraits({str(faces)!r}, {str(tmp_path / "cache")!r}, side=64)
        run = Pretraining(options, portraits, None, {str(tmp_path / "run")!r})
        run._checkpoint_seconds = 0.0
        run.run()
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    index = tmp_path / "run" / "checkpoints" / "checkpoint"
    deadline = time.monotonic() + 300
    while not index.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    time.sleep(1.0)
    assert process.poll() is None, "the run ended by itself"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    options = PretrainingOptions((Stage(32, 100000),), image_size=64, batch_size=4, width=0.125)
    resumed = Pretraining(options, portraits, None, tmp_path / "run")
    assert resumed.step > 0
    log = tmp_path / "run" / "log.jsonl"
    if log.exists():
        assert all(json.loads(line)["step"] <= resumed.step for line in log.open())


def test_sheets_and_curves_are_drawn(finished):
    folder = finished[0].folder
    from task_bundle.media.images import load_image

    assert load_image(folder / "samples_000008.png").shape[1] > 64
    assert load_image(folder / "loss.png").std() > 0


def test_release_centres_the_latents_and_keeps_the_pictures(
    finished, portraits, tmp_path, monkeypatch
):
    # A few portraits need no more.
    monkeypatch.setattr(mapping_fit, "_CANDIDATES", 256)
    monkeypatch.setattr(mapping_fit, "_BATCH", 32)
    run, _ = finished
    start = {"name": "older", "sha256": "0", "metrics": {}}
    provenance = Provenance("tiny", "a command", "a commit", start=start)
    preset = release(run, portraits, provenance, tmp_path / "tiny", mapping_rounds=2)
    networks = preset.networks()
    photos = portraits.held_out()
    difference = networks.reconstruct(photos).astype(int) - run.networks.reconstruct(photos)
    assert np.abs(difference).mean() < 2  # float16
    from mm_face_stylizer.training.blaze_stylegan.release import _w_plus

    latents = _w_plus(networks, portraits.training(), False)
    np.testing.assert_allclose(latents.mean(axis=0), networks.w_avg[0], atol=0.02)
    card = Preset.find(tmp_path / "tiny").card
    assert card["data"]["train"] == 22 and card["data"]["held_out"] == 2
    assert card["command"] == "a command" and card["commit"] == "a commit"
    assert card["start"] == {"name": "older", "sha256": "0"}
    assert card["macs"] > 1e6
    assert (tmp_path / "tiny_sheet.png").exists()


@pytest.mark.usefixtures("untraced")
def test_a_loss_that_is_not_finite_ends_the_run(portraits, mesh, tmp_path):
    run = Pretraining(_OPTIONS, portraits, mesh, tmp_path)
    run.networks.w_avg.assign(run.networks.w_avg * np.nan)
    with pytest.raises(FloatingPointError, match="step 0"):
        run.run()
