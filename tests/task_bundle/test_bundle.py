"""Tests of task_bundle.bundle, some of them with MediaPipe's own FaceStylizer."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from task_bundle.archive import (
    FACE_DETECTOR,
    FACE_LANDMARKS_DETECTOR,
    FACE_STYLIZER,
    write_archive,
)
from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError
from task_bundle.faces.alignment import FaceFinder
from task_bundle.faces.face_models import FaceModels
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.tflite import probe, schema
from task_bundle.tflite.metadata import read_metadata, stylizer_metadata


@pytest.fixture
def bundle(make_stylizer, any_face_models: FaceModels) -> TaskBundle:
    """A bundle whose stylizer returns its input, a crop of 256 pixels."""
    return TaskBundle.build(make_stylizer(256), any_face_models)


def test_build_adds_metadata(bundle: TaskBundle, any_face_models: FaceModels) -> None:
    assert bundle.detector == any_face_models.detector
    assert bundle.landmarks == any_face_models.landmarks
    assert (read_metadata(bundle.stylizer) or {})["name"] == "FaceStylizer"


def test_build_refuses_unusable_models(make_stylizer, any_face_models: FaceModels) -> None:
    with pytest.raises(BundleError, match="uint8"):
        TaskBundle.build(make_stylizer(dtype="UINT8"), any_face_models)


def test_the_same_models_give_the_same_bytes(
    bundle: TaskBundle, make_stylizer, any_face_models: FaceModels
) -> None:
    assert TaskBundle.build(make_stylizer(256), any_face_models).to_bytes() == bundle.to_bytes()
    assert TaskBundle.build(make_stylizer(128), any_face_models).to_bytes() != bundle.to_bytes()


def test_a_saved_bundle_opens_again(bundle: TaskBundle, tmp_path: Path) -> None:
    path = tmp_path / "a.task"
    bundle.save(path)
    assert TaskBundle.open(path) == TaskBundle.open(path.read_bytes()) == bundle
    with pytest.raises(FileExistsError, match=r"a\.task"):
        bundle.save(path)
    bundle.save(path, overwrite=True)
    assert os.listdir(tmp_path) == ["a.task"]


def test_open_names_what_is_wrong(bundle: TaskBundle, tmp_path: Path) -> None:
    entries = bundle.entries()
    missing = {k: v for k, v in entries.items() if k == FACE_DETECTOR}
    with pytest.raises(BundleError, match=f"lacks {FACE_LANDMARKS_DETECTOR}, {FACE_STYLIZER}"):
        TaskBundle.open(write_archive(missing))
    with pytest.raises(BundleError, match=r"do not belong there: more\.txt"):
        TaskBundle.open(write_archive({**entries, "more.txt": b""}))
    with pytest.raises(BundleError, match=f"{FACE_STYLIZER} in .* is not a TFLite model"):
        TaskBundle.open(write_archive({**entries, FACE_STYLIZER: b"junk"}))
    with pytest.raises(FileNotFoundError, match=r"none\.task"):
        TaskBundle.open(tmp_path / "none.task")


def test_compressed_entries_are_refused(bundle: TaskBundle) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in bundle.entries().items():
            made.writestr(name, data)
    with pytest.raises(BundleError, match="face_detector.tflite is compressed"):
        TaskBundle.open(buffer.getvalue())


def test_damaged_models_are_refused(bundle: TaskBundle) -> None:
    entries = bundle.entries()
    cut = {**entries, FACE_STYLIZER: entries[FACE_STYLIZER][:-200]}
    with pytest.raises(BundleError, match=f"{FACE_STYLIZER} in the bundle is a damaged"):
        TaskBundle.open(write_archive(cut))


def test_build_refuses_weights_that_are_no_numbers(make_stylizer, any_face_models) -> None:
    with pytest.raises(BundleError, match="the stylizer is damaged: .* not finite"):
        TaskBundle.build(make_stylizer(gain=float("nan")), any_face_models)


def test_replace_changes_one_model(bundle: TaskBundle, make_stylizer) -> None:
    other = stylizer_metadata(make_stylizer(128))
    changed = bundle.replace(FACE_STYLIZER, other)
    assert changed.entries() == {**bundle.entries(), FACE_STYLIZER: other}
    with pytest.raises(BundleError, match="do not belong there: more"):
        bundle.replace("more", other)
    with pytest.raises(BundleError, match="not a TFLite model"):
        bundle.replace(FACE_STYLIZER, b"junk")


def test_inspect_and_extract(bundle: TaskBundle, tmp_path: Path) -> None:
    data = bundle.to_bytes()
    for report, model in zip(bundle.inspect(), bundle.entries().values(), strict=True):
        assert data[report.offset : report.offset + report.size] == model
    files = bundle.extract(tmp_path / "models")
    assert {file.name: file.read_bytes() for file in files} == bundle.entries()


def test_a_sound_bundle_passes_and_custom_operators_are_remarked(
    make_stylizer, face_models: FaceModels
) -> None:
    bundle = TaskBundle.build(make_stylizer(64), face_models)
    assert bundle.validate() == ()
    custom = stylizer_metadata(make_stylizer(64, custom_op="FusedBatchNormV3"))
    (remark,) = bundle.replace(FACE_STYLIZER, custom).validate()
    assert "only MediaPipe's own FaceStylizer" in remark and "FusedBatchNormV3" in remark


def test_validate_names_what_the_runtimes_miss(make_stylizer, face_models: FaceModels) -> None:
    bundle = TaskBundle.build(make_stylizer(64), face_models)
    with pytest.raises(BundleError, match="no normalization in its metadata"):
        bundle.replace(FACE_STYLIZER, make_stylizer(64)).validate()
    with pytest.raises(BundleError, match="is not a face landmark model"):
        bundle.replace(FACE_LANDMARKS_DETECTOR, make_stylizer(64)).validate()
    with pytest.raises(BundleError, match="4 channels"):
        bundle.replace(
            FACE_STYLIZER, stylizer_metadata(make_stylizer(shape=[1, 64, 64, 4]))
        ).validate()
    folder = schema.mediapipe_folder()
    assert folder is not None
    mesh = folder / "modules" / "face_landmark" / "face_landmark.tflite"
    if mesh.is_file():
        with pytest.raises(BundleError, match="finds 468 points"):
            bundle.replace(FACE_LANDMARKS_DETECTOR, mesh.read_bytes()).validate()


def test_validate_does_not_load_here(
    make_stylizer, face_models: FaceModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A model that no other test of this process has checked before.
    bundle = TaskBundle.build(make_stylizer(64, gain=0.3125), face_models)
    monkeypatch.setattr(probe, "_CHILD", "import sys; sys.stdout.write('\\x1emodels-follow\\n')")
    with pytest.raises(BundleError, match="unusable"):
        bundle.validate()


def _stylize(options: dict, image: np.ndarray) -> np.ndarray | None:
    """Runs MediaPipe's own FaceStylizer."""
    mediapipe = import_mediapipe()
    vision = mediapipe.tasks.vision
    if not hasattr(vision, "FaceStylizer"):
        pytest.skip("this mediapipe has no FaceStylizer")
    base_options = mediapipe.tasks.BaseOptions(**options)
    with vision.FaceStylizer.create_from_options(
        vision.FaceStylizerOptions(base_options=base_options)
    ) as stylizer:
        result = stylizer.stylize(
            mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        )
        return None if result is None else np.copy(result.numpy_view())


