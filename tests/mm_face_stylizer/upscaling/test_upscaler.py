import dataclasses
import subprocess
import sys
import types

import numpy as np
import pytest
from conv_model import make_stylizer

from mm_face_stylizer import cli
from mm_face_stylizer._keras import keras
from mm_face_stylizer.cli import main
from mm_face_stylizer.errors import InvalidArgumentError, PresetError
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.export_options import PRECISIONS
from mm_face_stylizer.models.srresnet.config import UpscalerConfig
from mm_face_stylizer.models.srresnet.networks import UpscalerNetworks
from mm_face_stylizer.preset import save_preset
from mm_face_stylizer.ready_styles import ready_bundle
from mm_face_stylizer.upscaling.upscaler import Upscaler
from task_bundle import BundleError, FaceStylizer, TaskBundle
from task_bundle.media.images import load_image, save_png
from task_bundle.provenance import Provenance
from task_bundle.tflite.litert_model import LitertModel
from task_bundle.tflite.model import describe

_CONFIG = UpscalerConfig(image_size=32, channels=8, blocks=1, end_kernel=3, interpolated_skip=True)


def _saved(folder, config=_CONFIG):
    keras.utils.set_random_seed(0)
    card = {"name": "tiny", "family": "srresnet"}
    networks = UpscalerNetworks.build(config)
    exports = {precision: export_stylizer(networks, precision) for precision in PRECISIONS}
    return save_preset(folder, networks, card, exports=exports).folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """The folder of a finished training."""
    folder = tmp_path_factory.mktemp("run")
    _saved(folder / "upscaler_tiny_x2")
    (folder / "cache").mkdir()
    return folder


@pytest.fixture(scope="module")
def upscaler(run_folder):
    return Upscaler.find(run_folder)


@pytest.fixture
def bundle(face_models):
    return TaskBundle.build(make_stylizer(64, gain=0.5), face_models)


def _sizes(bundle):
    info = describe(bundle.stylizer)
    return [tensor.shape for tensor in (*info.inputs, *info.outputs)]


