import dataclasses
import json

import numpy as np
import pytest
from litert import assert_same_as_litert, run_litert

from mm_face_stylizer._keras import keras
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models.translator.config import TranslatorConfig, translator_config
from mm_face_stylizer.models.translator.discriminator import PatchDiscriminator
from mm_face_stylizer.models.translator.networks import TranslatorNetworks
from mm_face_stylizer.preset import Preset, save_preset
from task_bundle.tflite.model import describe

_TINY = TranslatorConfig(
    image_size=32, stem=8, down=(12, 16), blocks=(8, 20), up=(12, 8), attention=1
)


def _networks(config=_TINY):
    """Networks whose vectors are not those of the start, which are all equal."""
    keras.utils.set_random_seed(0)
    networks = TranslatorNetworks.build(config)
    random = np.random.default_rng(0)
    for variable in networks.network.weights:
        spread = 0.2 if len(variable.shape) < 4 else 1.0 / np.sqrt(np.prod(variable.shape[:3]))
        variable.assign(variable.numpy() + spread * random.standard_normal(variable.shape))
    return networks


def _photo(side=32):
    return np.random.default_rng(0).random((1, side, side, 3), np.float32)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("cyclegan9", 11.38e6, 56.80e9),
        ("cyclegan6", 7.84e6, None),
        ("mobile", 1.116e6, 6.087e9),
        ("fast", 1.124e6, None),
    ],
)
def test_an_exported_network_has_its_size(name, parameters, macs):
    networks = _networks(translator_config(name, 256 if macs else 32))
    exported = describe(export_stylizer(networks, "float32"))
    side = networks.config.image_size
    assert exported.inputs[0].shape == exported.outputs[0].shape == (1, side, side, 3)
    assert exported.parameters == pytest.approx(parameters, rel=1e-3)
    assert macs is None or exported.macs == pytest.approx(macs, rel=1e-3)
    assert "CUSTOM" not in "".join(exported.ops)


def test_the_discriminator_has_its_size():
    reference = PatchDiscriminator(attention=False)
    assert reference.count_params() == pytest.approx(2.767e6, rel=1e-3)
    assert PatchDiscriminator(8)(np.zeros((2, 64, 64, 3), np.float32)).shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("attention", "stride", "fields"),
    [(None, 1, 0), (0, 1, 0), (1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 2, 4)],
)
def test_the_export_computes_the_same(attention, stride, fields):
    config = dataclasses.replace(_TINY, attention=attention, stride=stride, fields=fields)
    assert_same_as_litert(_networks(config).inference(), [_photo()])


@pytest.mark.parametrize("fields", [0, 2])
def test_networks_that_are_told_colors_see_brightness(fields):
    network = _networks(dataclasses.replace(_TINY, fields=fields)).network
    photo = _photo()
    # The border is left out: it is dark beside a bright picture, which normalization does not hide.
    bright, dark = (network(x).numpy()[:, 12:-12, 12:-12] for x in (photo, 0.25 * photo))
    difference = np.abs(bright - dark).mean()
    assert difference > 0.1 if fields else difference < 0.05


def test_attention_is_one_convolution_in_the_export():
    networks = _networks()
    photo = _photo()
    folded = networks.inference()(photo).numpy()
    own = networks.network(photo * 2.0 - 1.0).numpy() / 2.0 + 0.5
    np.testing.assert_allclose(folded, own, atol=1e-5)
    without = TranslatorNetworks.build(dataclasses.replace(_TINY, attention=None))
    counts = [describe(export_stylizer(n, "float32")).ops for n in (networks, without)]
    assert counts[0]["CONV_2D"] == counts[1]["CONV_2D"] + 1
    assert "CONCATENATION" not in counts[0] and "REDUCE_MAX" not in counts[0]


def test_two_exports_have_the_same_bytes():
    assert export_stylizer(_networks()) == export_stylizer(_networks())


def test_balanced_channels_compute_the_same_and_lose_less_in_int8():
    networks = _networks()
    # As trained networks have: channels of very different scale before the normalization.
    for unit in networks.network.units():
        scales = np.geomspace(0.1, 3.0, unit.convolution.kernel.shape[-1])
        unit.convolution.kernel.assign(unit.convolution.kernel * scales)
    photos = networks.calibration_pictures()
    balanced = networks.balanced(photos[:8])
    wanted = networks.inference()(photos[8:9]).numpy()
    np.testing.assert_allclose(balanced.inference()(photos[8:9]), wanted, atol=0.01)
    losses = []
    for some in (networks, balanced):
        (found,) = run_litert(export_stylizer(some, "int8"), photos[8:9])
        losses.append(np.abs(found - wanted).mean())
    assert losses[1] < 0.03 and losses[1] < 0.7 * losses[0], losses


def test_a_preset_keeps_weights_and_widths(tmp_path):
    networks = _networks()
    save_preset(tmp_path, networks, {"name": "tiny", "family": "translator"})
    assert json.loads((tmp_path / "card.json").read_text())["config"]["blocks"] == [8, 20]
    loaded = Preset.find(tmp_path).networks()
    assert loaded.config == _TINY
    for name, value in networks.weights().items():
        np.testing.assert_allclose(loaded.weights()[name], value, atol=2e-3, err_msg=name)
    with pytest.raises(ValueError, match="do not fit"):
        TranslatorNetworks.from_weights(
            dataclasses.replace(_TINY, attention=None), networks.weights()
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"stem": 0},
        {"down": (8,)},
        {"blocks": (8, 0)},
        {"image_size": 30},
        {"image_size": 36, "stride": 2},
        {"stride": 3},
        {"fields": 5},
        {"attention": 3},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_wrong_configurations(changes):
    with pytest.raises(InvalidArgumentError, match=next(iter(changes))):
        dataclasses.replace(_TINY, **changes)


def test_an_unknown_name():
    with pytest.raises(InvalidArgumentError, match="cyclegan9, cyclegan6, mobile"):
        translator_config("unet")
