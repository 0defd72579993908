"""Tests of task_bundle.tflite.model."""

import numpy as np
import pytest

from task_bundle.errors import BundleError
from task_bundle.tflite import schema
from task_bundle.tflite.model import (
    TensorInfo,
    check_stylizer,
    check_stylizer_images,
    describe,
)


def test_good_stylizers_pass(make_stylizer) -> None:
    check_stylizer(make_stylizer(64))
    check_stylizer(make_stylizer(256))


def test_the_output_may_be_larger_but_not_distorted(make_stylizer) -> None:
    model = schema.unpack_model(make_stylizer(shape=[1, 64, 48, 3]))
    model.subgraphs[0].tensors[3].shape = np.array([1, 256, 192, 3], np.int32)
    check_stylizer(schema.pack_model(model))
    model.subgraphs[0].tensors[3].shape = np.array([1, 256, 256, 3], np.int32)
    with pytest.raises(BundleError, match="256 x 256 pixels out of 48 x 64; their proportions"):
        check_stylizer(schema.pack_model(model))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"subgraphs": 2}, "2 subgraphs"),
        ({"custom_op": "FusedBatchNormV3"}, "custom operators .FusedBatchNormV3"),
        ({"inputs": 2}, "2 inputs"),
        ({"inputs": 0}, "0 inputs"),
        ({"dtype": "UINT8"}, "input is uint8"),
        ({"dtype": "FLOAT16"}, "input is float16"),
        ({"shape": [64, 64, 3]}, r"shape \[64, 64, 3\]"),
        ({"shape": [2, 64, 64, 3]}, "batch size 2"),
        ({"shape": [1, 64, 64, 4]}, "4 channels"),
        ({"shape_signature": [-1, 64, 64, 3]}, "dynamic shape"),
    ],
)
def test_unusable_stylizers_are_refused_with_a_reason(
    make_stylizer, options: dict, reason: str
) -> None:
    with pytest.raises(BundleError, match=reason):
        check_stylizer(make_stylizer(**options))


def test_a_batch_of_any_size_can_be_run_but_is_not_packed(make_stylizer) -> None:
    model = make_stylizer(shape_signature=[-1, 64, 64, 3])
    check_stylizer_images(model)
    with pytest.raises(BundleError, match="dynamic shape"):
        check_stylizer(model)
    with pytest.raises(BundleError, match="dynamic shape"):
        check_stylizer_images(make_stylizer(shape_signature=[-1, 64, -1, 3]))
    with pytest.raises(BundleError, match="batch size 2"):
        check_stylizer_images(make_stylizer(shape=[2, 64, 64, 3], shape_signature=[-1, 64, 64, 3]))


@pytest.mark.parametrize("junk", [b"", b"hello world", b"\x10\0\0\0TFL3" + bytes(40)])
def test_bytes_that_are_no_model_are_refused(junk: bytes) -> None:
    with pytest.raises(BundleError, match="TFLite model"):
        check_stylizer(junk)


def test_every_truncation_is_a_bundle_error(make_stylizer) -> None:
    model = make_stylizer(64)
    refused = 0
    for length in range(0, len(model), 7):
        try:
            check_stylizer(model[:length])
            describe(model[:length])
        except BundleError:
            refused += 1
    assert refused > 50


def test_describe_gives_tensors_and_operators(make_stylizer) -> None:
    info = describe(make_stylizer(64))
    assert info.inputs == (TensorInfo("photo", (1, 64, 64, 3), "float32"),)
    assert info.outputs == (TensorInfo("stylized", (1, 64, 64, 3), "float32"),)
    assert info.ops == {"CONV_2D": 1}
    assert info.parameters == 3 * 3 + 3
    assert info.macs == 64 * 64 * 3 * 3


def test_describe_face_models(wheel_models) -> None:
    detector = describe(wheel_models.detector)
    assert [t.shape for t in detector.outputs] == [(1, 896, 16), (1, 896, 1)]
    landmarks = describe(wheel_models.landmarks)
    assert (landmarks.ops["SLICE"], landmarks.ops["CONCATENATION"]) == (10, 1)
    # The published sizes are about 0.1 M and 0.6 M parameters. Float16 weights pass a DEQUANTIZE.
    assert 80_000 < detector.parameters < 150_000
    assert 500_000 < landmarks.parameters < 700_000
    assert landmarks.parameters * 2 < len(wheel_models.landmarks) < landmarks.parameters * 2.5
    assert 20e6 < landmarks.macs < 60e6


def test_custom_operators_are_counted_by_name(make_stylizer) -> None:
    assert describe(make_stylizer(custom_op="Magic")).ops == {"CUSTOM:Magic": 1}
