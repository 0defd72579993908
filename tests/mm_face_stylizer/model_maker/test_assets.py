import json
import tempfile
import zipfile

import numpy as np
import pytest
from native import native
from tiny import presets_opened_once

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.cli import main
from mm_face_stylizer.model_maker.assets import install_assets, uninstall_assets
from mm_face_stylizer.model_maker.installed_files import MANIFEST
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training import losses
from task_bundle.mediapipe_import import import_mediapipe


@pytest.fixture(scope="module", autouse=True)
def _presets_opened_once():
    with presets_opened_once():
        yield


@pytest.fixture(scope="module")
def preset():
    """The released one; its networks hand over spatial latents, which must be left out."""
    return Preset.find()


@pytest.fixture(scope="module")
def directory(preset, face_models, tmp_path_factory):
    directory = tmp_path_factory.mktemp("temporary")
    folder = install_assets(directory, face_models=face_models)
    assert folder == directory / "model_maker"
    return directory


@pytest.fixture(scope="module")
def networks(preset):
    return preset.networks()


@pytest.fixture(scope="module")
def loaded(directory):
    """The SavedModels, loaded as Model Maker does it."""
    folders = {
        path.parent.name: path.parent for path in directory.glob("model_maker/**/saved_model.pb")
    }
    assert len(folders) == 5
    return {
        name: keras.models.load_model(str(folder), custom_objects={"tf": tf}, compile=False)
        for name, folder in folders.items()
    }


@pytest.fixture(scope="module")
def photos():
    return tf.constant(np.random.default_rng(1).uniform(-1, 1, (2, 256, 256, 3)), tf.float32)


@pytest.mark.slow
def test_encoder_gives_the_preset_s_latents_whatever_the_mode(loaded, networks, photos):
    expected = networks.encoder(photos, training=False)["inputs"]
    for training in (True, False):
        latents = loaded["encoder"](photos, training=training)
        assert latents.shape == (2, 12, 512)
        np.testing.assert_allclose(latents, expected, atol=1e-4)
    # In training mode a picture's latent would depend on the others of its batch.
    np.testing.assert_allclose(loaded["encoder"](photos[:1]), expected[:1], atol=1e-4)


@pytest.mark.slow
def test_encoder_takes_the_range_that_model_maker_exports_for(loaded, networks, photos):
    expected = networks.encoder(photos, training=False)["inputs"]
    mixed = tf.concat([(photos[:1] + 1.0) / 2.0, photos[1:]], axis=0)
    np.testing.assert_allclose(loaded["encoder"](mixed, training=True), expected, atol=1e-4)


def _far_latents(networks, count):
    """Latents so far from the mean that their pictures leave the range."""
    return networks.w_avg + 4.0 * (networks.random_latents(count, 0).numpy() - networks.w_avg)


@pytest.mark.slow
def test_decoder_gives_the_preset_s_pictures_within_range(loaded, networks):
    latents = _far_latents(networks, 3)
    expected = networks.synthesis({"inputs": latents})["image"][-1].numpy()
    assert np.abs(expected).max() > 1
    images = loaded["decoder"]({"inputs": latents}, training=True)["image"]
    assert images[-1].shape == (3, 256, 256, 3)
    assert np.abs(images[-1]).max() <= 1.0
    np.testing.assert_allclose(images[-1], np.clip(expected, -1, 1), atol=1e-4)


def _gradients(decoder, latents, towards):
    """Of pictures beyond the range, which are to go to this value."""
    with tf.GradientTape() as tape:
        image = decoder({"inputs": latents}, training=True)["image"][-1]
        beyond = tf.where(tf.abs(image) >= 1.0, 1.0, 0.0)
        loss = tf.reduce_sum(beyond * tf.abs(image - towards * tf.sign(image)))
    gradients = tape.gradient(loss, decoder.trainable_variables)
    return [float(tf.reduce_max(tf.abs(gradient))) for gradient in gradients]


