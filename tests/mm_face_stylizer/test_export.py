import functools

import numpy as np
import pytest
from litert import assert_same_as_litert, run_litert
from tiny import tiny_networks

from mm_face_stylizer._keras import tf
from mm_face_stylizer.export import convert, export_stylizer
from mm_face_stylizer.export_options import check_precision
from task_bundle.tflite.model import check_stylizer, describe

_FORBIDDEN = ("VAR_HANDLE", "CALL_ONCE", "READ_VARIABLE", "RANDOM", "WHILE", "IF", "CUSTOM")


@pytest.fixture(scope="module")
def networks():
    networks = tiny_networks()
    # Untrained networks give all but constant pictures.
    networks.w_avg[:] = np.random.default_rng(0).standard_normal(networks.w_avg.shape)
    (kernel,) = [v for v in networks.synthesis.weights if "block32_to_rgb/kernel" in v.name]
    kernel.assign(30 * kernel)
    return networks


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).uniform(0, 1, (1, 64, 64, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(networks, photo):
    """Exports by precision, each made once; int8 is calibrated with the photo."""

    @functools.cache
    def export(precision):
        calibration = np.repeat(photo, 4, axis=0) if precision == "int8" else None
        return export_stylizer(networks, precision, calibration)

    return export


@pytest.mark.parametrize(("precision", "atol"), [("float32", 1e-4), ("float16", 5e-3)])
def test_the_export_equals_keras(networks, exported, photo, precision, atol):
    assert_same_as_litert(networks.inference(), [photo], atol, exported(precision))
    check_stylizer(exported(precision))


def test_the_graph_is_clean(exported):
    info = describe(exported("float32"))
    assert not [name for name in info.ops if any(word in name for word in _FORBIDDEN)]
    (given,), (result,) = info.inputs, info.outputs
    assert given.shape == result.shape == (1, 64, 64, 3)
    assert given.dtype == result.dtype == "float32"


@pytest.mark.skipif(
    tf.__version__.startswith("2.15."),
    reason="TensorFlow 2.15's analyzer refuses slices that drop an axis, which 2.19's takes",
)
def test_the_graph_runs_on_gpus(exported, capfd):
    tf.lite.experimental.Analyzer.analyze(model_content=exported("float32"), gpu_compatibility=True)
    assert "compatible with GPU delegate" in capfd.readouterr().out


def test_outputs_stay_between_0_and_1(networks, photo):
    bias = [v for v in networks.synthesis.weights if "block32_to_rgb/bias" in v.name][0]
    before = bias.numpy()
    try:
        bias.assign(before + np.resize([50, -50, 0], before.shape))
        (image,) = run_litert(export_stylizer(networks, "float32"), photo)
    finally:
        bias.assign(before)
    assert image.min() == 0 and image.max() == 1


def test_two_exports_are_alike(networks, exported):
    assert export_stylizer(networks) == exported("float16")


def test_float16_halves_the_file_and_int8_halves_it_again(exported):
    sizes = {p: len(exported(p)) for p in ("float32", "float16", "int8")}
    assert sizes["float16"] < 0.65 * sizes["float32"]
    assert sizes["int8"] < 0.75 * sizes["float16"]


def test_int8_keeps_float_input_and_output_and_the_picture(networks, exported, photo):
    check_stylizer(exported("int8"))
    (found,) = run_litert(exported("int8"), photo)
    wanted = networks.inference()(photo).numpy()
    assert 0 < np.abs(found - wanted).mean() < 0.05


@pytest.mark.parametrize(("precision", "strength"), [("uint8", 1.0), ("float16", 1.5)])
def test_bad_options_are_named(precision, strength):
    with pytest.raises(ValueError, match="precision is 'uint8'|strength is 1.5"):
        check_precision(precision, strength)


def test_int8_wants_calibration(networks):
    with pytest.raises(ValueError, match="calibration"):
        convert(networks.inference(), [(1, 64, 64, 3)], "int8")
