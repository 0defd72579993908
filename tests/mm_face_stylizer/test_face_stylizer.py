import copy
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import PIL.Image
import pytest
from native import native
from tiny import eager_steps, presets_opened_once

import mm_face_stylizer as mm
from mm_face_stylizer import face_stylizer
from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import PresetError
from mm_face_stylizer.model_spec import ModelSpec
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.blaze_stylegan.painting_step import PaintingStep
from mm_face_stylizer.training.blaze_stylegan.painting_trainer import PaintingTrainer
from mm_face_stylizer.training.blaze_stylegan.step_cache import StepCache
from task_bundle import BundleError, FaceFinder, NoFaceError, TaskBundle
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.runtime.stylizer import FaceStylizer as TaskStylizer

pytestmark = pytest.mark.usefixtures("face_models")

_MODEL = mm.SupportedModels.BLAZE_FACE_STYLIZER_256


@pytest.fixture(scope="module", autouse=True)
def _presets_opened_once():
    """The training of one stylizer must not change what the next one starts from."""
    with presets_opened_once():
        yield


@pytest.fixture(scope="module")
def data(grace_hopper_file):
    return mm.Dataset.from_image(str(grace_hopper_file), size=64)


@pytest.fixture(scope="module")
def tiny_model(tiny_preset):
    """A model whose training is short. The demo and the notebook train the released one."""
    return ModelSpec.of_preset(tiny_preset)


@pytest.fixture(scope="module")
def tiny_options(tiny_model, tmp_path_factory):
    hparams = mm.HParams(
        epochs=3,
        batch_size=2,
        learning_rate=5e-3,
        export_dir=tmp_path_factory.mktemp("tiny-export"),
    )
    return mm.FaceStylizerOptions(tiny_model, mm.ModelOptions(swap_layers=[4, 5]), hparams)


@pytest.fixture(scope="module")
def unwatched(tiny_options, data):
    """A stylizer after three steps that nothing interrupted, without a preview.

    And its options before and after, and the steps of which it told.
    """
    options, seen = tiny_options, []
    before = copy.deepcopy((options.hparams, options.model_options))
    with eager_steps():
        stylizer = mm.FaceStylizer.create(
            data, options, on_step=lambda step, values: seen.append(step)
        )
    return stylizer, before, (options.hparams, options.model_options), seen


@pytest.fixture(scope="module")
def stylizer(unwatched):
    return unwatched[0]


@pytest.fixture(scope="module")
def bundle(stylizer):
    return stylizer.bundle()


def test_latents_follow_the_published_contract(stylizer, data):
    image = tf.constant(data.images[:1].astype(np.float32) / 127.5 - 1)
    w = stylizer._encoder(image) + stylizer.w_avg
    assert w.shape == (1, 8, 512) and stylizer.w_avg.shape == (1, 8, 512)
    images = stylizer._decoder({"inputs": w}, training=True)["image"]
    assert images[-1].shape == (1, 64, 64, 3)
    assert len(images) == 4
    noise = stylizer._mapping_network([tf.zeros((2, 512)), tf.zeros((2, 0))], training=False)
    assert noise.shape == (2, 8, 512)


def test_stylize_gives_a_data_set_of_images(stylizer, data):
    result = stylizer.stylize(data)
    assert result.size == 1 and result.label_names == ["stylized"]
    batch = next(iter(result.gen_tf_dataset()))
    assert batch.shape == (1, 64, 64, 3) and batch.dtype == tf.float32
    np.testing.assert_array_equal(batch, stylizer.stylize_images(data.images))
    assert np.min(batch) >= 0 and 100 < np.max(batch) <= 255


def test_history_and_options(tiny_model, unwatched):
    stylizer, before, after, seen = unwatched
    assert after == before
    assert mm.FaceStylizerOptions(tiny_model, None, after[0]).hparams is after[0]
    assert seen == [1, 2, 3] and len(stylizer.history["loss"]) == 3


def test_stylize_takes_photos(stylizer, data, grace_hopper_file, grace_hopper):
    expected = stylizer.stylize(data).images
    with PIL.Image.open(grace_hopper_file) as picture:
        for photo in (grace_hopper_file, str(grace_hopper_file), grace_hopper, picture):
            np.testing.assert_array_equal(stylizer.stylize(photo).images, expected)
    both = stylizer.stylize([grace_hopper_file, grace_hopper])
    assert both.size == 2
    with pytest.raises(NoFaceError, match="image 1"):
        stylizer.stylize(np.zeros((64, 64, 3), np.uint8))