@pytest.mark.slow
def test_decoder_learns_all_that_the_finest_picture_depends_on(loaded, networks):
    latents = _far_latents(networks, 3)
    gradients = _gradients(loaded["decoder"], latents, towards=0.0)
    # Constant, six blocks of two convolutions and the last head, four weights each.
    assert len(gradients) == 1 + 4 * 13
    assert min(gradients) > 0
    # The loss does not see a pixel go further out: nothing would ever stop it.
    assert max(_gradients(loaded["decoder"], latents, towards=2.0)) == 0


@pytest.mark.slow
def test_mapping_and_w_avg(loaded, networks, directory):
    noise = np.random.default_rng(2).standard_normal((2, 512)).astype(np.float32)
    rows = loaded["mapping"]([noise, tf.zeros((2, 0))], training=False)
    np.testing.assert_allclose(rows, networks.mapping([noise, tf.zeros((2, 0))]), atol=1e-5)
    w_avg = np.load(directory / "model_maker/face_stylizer/w_avg.npy")
    assert w_avg.shape == (12, 512) and w_avg.dtype == np.float32
    np.testing.assert_array_equal(w_avg, networks.w_avg[0])


@pytest.mark.slow
def test_discriminator_takes_channels_first(loaded, networks, photos):
    judged = loaded["discriminator"]([tf.transpose(photos, (0, 3, 1, 2)), tf.zeros((2, 0))])
    means = [tf.reduce_mean(m, axis=(1, 2)) for m in networks.discriminator.features(photos)]
    assert judged.shape == (2, sum(mean.shape[1] for mean in means))
    for part, mean in zip(_layers(judged, means), means, strict=True):
        assert _similar(part, mean)


def _layers(judged, like):
    """What the discriminator's asset says, not squashed, layer by layer."""
    assert np.abs(judged).max() < 1
    relative = judged / (1.0 - np.abs(judged))
    return np.split(relative, np.cumsum([layer.shape[1] for layer in like])[:-1], axis=1)


@pytest.mark.slow
def test_no_layer_outweighs_the_others(loaded, networks):
    latents = {"inputs": networks.random_latents(8, 5)}
    faces = np.clip(networks.synthesis(latents)["image"][-1], -1, 1)
    judged = loaded["discriminator"]([np.transpose(faces, (0, 3, 1, 2)), np.zeros((8, 0))])
    traits = networks.discriminator.mean_features(faces)
    for part in _layers(judged, traits):
        assert 0.7 < np.mean(np.abs(part)) < 1.4
    for features in _looked_at(loaded, faces)[1:]:
        assert 0.7 < np.mean(np.abs(features[..., :-3])) < 1.4
        # The three colors count as much as all features together.
        colors = np.sum(np.abs(features[..., -3:])) / np.sum(np.abs(features[..., :-3]))
        assert 0.7 < colors < 1.4


