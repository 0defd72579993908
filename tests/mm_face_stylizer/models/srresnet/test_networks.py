import dataclasses

import numpy as np
import pytest
from litert import assert_same_as_litert, run_litert

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models.srresnet.config import UpscalerConfig, upscaler_config
from mm_face_stylizer.models.srresnet.networks import UpscalerNetworks
from mm_face_stylizer.practice_faces import calibration_pictures
from mm_face_stylizer.preset import Preset, save_preset
from task_bundle.tflite.model import describe
from task_bundle.tflite.resizing import resize_model

_TINY = UpscalerConfig(image_size=24, channels=8, blocks=2, end_kernel=3)


def _networks(config=_TINY):
    """Networks whose statistics and biases are not those of the start, which are all equal."""
    keras.utils.set_random_seed(0)
    networks = UpscalerNetworks.build(config)
    random = np.random.default_rng(0)
    for variable in networks.network.weights:
        if len(variable.shape) < 4:
            variable.assign(variable.numpy() + random.uniform(0.0, 0.1, variable.shape))
    return networks


def _picture(side):
    return np.random.default_rng(0).random((1, side, side, 3), np.float32)


@pytest.mark.parametrize(
    ("name", "scale", "parameters", "macs"),
    [
        # Published are 1.40 M; the export has folded 33 pairs of gain and offset.
        ("srresnet", 2, 1_402_883 - 33 * 128, 23.62e9),
        ("edsr", 2, 1_369_859, 22.49e9),
        ("mobile", 2, 89_859, 1.497e9),
        # The last two are the constant weights that repeat pixels, and their zero bias.
        ("fast", 2, 61_008 + 576 + 48, 0.25127e9),
    ],
)
def test_an_exported_network_has_its_size(name, scale, parameters, macs):
    exported = describe(export_stylizer(_networks(upscaler_config(name, scale)), "float32"))
    assert [tensor.shape for tensor in (*exported.inputs, *exported.outputs)] == [
        (1, 128, 128, 3),
        (1, scale * 128, scale * 128, 3),
    ]
    # The factor at the end is a parameter, too.
    assert exported.parameters == pytest.approx(parameters, abs=16)
    assert exported.macs == pytest.approx(macs, rel=1e-3)
    assert "CUSTOM" not in "".join(exported.ops)


def test_four_times_the_side_has_its_published_size():
    # In a graph no weight exists.
    with tf.Graph().as_default():
        network = UpscalerNetworks.build(upscaler_config("srresnet", 4)).network
        counts = [int(np.prod(weight.shape)) for weight in network.trainable_weights]
    assert sum(counts) == 1_550_659


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scale": 4},
        {"activation": "relu", "normalization": False, "residual_scaling": 0.1},
        {"activation": "relu", "normalization": False, "interpolated_skip": True},
        {"stride": 2, "direct": True},
        {"stride": 2, "direct": True, "interpolated_skip": True},
    ],
)
def test_the_export_computes_the_same(changes):
    networks = _networks(dataclasses.replace(_TINY, **changes))
    assert_same_as_litert(networks.inference(), [_picture(24)])


@pytest.mark.parametrize("changes", [{"interpolated_skip": True}, {"stride": 2, "direct": True}])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_an_export_of_another_side_computes_the_same(changes, precision):
    networks = _networks(dataclasses.replace(_TINY, **changes))
    exported = resize_model(export_stylizer(networks, precision), 32)
    # Like those that int8 is calibrated with.
    photo = calibration_pictures(32)[:1]
    (found,) = run_litert(exported, photo)
    wanted = networks.inference(32)(photo)
    atol = {"float32": 1e-5, "float16": 2e-3, "int8": 0.05}[precision]
    np.testing.assert_allclose(found, wanted, atol=atol)


def test_values_are_clipped_at_both_ends():
    networks = _networks(_TINY)
    networks.network.get_layer("last").bias.assign([-2.0, 0.0, 2.0])
    large = networks.inference()(_picture(24)).numpy()
    assert large[..., 0].max() == 0.0 and large[..., 2].min() == pytest.approx(1.0)
    unclipped = (networks.network(2.0 * _picture(24) - 1.0).numpy() + 1.0) / 2.0
    np.testing.assert_allclose(large, np.clip(unclipped, 0.0, 1.0), atol=1e-5)


def test_an_untrained_network_repeats_pixels():
    networks = _networks(dataclasses.replace(_TINY, stride=2, direct=True, interpolated_skip=True))
    networks.network.get_layer("last").bias.assign(np.zeros(48))
    picture = _picture(24)
    repeated = picture.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(networks.inference()(picture), repeated, atol=0.02)


def test_two_exports_have_the_same_bytes():
    assert export_stylizer(_networks()) == export_stylizer(_networks())


def test_int8_is_near():
    config = dataclasses.replace(_TINY, normalization=False, interpolated_skip=True)
    networks = _networks(config)
    exported = export_stylizer(networks, "int8")
    photo = networks.calibration_pictures()[:1]
    (found,) = run_litert(exported, photo)
    np.testing.assert_allclose(found, networks.inference()(photo), atol=0.05)


def test_a_preset_keeps_the_weights(tmp_path):
    networks = _networks()
    save_preset(tmp_path, networks, {"name": "tiny", "family": "srresnet"})
    loaded = Preset.find(tmp_path).networks()
    assert loaded.config == _TINY
    for name, value in networks.weights().items():
        np.testing.assert_allclose(loaded.weights()[name], value, atol=1e-3, err_msg=name)
    with pytest.raises(ValueError, match="do not fit"):
        UpscalerNetworks.from_weights(dataclasses.replace(_TINY, scale=4), networks.weights())


def test_four_times_the_side_starts_from_twice():
    small, large = _networks(), _networks(dataclasses.replace(_TINY, scale=4))
    assert large.take_over(small.weights()) == len(small.weights())
    np.testing.assert_array_equal(
        large.weights()["upscaler/doubling0/kernel"], small.weights()["upscaler/doubling0/kernel"]
    )


@pytest.mark.parametrize("changes", [{}, {"scale": 4}, {"stride": 2, "direct": True}])
def test_pixels_beyond_the_margin_have_no_effect(changes):
    networks = _networks(dataclasses.replace(_TINY, interpolated_skip=True, **changes))
    one = np.tile(_picture(24), (1, 2, 2, 1))
    other = one.copy()
    start = 20 + networks.config.margin
    other[:, :, start:] = 0.0
    same = slice(0, networks.config.scale * 20)
    one, other = (networks.network(picture).numpy() for picture in (one, other))
    np.testing.assert_allclose(one[:, :, same], other[:, :, same], atol=1e-6)
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize(
    "changes",
    [{"scale": 3}, {"activation": "elu"}, {"blocks": 0}, {"residual_scaling": 0.0}, {"stride": 2}],
    ids=lambda changes: next(iter(changes)),
)
def test_wrong_configurations(changes):
    with pytest.raises(InvalidArgumentError, match=next(iter(changes))):
        dataclasses.replace(_TINY, **changes)


def test_a_side_that_the_stride_does_not_divide():
    networks = _networks(dataclasses.replace(_TINY, stride=2, direct=True))
    with pytest.raises(InvalidArgumentError, match="15 px; this upscaler needs a multiple of 2"):
        networks.inference(15)


def test_an_unknown_name():
    with pytest.raises(InvalidArgumentError, match="srresnet, edsr, mobile, fast"):
        upscaler_config("esrgan")