def test_an_interrupted_training_goes_on(tiny_options, data, unwatched, tmp_path):
    def interrupt(step, losses):
        if step == 1:
            raise KeyboardInterrupt

    whole, *_ = unwatched
    with eager_steps():
        with pytest.warns(UserWarning, match="interrupted after 1 of 3 steps"):
            half = mm.FaceStylizer.create(data, tiny_options, on_step=interrupt)
        assert half.steps == 1
        half.save(tmp_path / "half.npz")
        loaded = mm.FaceStylizer.load(tmp_path / "half.npz")
        assert loaded.picture == half.picture == 0
        same = [one.stylize_images(data.images) for one in (half, loaded)]
        np.testing.assert_array_equal(*same)
        for one in (half, loaded):
            # The rate of the second step is that of a training of three.
            history = one.train(2)
            assert history["loss"] == pytest.approx(whole.history["loss"], rel=1e-4)
        assert "grace_hopper, 3 steps" in repr(loaded)
        exported = loaded.export_model()
        assert exported.parent == tmp_path
        assert TaskBundle.open(exported).provenance.steps == 3
        # Once completed, it can go on all the same.
        assert len(loaded.train(1)["loss"]) == 4
    with pytest.raises(FileExistsError):
        half.save(tmp_path / "half.npz")
    (tmp_path / "other.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="other.npz is no saved training"):
        mm.FaceStylizer.load(tmp_path / "other.npz")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"arrays.npz is no saved training.*: it has no 'card'"):
        mm.FaceStylizer.load(tmp_path / "arrays.npz")


def test_a_second_training_does_not_trace_again(tiny_options, data, monkeypatch):
    options = dataclasses.replace(
        tiny_options, hparams=dataclasses.replace(tiny_options.hparams, epochs=1)
    )
    traced = []
    step = PaintingStep._step
    monkeypatch.setattr(
        PaintingStep, "_step", lambda self, *batch: traced.append(1) or step(self, *batch)
    )
    # Without the steps of other tests.
    monkeypatch.setattr(face_stylizer, "_STEPS", StepCache())
    first, second = (mm.FaceStylizer.create(data, options) for _ in range(2))
    assert len(traced) == 1
    assert first.history == second.history
    np.testing.assert_array_equal(
        first.stylize_images(data.images), second.stylize_images(data.images)
    )


def test_keras_callbacks(tiny_options, data, tmp_path, monkeypatch):
    class StopAtTwo(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    with eager_steps():
        stylizer = mm.FaceStylizer.create(data, tiny_options, callbacks=[StopAtTwo(), log])
    assert stylizer.steps == 2
    head, *lines = (tmp_path / "log.csv").read_text().splitlines()
    assert head.startswith("epoch,") and "loss" in head and len(lines) == 2
    # Before anything is painted.
    monkeypatch.setattr(face_stylizer, "PaintingTrainer", None)
    with pytest.raises(TypeError, match="tf_keras.callbacks.Callback"):
        mm.FaceStylizer.create(data, tiny_options, callbacks=[print])
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate)
    with pytest.raises(ValueError, match="LearningRateScheduler; the learning rate follows"):
        mm.FaceStylizer.create(data, tiny_options, callbacks=[scheduler])


_FLOW = """
import sys
import mm_face_stylizer as mm
from mm_face_stylizer.model_spec import ModelSpec
photo, preset, folder, verbose, eager = *sys.argv[1:4], *map(int, sys.argv[4:])
data = mm.Dataset.from_image(photo, size=64)
mm.FaceStylizer
if eager:
    from mm_face_stylizer._keras import tf
    tf.config.run_functions_eagerly(True)
options = mm.FaceStylizerOptions(
    ModelSpec.of_preset(preset),
    mm.ModelOptions(swap_layers=[4, 5]),
    mm.HParams(epochs=1, batch_size=2, export_dir=folder),
)
stylizer = mm.FaceStylizer.create(data, options, verbose=verbose)
stylizer.stylize(photo)
path = stylizer.export_model()
if not eager:
    stylizer.save(f"{folder}/saved.npz")
    mm.FaceStylizer.load(f"{folder}/saved.npz", verbose=verbose).stylize(photo)
from task_bundle import FaceStylizer
with FaceStylizer.create_from_model_path(path) as stylizer:
    stylizer.stylize(photo)
"""


def _flow(photo, preset, folder, verbose, eager=1):
    """Makes and runs a stylizer in a new process, since libraries log when they are loaded."""
    words = [str(word) for word in (photo, preset, folder, verbose, eager)]
    return subprocess.run(
        [sys.executable, "-c", _FLOW, *words],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).resolve().parents[2],
        env={name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"},
        check=True,
    )


