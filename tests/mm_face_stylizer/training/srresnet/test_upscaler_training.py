import dataclasses
import json

import numpy as np
import pytest
from tiny import assert_resumes, run_as_if_killed, write_pictures

from mm_face_stylizer import cli
from mm_face_stylizer._keras import tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.srresnet.config import UpscalerConfig
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.card import Provenance
from mm_face_stylizer.training.srresnet.patches import Patches, PictureFolder
from mm_face_stylizer.training.srresnet.release import release_upscaler
from mm_face_stylizer.training.srresnet.upscaler_training import (
    UpscalerOptions,
    UpscalerStage,
    UpscalerTraining,
    bicubic,
)

_CONFIG = UpscalerConfig(image_size=16, channels=8, blocks=1, end_kernel=3)
_OPTIONS = UpscalerOptions(
    _CONFIG,
    (UpscalerStage(40, average=0.7), UpscalerStage(8, features=0.2, texture=0.05, average=0.7)),
    patch_side=16,
    batch_size=4,
    # The rate warms up over a hundred steps.
    learning_rate=3e-2,
)
_SAVED = 44


def _features(picture):
    """Stands in for a perceptual network: absolute differences of neighbors, and means of four."""
    return [tf.abs(picture - tf.roll(picture, 1, axis=2)), tf.nn.avg_pool2d(picture, 2, 2, "SAME")]


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    made = [
        PictureFolder(write_pictures(folder / name, side, 12), folder / f"{name}_cache", 32)
        for name, side in (("portraits", 64), ("drawings", 48))
    ]
    return Patches(made, 32)


@pytest.fixture(scope="module")
def finished(patches, tmp_path_factory):
    folder = tmp_path_factory.mktemp("upscaler")
    run = UpscalerTraining(_OPTIONS, patches, folder / "run", _features)
    return run, run_as_if_killed(run, _SAVED, folder / "killed")


@pytest.mark.slow
def test_the_loss_falls_and_the_second_stage_is_perceptual(finished):
    _, history = finished
    first, last = (
        np.mean([values["l1"] for values in part]) for part in (history[:4], history[36:40])
    )
    assert last < 0.7 * first
    assert "features" not in history[39] and history[40]["features"] > 0
    assert (finished[0].folder / "samples_000048.png").exists()


@pytest.mark.slow
def test_a_killed_run_resumes(finished, patches):
    run, history = finished
    folder = run.folder.parent / "killed"
    assert_resumes(UpscalerTraining(_OPTIONS, patches, folder, _features), _SAVED, history)


@pytest.mark.slow
def test_the_preset_has_weights_and_measures(finished, patches, tmp_path):
    run, _ = finished
    provenance = Provenance("tiny", "command", "commit")
    preset = release_upscaler(run, patches, provenance, tmp_path / "tiny", _features)
    card = json.loads((preset.folder / "card.json").read_text())
    assert card["family"] == "srresnet" and card["config"]["scale"] == 2
    assert card["macs"] > 0 and card["data"]["train"] == 22
    assert set(card["metrics"]) == {"portraits", "drawings"}
    for metrics in card["metrics"].values():
        for way in ("upscaler", "bicubic"):
            assert 5 < metrics[way]["psnr"] < 60 and metrics[way]["feature_distance"] > 0
    loaded = Preset.find(preset.folder).networks().weights()
    for name, value in run.released().weights().items():
        np.testing.assert_allclose(loaded[name], value, atol=2e-3, err_msg=name)


def test_bicubic_keeps_what_is_smooth():
    ramp = np.broadcast_to(np.arange(0, 128, 2, dtype=np.uint8)[:, None, None], (1, 64, 64, 3))
    difference = bicubic(ramp, 2).astype(int) - ramp
    assert np.abs(difference[:, 8:-8]).max() <= 1


def test_wrong_options_and_a_start_of_another_width(patches, tmp_path):
    with pytest.raises(InvalidArgumentError, match="'l3'.*l1, mse"):
        UpscalerOptions(_CONFIG, (UpscalerStage(1),), pixel_loss="l3")
    strided = dataclasses.replace(_CONFIG, stride=2, direct=True)
    with pytest.raises(InvalidArgumentError, match="15 px; this network needs a multiple of 2"):
        UpscalerOptions(strided, (UpscalerStage(1),), patch_side=15)
    start = {"upscaler/first/kernel": np.zeros((3, 3, 3, 16), np.float32)}
    with pytest.raises(InvalidArgumentError, match="the same channels"):
        UpscalerTraining(_OPTIONS, patches, tmp_path, start=start)


@pytest.mark.slow
def test_the_command_trains_four_times_the_side_from_twice(tmp_path):
    data = str(write_pictures(tmp_path / "data", 64, 12))
    command = ["upscaler", "train", "--data", data, "--drawings", data, "--batch-size", "2"]
    command += ["--patch-side", "16", "--steps", "2", "--perceptual-steps", "0", "--loss", "mse"]
    assert cli.main([*command, "-o", str(tmp_path / "x2")]) == 0
    start = str(tmp_path / "x2" / "upscaler_fast_x2")
    command += ["--scale", "4", "--start-from", start]
    assert cli.main([*command, "-o", str(tmp_path / "x4")]) == 0
    preset = Preset.find(tmp_path / "x4" / "upscaler_fast_x4")
    assert preset.networks().config.scale == 4
    assert preset.card["start"]["name"] == "upscaler_fast_x2"
