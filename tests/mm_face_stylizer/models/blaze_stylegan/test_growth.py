import json
import re

import numpy as np
import pytest
from conv_model import make_stylizer
from native import native
from tiny import LARGER, TinyMesh, eager_steps, tiny_networks, write_pictures

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.cli import main
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models import face_mesh
from mm_face_stylizer.models.blaze_stylegan.config import NetworksConfig
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.layers import upsample_2x
from mm_face_stylizer.preset import Preset, save_preset
from mm_face_stylizer.training.blaze_stylegan import release, schedules
from mm_face_stylizer.training.blaze_stylegan.mapping_fit import fit_mapping
from mm_face_stylizer.training.blaze_stylegan.pretraining import Pretraining
from mm_face_stylizer.training.blaze_stylegan.schedules import PretrainingOptions, Stage
from mm_face_stylizer.training.portraits import Portraits
from task_bundle import FaceStylizer, TaskBundle
from task_bundle.mediapipe_import import import_mediapipe

# Whole trainings, though small ones.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small():
    """Networks of 128 px whose every part has a say in the picture."""
    keras.utils.set_random_seed(1)
    weights = Networks.build(LARGER).weights()
    random = np.random.default_rng(0)
    for name, value in weights.items():
        if "spatial" in name or "bias" in name:
            weights[name] = value + random.normal(0, 0.3, value.shape)
    # Both rows of a block are alike, as training leaves them.
    weights["w_avg"] = random.normal(0, 0.3, (1, 5, 512)).repeat(2, axis=1)
    return Networks.from_weights(LARGER, weights)


@pytest.fixture(scope="module")
def large(small):
    return small.with_image_size(256)


def _shrunken(images):
    return tf.nn.avg_pool2d(images, 2, 2, "VALID")


def test_of_a_photo_the_smaller_heads_draw_what_they_drew_of_the_shrunken_one(small, large):
    random = np.random.default_rng(0)
    photos = tf.constant(random.uniform(-1, 1, (2, 256, 256, 3)), tf.float32)
    wanted, found = small.latents(_shrunken(photos)), large.latents(photos)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name][:, : value.shape[1]], value, atol=1e-4, err_msg=name)
    np.testing.assert_array_equal(found["inputs"][:, 10:], found["inputs"][:, 8:10])
    *heads, newest = large.synthesis(found)["image"]
    for head, picture in zip(heads, small.synthesis(wanted)["image"], strict=True):
        np.testing.assert_allclose(head, picture, atol=1e-3)
    assert newest.shape == (2, 256, 256, 3)


def test_the_new_head_draws_the_last_picture_enlarged(small, large):
    # Near the mean: the norm that the new block takes away comes back to first order.
    near = np.random.default_rng(0).normal(0, 0.05, (4, 1, 512)).astype(np.float32)
    wanted = small.synthesis({"inputs": small.w_avg + near})["image"][-1]
    found = large.synthesis({"inputs": large.w_avg + near})["image"][-1]
    # Features of one place cannot tell the four pixels apart that they make: the mean is drawn.
    wanted = upsample_2x(_shrunken(wanted)).numpy().repeat(2, axis=1).repeat(2, axis=2)
    assert np.abs(found - wanted).max() < 0.01 * np.abs(wanted).max()


def test_faces_can_be_drawn(large):
    assert large.generated_faces(1, 0).shape == (1, 256, 256, 3)
    assert large.random_latents(1, 0).shape == (1, 12, 512)


def test_the_rest_is_kept(small, large):
    small, large = small.weights(), large.weights()
    changed = {name for name, value in small.items() if not np.array_equal(value, large[name])}
    layers = ("encoder/latent", "mapping/latent")
    rows = {f"{layer}/{kind}" for layer in layers for kind in ("kernel", "bias")}
    assert changed == rows | {"encoder/stem/kernel", "w_avg"}


def test_networks_grow_to_twice_their_side(small):
    with pytest.raises(ValueError, match="128 px.*256 px.*512"):
        small.with_image_size(512)
    with pytest.raises(ValueError, match="from 128 pixels.*64"):
        tiny_networks().with_image_size(128)


def test_only_the_finer_blocks_are_trained(tmp_path):
    portraits = Portraits(write_pictures(tmp_path / "faces"), tmp_path / "cache", side=64)
    stage = Stage(64, 2, perceptual_weight=0.1, adversarial_share=0.3, trained_from=16)
    options = PretrainingOptions((stage,), image_size=64, batch_size=2, width=0.125)
    run = Pretraining(options, portraits, TinyMesh(), tmp_path / "run")
    before = run.networks.weights()
    with eager_steps():
        run.run()
    after = run.networks.weights()
    changed = {name for name, value in before.items() if not np.array_equal(value, after[name])}
    blocks = {
        name for name in before if name.startswith(("synthesis/block16", "synthesis/block32"))
    }
    assert blocks <= changed
    assert all(name.startswith("discriminator/") for name in changed - blocks)


def test_a_block_must_be_there_to_be_trained():
    with pytest.raises(ValueError, match="works at 32 px.*64 px"):
        tiny_networks().synthesis.trainable_from(64)


def test_stages_fit_other_sides():
    stages = (Stage(256, 3), Stage(512, 5, trained_from=128))
    assert schedules.stages_for(stages, 128) == (Stage(64, 3), Stage(128, 5, trained_from=32))


@pytest.fixture(scope="module")
def start(small, tmp_path_factory):
    """A preset of 128 px."""
    return save_preset(tmp_path_factory.mktemp("start") / "small", small, {"name": "small"}).folder