def test_verbose_0_is_silent_from_import_to_export(grace_hopper_file, tiny_preset, tmp_path):
    done = _flow(grace_hopper_file, tiny_preset, tmp_path, 0)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
def test_only_progress_and_the_path_are_printed_without_being_asked(
    grace_hopper_file, tiny_preset, tmp_path, monkeypatch
):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    done = _flow(grace_hopper_file, tiny_preset, tmp_path, 1, 0)
    assert done.stdout == f"{tmp_path / 'face_stylizer.task'}\n"
    names = {line.split(":")[0].strip() for line in re.split(r"[\r\n]+", done.stderr)}
    assert names - {""} == {"Painting", "Fine-tuning"}


def test_preview_shows_the_stylizer_at_each_step_and_changes_nothing(tiny_options, data, unwatched):
    unwatched, *_ = unwatched
    seen = {}

    def preview(step, stylizer):
        seen[step] = stylizer.stylize_images(data.images)

    with eager_steps():
        watched = mm.FaceStylizer.create(data, tiny_options, preview=preview)
    assert watched.history == unwatched.history
    final = unwatched.stylize_images(data.images)
    np.testing.assert_array_equal(seen[3], final)
    assert np.abs(seen[1].astype(int) - final).mean() > 0.1


def test_options_may_be_left_out_and_come_from_elsewhere(tiny_model, data):
    # Model Maker's objects have these attributes and no others that count.
    hparams = types.SimpleNamespace(
        learning_rate=8e-4, batch_size=2, epochs=1, beta_1=0.0, beta_2=0.99, export_dir="."
    )
    weight = types.SimpleNamespace(l1=0.5, content=4.0, style=1.0)
    model_options = types.SimpleNamespace(
        swap_layers=[4, 5], alpha=0.1, perception_loss_weight=weight, adv_loss_weight=0.2
    )
    options = types.SimpleNamespace(model=tiny_model, model_options=model_options, hparams=hparams)
    google_data = types.SimpleNamespace(gen_tf_dataset=data.gen_tf_dataset)
    with eager_steps():
        stylizer = mm.FaceStylizer.create(google_data, options)
    assert len(stylizer.history["loss"]) == 1


def test_strength_0_is_the_reconstruction(stylizer, data, tiny_preset):
    full, none = stylizer.stylize_images(data.images), stylizer.stylize_images(data.images, 0.0)
    half = stylizer.stylize_images(data.images, 0.5)
    wanted = Preset.find(tiny_preset).networks().reconstruct(data.images)
    assert np.abs(none.astype(int) - wanted).max() <= 1
    assert 0 < np.abs(half.astype(int) - none).mean() < np.abs(full.astype(int) - none).mean()


def test_export_model_writes_bundle_and_metadata(stylizer, bundle, monkeypatch, capsys):
    asked = []

    def made_before(precision, strength):
        asked.append((precision, strength))
        return bundle

    monkeypatch.setattr(stylizer, "bundle", made_before)
    folder = pathlib.Path(stylizer._hparams.export_dir)
    path = stylizer.export_model(precision="int8", strength=0.5)
    assert asked == [("int8", 0.5)]
    assert path == folder / "face_stylizer.task" and capsys.readouterr().out == f"{path}\n"
    assert TaskBundle.open(path) == bundle
    assert json.loads((folder / "face_stylizer.metadata.json").read_text())["name"]
    with pytest.raises(FileExistsError, match="face_stylizer.task"):
        stylizer.export_model()
    # A second bundle in the same folder.
    assert stylizer.export_model("mild.task").name == "mild.task"
    assert (folder / "mild.metadata.json").exists()


@native
def test_google_opens_it_from_path_and_buffer(bundle, tmp_path, grace_hopper):
    mediapipe = import_mediapipe()
    vision = import_mediapipe("mediapipe.tasks.python.vision")
    base = import_mediapipe("mediapipe.tasks.python.core.base_options").BaseOptions
    bundle.save(tmp_path / "x.task")
    photo = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=grace_hopper.copy())
    pictures = []
    for options in (
        base(model_asset_path=str(tmp_path / "x.task")),
        base(model_asset_buffer=bundle.to_bytes()),
    ):
        task = vision.FaceStylizer.create_from_options(
            vision.FaceStylizerOptions(base_options=options)
        )
        pictures += [task.stylize(photo).numpy_view().copy() for _ in range(2)]
        blank = mediapipe.Image(
            image_format=mediapipe.ImageFormat.SRGB, data=np.full((256, 256, 3), 90, np.uint8)
        )
        assert task.stylize(blank) is None
        task.close()
    assert pictures[0].shape[:2] == (64, 64) and pictures[0].std() > 5
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])