def test_runs_natively_and_the_crop_is_ours(
    bundle: TaskBundle, face_models: FaceModels, grace_hopper: np.ndarray, tmp_path: Path
) -> None:
    bundle.save(tmp_path / "a.task")
    by_path = _stylize({"model_asset_path": str(tmp_path / "a.task")}, grace_hopper)
    by_buffer = _stylize({"model_asset_buffer": bundle.to_bytes()}, grace_hopper)
    assert by_path is not None
    np.testing.assert_array_equal(by_path, by_buffer)
    assert by_path.shape == (256, 256, 3)
    assert by_path.std() > 30

    with FaceFinder(face_models) as finder:
        (face,) = finder.find(grace_hopper)
    ours = face.crop.crop(grace_hopper, 256)
    # Measured: 0.0001. A shift by one pixel makes a difference of about 4.
    assert np.abs(by_path.astype(float) - ours).mean() < 0.05
    assert np.abs(by_path.astype(float) - np.roll(ours, 1, axis=1)).mean() > 1.5


@pytest.mark.parametrize("size", [64, 512])
def test_other_sizes_run_natively(
    make_stylizer, face_models: FaceModels, grace_hopper: np.ndarray, size: int
) -> None:
    made = TaskBundle.build(make_stylizer(size), face_models)
    native = _stylize({"model_asset_buffer": made.to_bytes()}, grace_hopper)
    assert native is not None
    with FaceFinder(face_models) as finder:
        crop = finder.find(grace_hopper)[0].crop
    assert np.abs(native.astype(float) - crop.crop(grace_hopper, size)).mean() < 0.05


def test_the_stylizer_changes_the_picture(
    make_stylizer, face_models: FaceModels, grace_hopper: np.ndarray
) -> None:
    half = TaskBundle.build(make_stylizer(256, gain=0.5), face_models)
    native = _stylize({"model_asset_buffer": half.to_bytes()}, grace_hopper)
    assert native is not None
    with FaceFinder(face_models) as finder:
        crop = finder.find(grace_hopper)[0].crop
    assert np.abs(native - 0.5 * crop.crop(grace_hopper, 256)).mean() < 0.6


def test_no_face_gives_none(bundle: TaskBundle) -> None:
    flat = np.full((300, 300, 3), 128, np.uint8)
    assert _stylize({"model_asset_buffer": bundle.to_bytes()}, flat) is None
