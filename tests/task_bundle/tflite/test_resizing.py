import numpy as np
import pytest
from conv_model import make_stylizer

from task_bundle import BundleError
from task_bundle.tflite import schema
from task_bundle.tflite.litert_model import LitertModel
from task_bundle.tflite.model import describe
from task_bundle.tflite.resizing import resize_model
from task_bundle.tflite.validation import check_model


def test_a_resized_model_takes_other_pictures():
    model = make_stylizer(16, gain=0.5)
    resized = resize_model(model, 24)
    check_model(resized)
    photo = np.random.default_rng(0).random((1, 24, 24, 3), np.float32)
    (found,) = LitertModel(resized, "resized").run(photo)
    np.testing.assert_allclose(found, 0.5 * photo, atol=1e-6)
    assert resize_model(resized, 16) == resize_model(model, 16)
    assert describe(resized).parameters == describe(model).parameters


def test_models_that_cannot_be_resized():
    with pytest.raises(BundleError, match="64 x 32 pixels is not square"):
        resize_model(make_stylizer(shape=[1, 32, 64, 3]), 16)
    unpacked = schema.unpack_model(make_stylizer(16))
    output = unpacked.subgraphs[0].tensors[3]
    output.shape = np.array([1, 8, 8, 3], np.int32)
    halved = schema.pack_model(unpacked)
    with pytest.raises(BundleError, match="side is 15 px; this model needs a multiple of 2"):
        resize_model(halved, 15)
    unpacked.subgraphs[0].tensors.append(schema.model_schema().TensorT())
    unpacked.subgraphs[0].tensors[4].shape = np.array([3], np.int32)
    with pytest.raises(BundleError, match="not fully convolutional"):
        resize_model(schema.pack_model(unpacked), 16)