@native
def test_the_native_picture_is_keras_on_the_native_crop(stylizer, bundle, grace_hopper):
    with TaskStylizer.create_from_bundle(bundle) as task:
        found = task.stylize(grace_hopper).image
    with FaceFinder() as finder:
        crop = finder.find(grace_hopper)[0].crop.crop(grace_hopper, 64)
    difference = np.abs(found.astype(int) - stylizer.stylize_images(crop[None])[0])
    assert difference.mean() < 0.5 and np.percentile(difference, 99.9) <= 2


def test_int8_gives_the_same_picture(stylizer, bundle, data):
    assert 0 < _difference(bundle, stylizer.bundle("int8"), data) < 6


def _difference(one, other, data):
    """Between the pictures of two bundles, in 255ths on average."""
    from litert import run_litert

    photo = data.images[:1].astype(np.float32) / 255
    pictures = [run_litert(each.stylizer, photo)[0] for each in (one, other)]
    return 255 * np.abs(pictures[0] - pictures[1]).mean()


@pytest.mark.slow
def test_the_released_model(grace_hopper_file, tmp_path, monkeypatch):
    data = mm.Dataset.from_image(str(grace_hopper_file))
    hparams = mm.HParams(epochs=2, export_dir=str(tmp_path))
    options = mm.FaceStylizerOptions(model=_MODEL, hparams=hparams)
    nearest = Preset.find().styles.index("tempera_fresco_2")
    # To find it among all known styles, as the demo does, takes longer than everything else.
    monkeypatch.setattr(PaintingTrainer, "_nearest", lambda *_: nearest)
    with eager_steps():
        stylizer = mm.FaceStylizer.create(train_data=data, options=options)
    reconstruction = stylizer.stylize_images(data.images, 0.0)
    assert np.abs(reconstruction - data.images.astype(int)).mean() < 25
    bundle = stylizer.bundle()
    # Google's current face models are 1.3 MB larger than those of the wheel.
    assert len(bundle.to_bytes()) - len(bundle.landmarks) - len(bundle.detector) <= 9_500_000
    assert 0 < _difference(bundle, stylizer.bundle("int8"), data) < 6
    image = tf.constant(data.images[:1].astype(np.float32) / 127.5 - 1)
    w = stylizer._encoder(image, training=True) + stylizer.w_avg
    assert w.shape == (1, 12, 512) and stylizer.w_avg.shape == (1, 12, 512)
    images = stylizer._decoder({"inputs": w}, training=True)["image"]
    assert len(images) == 6 and images[-1].shape == (1, 256, 256, 3)


def test_bad_options(data, tiny_options):
    with pytest.raises(ValueError, match="swap_layers"):
        wrong = mm.ModelOptions(swap_layers=[8])
        mm.FaceStylizer.create(data, dataclasses.replace(tiny_options, model_options=wrong))
    with pytest.raises(TypeError, match="BLAZE_FACE_STYLIZER_256"):
        mm.FaceStylizer.create(data, mm.FaceStylizerOptions("blaze"))
    small = mm.Dataset.from_arrays(np.zeros((1, 32, 32, 3), np.uint8), ["small"])
    with pytest.raises(ValueError, match="32.*64"):
        mm.FaceStylizer.create(small, tiny_options)


def test_bad_export_options(stylizer):
    with pytest.raises(ValueError, match="float8"):
        stylizer.bundle("float8")
    with pytest.raises(ValueError, match="strength"):
        stylizer.bundle(strength=2.0)


def test_damaged_preset(monkeypatch, data, tmp_path):
    from mm_face_stylizer import preset

    card = {"sha256": "0" * 64, "config": {}}
    (tmp_path / "blaze_face_stylizer_256").mkdir()
    (tmp_path / "blaze_face_stylizer_256" / "card.json").write_text(json.dumps(card))
    (tmp_path / "blaze_face_stylizer_256" / "weights.npz").write_bytes(b"")
    monkeypatch.setattr(preset, "_PRESETS_FOLDER", tmp_path)
    with pytest.raises(PresetError, match="sha256"):
        mm.FaceStylizer.create(data, mm.FaceStylizerOptions(_MODEL))


def test_a_bundle_is_a_value(bundle):
    assert dataclasses.is_dataclass(bundle)
    with pytest.raises(BundleError):
        TaskBundle.open(bundle.to_bytes()[:-100])
