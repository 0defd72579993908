import dataclasses

import numpy as np
import pytest

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.export import convert, export_stylizer
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.networks import TranslatorNetworks
from mm_face_stylizer.models.translator.part_model import PartModel
from mm_face_stylizer.models.translator.parts import macs_of, parts_of
from mm_face_stylizer.models.translator.supernet import Masks
from task_bundle.tflite.model import describe

_CONFIG = TranslatorConfig(
    image_size=32, stem=12, down=(16, 20), blocks=(16, 12, 24), up=(12, 16), fields=2, attention=2
)


@pytest.fixture(scope="module")
def networks():
    keras.utils.set_random_seed(0)
    networks = TranslatorNetworks.build(_CONFIG)
    random = np.random.default_rng(0)
    for variable in networks.network.weights:
        variable.assign(variable.numpy() + 0.1 * random.standard_normal(variable.shape))
    return networks


def _picture():
    return np.random.default_rng(0).uniform(-1.0, 1.0, (1, 32, 32, 3)).astype(np.float32)


def _some_masks():
    masks = Masks(_CONFIG)
    random = np.random.default_rng(1)
    for score in masks.channels.values():
        score.assign(random.uniform(0.0, 1.0, score.shape).astype(np.float32))
    masks.gates["gate1"].assign(0.2)
    return masks


def test_what_is_kept_computes_the_same(networks):
    masks = _some_masks()
    found = masks.found()
    assert found.blocks != _CONFIG.blocks and len(found.blocks) == 2 and found.attention == 1
    sliced = TranslatorNetworks.from_weights(found, masks.sliced(networks.weights()))
    assert sliced.network.count_params() < 0.8 * networks.network.count_params()
    masked, masked_logits = networks.network.translate(_picture(), masks.values())
    own, own_logits = sliced.network.translate(_picture())
    np.testing.assert_allclose(own, masked, atol=1e-5)
    np.testing.assert_allclose(own_logits, masked_logits, atol=1e-4)
    whole, _ = networks.network.translate(_picture())
    assert np.abs(whole - masked).max() > 0.01


def test_gradients_reach_widths_and_depths(networks):
    masks = _some_masks()
    scores = [*masks.channels.values(), *masks.gates.values()]
    with tf.GradientTape() as tape:
        drawn, _ = networks.network.translate(_picture(), masks.values())
        loss = tf.reduce_mean(tf.square(drawn - _picture()))
    reached = {
        score.name: np.abs(gradient).max() > 0
        for score, gradient in zip(scores, tape.gradient(loss, scores), strict=True)
    }
    # Of a block that is switched off the gate is reached, and by it the block can come back.
    assert not reached.pop("score_block1:0")
    assert len(reached) == 10 and all(reached.values()), reached
    # Channels that are switched off get one too, and can come back.
    with tf.GradientTape() as tape:
        widths = tf.add_n([tf.reduce_sum(mask) for mask in masks.values().values()])
    for gradient in tape.gradient(widths, scores):
        np.testing.assert_array_equal(gradient, 1.0)


def test_eight_channels_are_left_and_a_multiple_of_four():
    masks = Masks(_CONFIG)
    masks.lower(2.0)
    assert set(masks.widths().values()) == {8}
    assert masks.found().blocks == () and masks.found().attention == 0
    score = masks.channels["block2"]
    score.assign(np.where(np.arange(24) < 9, 1.0, 0.1).astype(np.float32))
    assert masks.widths()["block2"] == 12


def test_channels_are_ranked_by_their_gains(networks):
    masks = Masks(_CONFIG)
    masks.rank(networks)
    gains = np.abs(networks.weights()["translator/block2_first_normalization/gain"])
    scores = masks.channels["block2"].numpy()
    assert np.argmax(gains) == np.argmax(scores) and scores.min() > 0.5
    assert masks.widths() == _CONFIG.widths()


@pytest.mark.parametrize("stride", [1, 2])
def test_parts_have_the_multiply_accumulates_of_the_export(stride):
    config = dataclasses.replace(_CONFIG, stride=stride)
    exported = describe(export_stylizer(TranslatorNetworks.build(config), "float32")).macs
    assert sum(macs_of(part) for part in parts_of(config)) == pytest.approx(exported, rel=0.02)


_STRIDED = dataclasses.replace(_CONFIG, stride=2)
_PARTS = [*parts_of(_CONFIG)[::2], parts_of(_STRIDED)[0], parts_of(_STRIDED)[-1]]


@pytest.mark.parametrize("part", _PARTS, ids=lambda part: f"{part.kind}_{part.outputs}")
def test_a_part_by_itself_has_them_too(part):
    shape = (1, part.side, part.side, part.inputs)
    exported = describe(convert(PartModel(part), [shape], "float32"))
    assert exported.macs == pytest.approx(macs_of(part), rel=0.02)