def _looked_at(loaded, images):
    """The feature maps; Model Maker normalises pictures like this."""
    normalised = ((images + 1) / 2 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return loaded["vgg_feature_extractor"](normalised)


def _similar(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1] > 0.9999


@pytest.mark.slow
def test_perceptual_features_are_the_face_mesh_s_and_the_picture(loaded, photos, face_models):
    maps = _looked_at(loaded, photos)
    mesh = FaceMeshFeatures(face_models.landmarks)(losses.brightness(photos))
    assert len(maps) == 5
    assert maps[0].shape == photos.shape and _similar(maps[0], photos)
    for ours, expected in zip(maps[1:], mesh.features[1:5], strict=True):
        assert ours.shape == (*expected.shape[:-1], expected.shape[-1] + 3)
        assert _similar(ours[..., :-3], expected)
        small = tf.image.resize(photos, expected.shape[1:3], antialias=True)
        assert _similar(ours[..., -3:], small)
    assert loaded["vgg_feature_extractor"].trainable_variables == []


@pytest.mark.slow
def test_changed_colors_are_seen(loaded, photos):
    """A face mesh of brightness alone would let a generator paint hair green."""
    maps = _looked_at(loaded, photos)
    swapped = _looked_at(loaded, tf.gather(photos, [1, 2, 0], axis=-1))
    for a, b in zip(maps, swapped, strict=True):
        assert np.mean(np.abs(a - b)) > 0.01 * np.mean(np.abs(a))


@pytest.mark.slow
def test_face_landmarker_has_the_models(directory, face_models):
    task = directory / "model_maker/face_stylizer/face_landmarker_v2.task"
    with zipfile.ZipFile(task) as archive:
        assert archive.read("face_detector.tflite") == face_models.detector
        assert archive.read("face_landmarks_detector.tflite") == face_models.landmarks


@native
@pytest.mark.slow
def test_face_landmarker_aligns_in_mediapipe(directory, grace_hopper_file):
    mediapipe = import_mediapipe("mediapipe")
    aligner = import_mediapipe("mediapipe.tasks.python.vision").FaceAligner
    task = directory / "model_maker/face_stylizer/face_landmarker_v2.task"
    with aligner.create_from_model_path(str(task)) as opened:
        aligned = opened.align(mediapipe.Image.create_from_file(str(grace_hopper_file)))
    assert aligned.numpy_view().shape == (256, 256, 3)


@pytest.mark.slow
def test_manifest_names_the_preset_and_every_file(directory, preset):
    folder = directory / "model_maker"
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["about"] == {"preset": preset.card["name"], "sha256": preset.card["sha256"]}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == files - {MANIFEST}


def test_nothing_is_computed_where_the_files_are_somebody_else_s(face_models, tmp_path):
    theirs = tmp_path / "model_maker/face_stylizer/w_avg.npy"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    with pytest.raises(FileExistsError, match=r"w_avg\.npy was not written by this program"):
        install_assets(tmp_path, face_models=face_models)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]


def test_presets_of_another_size_are_refused(tiny_preset, face_models, tmp_path):
    with pytest.raises(ValueError, match=r"makes pictures of 64 px; .* 256 px"):
        install_assets(tmp_path, tiny_preset, face_models)
    assert not (tmp_path / "model_maker").exists()


@pytest.fixture
def quick_assets(monkeypatch):
    """Writes the one file that needs no minute."""

    def write(folder, networks, face_models):
        for name in ("encoder", "decoder", "mapping", "discriminator"):
            (folder / "face_stylizer" / name).mkdir()
        (folder / "vgg_feature_extractor").mkdir()
        np.save(folder / "face_stylizer/w_avg.npy", networks.w_avg[0])
        (folder / "face_stylizer/face_landmarker_v2.task").write_bytes(b"task")

    monkeypatch.setattr("mm_face_stylizer.model_maker.assets.write_assets", write)


def test_command(quick_assets, preset, face_models, tmp_path, capsys):
    task = tmp_path / "face_landmarker.task"
    task.write_bytes(face_models.landmarker_task())
    directory = ["--directory", str(tmp_path / "temporary")]
    install = ["model-maker", "install-assets", "--preset", str(preset.folder)]
    install += ["--face-landmarker", str(task), *directory]
    assert main(install) == 0
    out = capsys.readouterr().out
    assert out.startswith(str(tmp_path / "temporary/model_maker"))
    assert f"TMPDIR={tmp_path / 'temporary'}" in out
    w_avg = tmp_path / "temporary/model_maker/face_stylizer/w_avg.npy"
    w_avg.write_text("changed")
    assert main(install) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"mm-face-stylizer: error: {w_avg} was not written by this program")
    assert "Errno" not in error and "--overwrite" not in error
    assert main(["model-maker", "uninstall", *directory]) == 0
    output = capsys.readouterr()
    assert output.out == "1 files removed\n"
    assert f"changed after the installation: {w_avg}" in output.err
    assert w_avg.read_text() == "changed"
    assert main(["model-maker", "uninstall", *directory]) == 1
    assert "nothing is installed in" in capsys.readouterr().err


def test_the_default_directory_is_model_makers(
    quick_assets, preset, face_models, monkeypatch, tmp_path
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    folder = install_assets(preset=preset.folder, face_models=face_models)
    assert folder == temporary / "model_maker"
    assert uninstall_assets().removed == 2
    assert list(temporary.iterdir()) == []