def _error(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_bundle_makes_larger_pictures(upscaler, bundle, grace_hopper):
    large = upscaler.behind(bundle, "float32")
    assert _sizes(large) == [(1, 64, 64, 3), (1, 128, 128, 3)]
    assert large.validate() == ()
    assert upscaler.behind(bundle, "float32").to_bytes() == large.to_bytes()
    photo = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    (found,) = LitertModel(large.stylizer, "large").run(photo)
    wanted = UpscalerNetworks.inference(upscaler.preset.networks(), 64)(0.5 * photo)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    with FaceStylizer.create_from_model_buffer(large.to_bytes()) as stylizer:
        assert stylizer.stylize(grace_hopper).image.shape == (128, 128, 3)


def test_a_quantized_upscaler_is_near(upscaler, bundle):
    photo = np.full((1, 64, 64, 3), 0.5, np.float32)
    found, wanted = (
        LitertModel(upscaler.behind(bundle, precision).stylizer, "large").run(photo)[0]
        for precision in ("int8", "float16")
    )
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_the_commands_enlarge_bundles_and_pictures(run_folder, bundle, tmp_path, capsys):
    bundle.save(tmp_path / "x.task")
    options = ["--upscaler", str(run_folder)]
    command = ["upscale", str(tmp_path / "x.task"), "-o", str(tmp_path / "y.task"), *options]
    assert main(command) == 0
    assert _sizes(TaskBundle.open(tmp_path / "y.task"))[1] == (1, 128, 128, 3)
    assert capsys.readouterr().out == f"{tmp_path / 'y.task'}\n"
    assert main(command) == 1
    assert "already exists; pass --overwrite" in _error(capsys)

    x, y = np.meshgrid(np.linspace(0, 255, 300), np.linspace(0, 255, 210))
    save_png(tmp_path / "x.png", np.stack([x, y, 255 - x], -1).astype(np.uint8))
    assert main(["upscale", str(tmp_path / "x.png"), "-o", str(tmp_path / "y.png"), *options]) == 0
    large, small = (load_image(tmp_path / f"{name}.png").astype(int) for name in "yx")
    assert large.shape == (420, 600, 3)
    # An untrained network adds next to nothing to the interpolation, and tiles end inside.
    assert np.abs(large[::2, ::2] - small).max() <= 4


def test_create_writes_a_bundle_of_larger_pictures(
    run_folder, bundle, grace_hopper_file, tmp_path, monkeypatch
):
    made = Provenance("1.0", "tiny", ("grace_hopper",), 1, 0, 0.5, "style", 1.0, "float16")
    # Stands in for a stylizer, whose training has nothing to do with it.
    trained = types.SimpleNamespace(
        steps=1, picture=0, bundle=lambda precision, strength: bundle.with_provenance(made)
    )
    monkeypatch.setattr(cli, "_tuned", lambda *arguments: trained)
    command = ["create", str(grace_hopper_file), "-o", str(tmp_path / "x.task"), "--steps", "1"]
    assert main([*command, "--upscale", "2", "--upscaler", str(run_folder)]) == 0
    large = TaskBundle.open(tmp_path / "x.task")
    assert _sizes(large) == [(1, 64, 64, 3), (1, 128, 128, 3)]
    assert large.provenance == made
    assert large.validate() == ()


def test_bundles_that_cannot_be_upscaled(upscaler, bundle, face_models):
    with pytest.raises(BundleError, match="upscaled already.*128 x 128 pixels out of 64 x 64"):
        upscaler.behind(upscaler.behind(bundle))
    wide = dataclasses.replace(bundle, stylizer=make_stylizer(shape=[1, 32, 64, 3]))
    with pytest.raises(BundleError, match="64 x 32 pixels; an upscaler needs square ones"):
        upscaler.behind(wide)
    for defect, message in (({"dtype": "UINT8"}, "must be float32"), ({"inputs": 2}, "2 inputs")):
        with pytest.raises(BundleError, match=message):
            upscaler.behind(dataclasses.replace(bundle, stylizer=make_stylizer(64, **defect)))


def test_unknown_upscalers_are_refused(run_folder, tmp_path, capsys):
    with pytest.raises(InvalidArgumentError, match="the scale is 3; it must be 2 or 4"):
        Upscaler.find(run_folder, 3)
    with pytest.raises(InvalidArgumentError, match="enlarges 2 x, and not 4 x"):
        Upscaler.find(run_folder, 4)
    with pytest.raises(PresetError, match="a stylizer and not of an upscaler"):
        Upscaler.find("blaze_face_stylizer_256")
    save_png(tmp_path / "x.png", np.zeros((8, 8, 3), np.uint8))
    command = ["upscale", str(tmp_path / "x.png"), "-o", str(tmp_path / "y.png")]
    assert main([*command, "--scale", "4"]) == 1
    assert "no released upscaler to 4 x; `mm-face-stylizer upscaler train`" in _error(capsys)
    for wrong in (["--scale", "3"], ["-o", "y.jpg"]):
        with pytest.raises(SystemExit):
            main([*command, *wrong])
    assert "must end in .png" in capsys.readouterr().err


def test_the_released_upscaler_meets_its_requirements():
    card = Upscaler.find().preset.card
    for name, gain in (("portraits", 1.0), ("drawings", 1.5)):
        before = card["start"]["metrics"][name]
        assert before["upscaler"]["psnr"] >= before["bicubic"]["psnr"] + gain
    for key in ("command", "commit", "licence", "data", "sha256"):
        assert card[key], key
    assert {
        source["licence"] for source in card["data"]["sources"] if "SA" in source["licence"]
    } == set()


def test_the_released_upscaler_keeps_a_sharp_edge_straight_and_needs_no_tensorflow(tmp_path):
    """A black and white picture stays without ringing beyond a few levels, and without a grid."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 33:] = 255
    save_png(tmp_path / "x.png", picture)
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['tf_keras'] = None;"
        "from mm_face_stylizer.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "upscale", str(tmp_path / "x.png")]
    subprocess.run([*command, "-o", str(tmp_path / "y.png")], check=True, capture_output=True)
    large = load_image(tmp_path / "y.png").astype(int)
    assert np.abs(large - large[:1]).max() <= 16
    assert large[:, :60].max() <= 12 and large[:, 72:].min() >= 243


def test_the_released_upscaler_enlarges_a_ready_style(grace_hopper):
    upscaler = Upscaler.find()
    bundle = ready_bundle("comic")
    for precision in ("float16", "int8"):
        large = upscaler.behind(bundle, precision)
        assert _sizes(large)[1] == (1, 512, 512, 3)
        with (
            FaceStylizer.create_from_model_buffer(large.to_bytes()) as stylizer,
            FaceStylizer.create_from_model_buffer(bundle.to_bytes()) as plain,
        ):
            found, small = (one.stylize(grace_hopper).image for one in (stylizer, plain))
        reduced = found.reshape(256, 2, 256, 2, 3).mean((1, 3))
        assert np.abs(reduced - small).mean() <= 2.0
