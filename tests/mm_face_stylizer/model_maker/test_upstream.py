"""Google's unmodified Model Maker on our networks, and each side's objects given to the other."""

import contextlib
import importlib.util
import io
import re
import tempfile

import numpy as np
import pytest
from native import native
from tiny import eager_steps

import mm_face_stylizer as mm
from mm_face_stylizer.model_maker.assets import install_assets
from mm_face_stylizer.style_pictures import draw_style
from task_bundle import FaceStylizer, FaceStylizerOptions
from task_bundle.archive import FACE_STYLIZER, read_archive
from task_bundle.media.images import save_png
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.tflite.model import describe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("mediapipe_model_maker") is None,
        reason="Google's Model Maker is not installed; it needs Python 3.11 and TensorFlow 2.15",
    ),
]
_STEPS = 10


@pytest.fixture(scope="module")
def google(tmp_path_factory, face_models):
    """The package, with our assets where it looks for its own, and no network."""
    directory = tmp_path_factory.mktemp("temporary")
    install_assets(directory, face_models=face_models)

    def refuse(*arguments, **keywords):
        raise AssertionError(f"Model Maker wants to download {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(directory))
        patch.setattr("requests.get", refuse)
        from mediapipe_model_maker import face_stylizer

        yield face_stylizer


@pytest.fixture(scope="module")
def style_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("style") / "ink.png"
    save_png(path, draw_style("ink"))
    return str(path)


@pytest.fixture(scope="module")
def trained(google, style_file, tmp_path_factory):
    """Google's stylizer after ten steps and its export, and what it printed."""
    folder = tmp_path_factory.mktemp("export")
    options = google.FaceStylizerOptions(
        model=google.SupportedModels.BLAZE_FACE_STYLIZER_256,
        hparams=google.HParams(epochs=_STEPS, export_dir=str(folder)),
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        data = google.Dataset.from_image(filename=style_file)
        stylizer = google.FaceStylizer.create(train_data=data, options=options)
        stylizer.export_model("x.task")
    return stylizer, folder / "x.task", printed.getvalue()


@pytest.fixture(scope="module")
def ten_steps(trained):
    return [float(loss) for loss in re.findall(r"^Iteration \d+ loss: (.+)$", trained[2], re.M)]


def _pictures(data):
    return np.concatenate([np.asarray(batch) for batch in data.gen_tf_dataset()])


def test_ten_steps_of_googles_trainer(ten_steps):
    assert len(ten_steps) == _STEPS and np.isfinite(ten_steps).all()
    assert np.mean(ten_steps[-3:]) < 0.95 * np.mean(ten_steps[:3])


def test_the_trained_networks_keep_googles_contract(google, trained):
    stylizer = trained[0]
    photo = np.ones((1, 256, 256, 3), np.float32)
    latent = stylizer._encoder(photo)
    assert latent.shape == (1, 12, 512) == stylizer.w_avg.shape
    image = stylizer._decoder({"inputs": latent + stylizer.w_avg})["image"][-1]
    assert image.shape == (1, 256, 256, 3)
    spec = google.SupportedModels.get(google.SupportedModels.BLAZE_FACE_STYLIZER_256)
    assert spec.style_block_num == 12 and list(spec.input_image_shape) == [256, 256]
    assert spec.name == "blaze_face_stylizer_256"


def test_googles_dataset_aligns_as_ours_does(google, grace_hopper_file):
    theirs = google.Dataset.from_image(filename=str(grace_hopper_file))
    assert theirs.num_classes == 1 and theirs.label_names == ["grace_hopper"] and len(theirs) == 1
    picture = next(iter(theirs.gen_tf_dataset()))[0][0].numpy()
    ours = mm.Dataset.from_image(grace_hopper_file).images[0]
    assert np.abs(picture.astype(float) - ours).mean() < 2


def test_the_exported_stylizer_needs_no_custom_operator_and_stays_in_range(trained):
    from ai_edge_litert.interpreter import Interpreter

    model = read_archive(trained[1].read_bytes(), "x.task")[FACE_STYLIZER]
    assert not any(name.startswith("CUSTOM") for name in describe(model).ops)
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    noise = np.random.default_rng(0).random(source["shape"]).astype(np.float32)
    pictures = []
    for _ in range(2):
        interpreter.set_tensor(source["index"], noise)
        interpreter.invoke()
        pictures.append(interpreter.get_tensor(target["index"]))
    assert pictures[0].min() >= 0 and pictures[0].max() <= 1
    np.testing.assert_array_equal(*pictures)


@native
def test_the_bundle_opens_natively_and_gives_the_trainers_picture(
    google, trained, grace_hopper_file
):
    stylizer, path, _ = trained
    stylized = stylizer.stylize(google.Dataset.from_image(filename=str(grace_hopper_file)))
    assert stylized.label_names == ["stylized"] and len(stylized) == 1
    mediapipe = import_mediapipe("mediapipe")
    native_stylizer = import_mediapipe("mediapipe.tasks.python.vision").FaceStylizer
    with native_stylizer.create_from_model_path(str(path)) as opened:
        picture = opened.stylize(mediapipe.Image.create_from_file(str(grace_hopper_file)))
    assert picture.numpy_view().shape == (256, 256, 3)
    difference = picture.numpy_view().astype(float) - _pictures(stylized)[0]
    assert np.abs(difference).mean() < 1


def test_the_bundle_runs_without_mediapipes_stylizer(google, trained, grace_hopper_file):
    options = FaceStylizerOptions(backend="portable")
    with FaceStylizer.create_from_model_path(str(trained[1]), options) as opened:
        (face,) = opened.stylize_all(grace_hopper_file)
    stylized = trained[0].stylize(google.Dataset.from_image(filename=str(grace_hopper_file)))
    assert np.abs(face.image.astype(float) - _pictures(stylized)[0]).mean() < 2


def test_googles_trainer_takes_our_objects(google, style_file, tmp_path):
    options = mm.FaceStylizerOptions(
        model=mm.SupportedModels.BLAZE_FACE_STYLIZER_256,
        model_options=mm.ModelOptions(alpha=0.2, swap_layers=[10, 11]),
        hparams=mm.HParams(epochs=1, batch_size=2, export_dir=tmp_path / "deep"),
    )
    data = mm.Dataset.from_image(style_file)
    stylizer = google.FaceStylizer.create(train_data=data, options=options)
    assert _pictures(stylizer.stylize(data)).shape == (1, 256, 256, 3)
    stylizer.export_model()
    assert (tmp_path / "deep/face_stylizer.task").is_file()


def test_our_trainer_takes_googles_objects(google, style_file, tmp_path):
    options = google.FaceStylizerOptions(
        model=google.SupportedModels.BLAZE_FACE_STYLIZER_256,
        model_options=google.ModelOptions(alpha=0.2, swap_layers=[10, 11]),
        hparams=google.HParams(epochs=1, batch_size=2, export_dir=str(tmp_path / "deep")),
    )
    data = google.Dataset.from_image(filename=style_file)
    with eager_steps():
        stylizer = mm.FaceStylizer.create(train_data=data, options=options)
    assert len(stylizer.history["loss"]) == 1
    assert _pictures(stylizer.stylize(data)).shape == (1, 256, 256, 3)
    stylizer.export_model()
    assert (tmp_path / "deep/face_stylizer.task").is_file()
