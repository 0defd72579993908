import numpy as np
import pytest
from conv_model import make_stylizer

from task_bundle import BundleError, TaskBundle
from task_bundle.tflite.joining import join_models
from task_bundle.tflite.litert_model import LitertModel
from task_bundle.tflite.metadata import read_metadata, stylizer_metadata
from task_bundle.tflite.model import describe
from task_bundle.tflite.validation import check_model


def test_the_second_model_runs_on_what_the_first_computes(face_models):
    joined = join_models(make_stylizer(16, gain=0.5), make_stylizer(16, gain=0.25))
    check_model(joined)
    assert describe(joined).ops == {"CONV_2D": 2}
    photo = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    (found,) = LitertModel(joined, "joined").run(photo)
    np.testing.assert_allclose(found, 0.125 * photo, atol=1e-6)
    assert TaskBundle.build(joined, face_models).validate() == ()


def test_three_models_can_be_joined_and_metadata_go():
    models = [stylizer_metadata(make_stylizer(16, gain=gain)) for gain in (0.5, 0.25, 2.0)]
    joined = join_models(join_models(*models[:2], "b/"), models[2], "c/")
    assert read_metadata(joined) is None
    photo = np.ones((1, 16, 16, 3), np.float32)
    np.testing.assert_allclose(LitertModel(joined, "joined").run(photo)[0], 0.25, atol=1e-6)
    assert joined == join_models(join_models(*models[:2], "b/"), models[2], "c/")


def test_models_that_do_not_fit():
    with pytest.raises(BundleError, match=r"\[1, 16, 16, 3\], the other takes \[1, 32, 32, 3\]"):
        join_models(make_stylizer(16), make_stylizer(32))
    with pytest.raises(BundleError, match="custom operators"):
        join_models(make_stylizer(16), make_stylizer(16, custom_op="Riddle"))