@pytest.fixture
def quick(monkeypatch):
    """Without the real face mesh, and without an export that would only count operations."""
    monkeypatch.setattr(face_mesh, "FaceMeshFeatures", lambda model: TinyMesh())
    monkeypatch.setattr(release, "export_stylizer", lambda *_: make_stylizer(64))


_SHORT = ["--steps", "2", "--batch-size", "4"]


def _weights(folder):
    """A preset's weights in float32, without building its networks."""
    return {name: value.astype(np.float32) for name, value in Preset.find(folder).weights().items()}


def _arguments(folder, start, side):
    arguments = ["pretrain", "--data", str(folder / "faces"), "--output", str(folder / "run")]
    return [*arguments, "--start-from", str(start), "--image-size", str(side)]


@pytest.mark.slow
@pytest.mark.usefixtures("face_models", "quick")
def test_pretrain_makes_a_preset_of_twice_the_side(start, tmp_path, capsys):
    write_pictures(tmp_path / "faces", side=128, count=12)
    with eager_steps():
        assert main([*_arguments(tmp_path, start, 256), *_SHORT]) == 0
    folder = tmp_path / "run" / "blaze_face_stylizer_256"
    assert capsys.readouterr().out == f"{folder}\n"
    card = json.loads((folder / "card.json").read_text())
    assert card["config"]["image_size"] == 256 and card["start"]["name"] == "small"
    assert [stage["trained_from"] for stage in card["stages"]] == [64, 64]
    assert [stage["steps"] for stage in card["stages"]] == [1, 1]
    assert card["batch_size"] == 4 and card["learning_rate"] == schedules.GROWTH.learning_rate
    # Latents stay what they were, and with them whatever draws them.
    wanted = Preset.find(start).networks().with_image_size(256).weights()
    found = _weights(folder)
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        if name.partition("/")[0] in ("encoder", "mapping", "prior", "w_avg"):
            np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.usefixtures("face_models", "quick")
def test_sharpening_keeps_the_latents(start, tmp_path, capsys):
    write_pictures(tmp_path / "faces", side=128, count=12)
    with eager_steps():
        assert main([*_arguments(tmp_path, start, 128), *_SHORT, "--sharpen"]) == 0
    wanted = _weights(start)
    found = _weights(tmp_path / "run" / "blaze_face_stylizer_128")
    parts = {name.partition("/")[0] for name in wanted if (wanted[name] != found[name]).any()}
    assert parts == {"synthesis", "discriminator"}
    # The run is over, and run again it only writes its preset.
    again = [*_arguments(tmp_path, start, 128), *_SHORT, "--sharpen", "--strength", "0.25"]
    assert main(again) == 0
    part = _weights(tmp_path / "run" / "blaze_face_stylizer_128")
    for name, value in wanted.items():
        quarter = value + 0.25 * (found[name] - value)
        np.testing.assert_allclose(part[name], quarter, rtol=1e-3, atol=1e-4, err_msg=name)
    assert main([*_arguments(tmp_path, start, 256), "--sharpen"]) == 1
    assert "--sharpen needs --start-from" in capsys.readouterr().err
    assert main([*_arguments(tmp_path, start, 128), "--strength", "0.5"]) == 1
    assert "--strength 0.5 needs --sharpen" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("face_models", "quick")
def test_pretrain_goes_to_w_plus_alone(start, tmp_path, monkeypatch, capsys):
    write_pictures(tmp_path / "faces", side=128, count=12)
    # All rounds of the mapping network would take minutes.
    monkeypatch.setattr(release, "fit_mapping", lambda *what, **_: fit_mapping(*what[:2], rounds=1))
    with eager_steps():
        assert main([*_arguments(tmp_path, start, 128), *_SHORT, "--spatial-sides"]) == 0
    preset = Preset.find(capsys.readouterr().out.strip())
    assert [stage["image_size"] for stage in preset.card["stages"]] == [16, 32, 64, 128]
    assert preset.card["learning_rate"] == schedules.FEWER_SPATIAL.learning_rate
    assert preset.networks().config.spatial_sides == ()


@pytest.mark.usefixtures("face_models")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["512"], "--image-size is 512, but {start} is a preset of 128 px; from it, 128 and 256"),
        (["256", "--spatial-sides", "8"], "--spatial-sides 8 and --image-size 256.*8 16"),
    ],
)
def test_a_side_that_does_not_fit_is_named(more, said, start, tmp_path, capsys):
    assert main(_arguments(tmp_path, start, more[0]) + more[1:]) == 1
    assert re.search(said.format(start=re.escape(str(start))), capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("face_models")
def test_a_larger_side_needs_a_start(tmp_path, capsys):
    arguments = _arguments(tmp_path, "", 512)
    assert main(arguments) == 1
    assert "--image-size 512 needs --start-from, a preset of 256 px" in capsys.readouterr().err


@native
def test_runtimes_give_pictures_of_512_px(face_models, grace_hopper, tmp_path):
    networks = Networks.build(NetworksConfig(image_size=512, width=0.125))
    bundle = TaskBundle.build(export_stylizer(networks), face_models)
    bundle.save(tmp_path / "x.task")
    vision = import_mediapipe("mediapipe.tasks.python.vision")
    mediapipe = import_mediapipe("mediapipe")
    photo = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=grace_hopper.copy())
    with vision.FaceStylizer.create_from_model_path(str(tmp_path / "x.task")) as theirs:
        wanted = theirs.stylize(photo).numpy_view().copy()
    with FaceStylizer.create_from_bundle(bundle) as ours:
        found = ours.stylize(grace_hopper).image
    assert wanted.shape == found.shape == (512, 512, 3)
    assert np.abs(found.astype(int) - wanted).max() <= 1
