import hashlib

import numpy as np
import pytest

from benchmarks.litert import control_model, convolutions, coverage, make_control, make_interpreter
from benchmarks.profiling import profile
from benchmarks.subject import LoadedSubject, weight_type
from task_bundle.errors import BundleError
from task_bundle.tflite.model import describe

SMALL = convolutions(side=16, channels=3, layers=2)


def test_the_drift_control_is_the_same_everywhere():
    digest = hashlib.sha256(control_model()).hexdigest()
    # A changed control makes results incomparable with older ones, and needs a new format version.
    assert digest.startswith("c1adff8caed3")
    assert describe(control_model()).macs == 3 * 48 * 48 * 9 * 64 * 64
    control = make_control()
    control.invoke()
    output = control.get_tensor(control.get_output_details()[0]["index"])
    assert np.isfinite(output).all()
    assert output.std() > 0


def test_xnnpack_on_and_off_give_the_same():
    values = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    results = []
    for xnnpack in (True, False):
        interpreter = make_interpreter(SMALL, xnnpack=xnnpack)
        names = {o["op_name"] for o in interpreter._get_ops_details()}
        assert ("DELEGATE" in names) == xnnpack
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    np.testing.assert_allclose(*results, atol=1e-5)


def test_coverage_counts_what_the_delegate_takes(face_models):
    whole = coverage(SMALL)
    assert (whole.delegated, whole.operators, whole.partitions) == (2, 2, 1)
    mesh = coverage(face_models.landmarks)
    assert mesh.delegated <= mesh.operators == sum(describe(face_models.landmarks).ops.values())


def test_every_operator_is_timed_but_those_that_unpack_constants(face_models):
    times = profile(SMALL)
    assert [(one.operator, one.name) for one in sorted(times, key=lambda o: o.name)] == [
        ("CONV_2D", "layer_0"),
        ("CONV_2D", "layer_1"),
    ]
    ops = describe(face_models.landmarks).ops
    times = profile(face_models.landmarks)
    assert len(times) == sum(count for kind, count in ops.items() if kind != "DEQUANTIZE")
    assert all(one.mean_ms > 0 for one in times)
    assert [one.mean_ms for one in times] == sorted((o.mean_ms for o in times), reverse=True)


def test_a_model_is_a_subject_too(tmp_path):
    path = tmp_path / "small.tflite"
    path.write_bytes(SMALL)
    loaded = LoadedSubject.load(path)
    assert loaded.bundle is None
    (model,) = loaded.description.models
    assert (model.stage, model.weights, model.input_shape) == (
        "stylizer",
        "float32",
        (1, 16, 16, 3),
    )
    assert weight_type(SMALL) == "float32"
    path.write_bytes(b"PK rubbish")
    with pytest.raises(BundleError, match=r"small\.tflite"):
        LoadedSubject.load(path)
