import numpy as np
import pytest
from native import HAS_NATIVE, native

from task_bundle.alignment import FaceFinder
from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError, ImageError
from task_bundle.stylizer import FaceStylizer


@native
def test_it_runs_a_bundle_from_a_file(tmp_path, make_stylizer, face_models, grace_hopper):
    TaskBundle.build(make_stylizer(256), face_models).save(tmp_path / "x.task")
    with FaceStylizer.create_from_model_path(tmp_path / "x.task") as stylizer:
        picture = stylizer.stylize(grace_hopper)
        assert stylizer.stylize(np.full((200, 200, 3), 80, np.uint8)) is None
        with pytest.raises(ImageError, match="uint8"):
            stylizer.stylize(grace_hopper.astype(float))
    with FaceFinder(face_models) as finder:
        crop = finder.find(grace_hopper)[0].crop.crop(grace_hopper, picture.shape[0])
    assert np.abs(picture.astype(int) - crop).mean() < 1.5


@native
def test_the_picture_outlives_the_stylizer(make_stylizer, face_models, grace_hopper):
    with FaceStylizer.create_from_bundle(
        TaskBundle.build(make_stylizer(256), face_models)
    ) as stylizer:
        picture = stylizer.stylize(grace_hopper)
        before = picture.copy()
        stylizer.stylize(grace_hopper[:, ::-1])
    np.testing.assert_array_equal(picture, before)


def test_a_file_that_is_no_bundle(tmp_path):
    (tmp_path / "x.task").write_bytes(b"nonsense")
    with pytest.raises(BundleError, match="x.task"):
        FaceStylizer.create_from_model_path(tmp_path / "x.task")


@pytest.mark.skipif(HAS_NATIVE, reason="this mediapipe has FaceStylizer")
def test_without_the_native_task_the_error_says_what_to_install(make_stylizer, face_models):
    with pytest.raises(ImportError, match="0.10.21"):
        FaceStylizer.create_from_bundle(TaskBundle.build(make_stylizer(256), face_models))
