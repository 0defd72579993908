import dataclasses

import numpy as np
import pytest
from litert import assert_same_as_litert, run_litert

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models.face_swap.config import FINE, FaceSwapConfig
from mm_face_stylizer.models.face_swap.generator import blending
from mm_face_stylizer.models.face_swap.identity import Identity
from mm_face_stylizer.models.face_swap.networks import FaceSwapNetworks
from mm_face_stylizer.preset import Preset, save_preset
from task_bundle.tflite.model import describe

TINY = FaceSwapConfig(64, (4, 6, 8, 10, 12), (4, 3), (8, 6, 4, 4, 2), width=8)


def _networks(config=TINY):
    keras.utils.set_random_seed(0)
    return FaceSwapNetworks.build(config)


def _people(count, seed=0):
    random = np.random.default_rng(seed)
    return Identity(
        random.random((count, 4, 4, 256), np.float32),
        random.standard_normal((count, 128)).astype(np.float32),
        random.integers(0, 256, (count, 64, 64, 3), np.uint8),
    )


def _photos(count=1, side=64):
    return np.random.default_rng(1).random((count, side, side, 3), np.float32)


def _bilinear_operations(side, config):
    """Four for each number that an upsampling makes, as the paper counts them."""
    last, *_ = config.channels[::-1]
    ups = [inputs for _, inputs, _ in config.layers[5:]] + [config.channels[0]]
    ups = list(zip(ups, (32 // 2**k for k in range(1, 6)), strict=True))
    masks = list(zip((last, *config.mask[:-1]), (32 // 2**k for k in range(1, 6)), strict=True))
    return 4 * sum(channels * (side // factor) ** 2 for channels, factor in ups + masks)


def test_the_published_network_has_its_size():
    config = FaceSwapConfig(image_size=224)
    exported = describe(export_stylizer(_networks(config), "float32"))
    assert exported.parameters == pytest.approx(0.50e6, abs=0.01e6)
    macs = exported.macs + _bilinear_operations(224, config)
    assert macs == pytest.approx(0.33e9, abs=0.005e9)
    assert "CUSTOM" not in "".join(exported.ops)
    # Two shapes in, as any stylizer of a bundle.
    shapes = [tensor.shape for tensor in (*exported.inputs, *exported.outputs)]
    assert shapes == [(1, 224, 224, 3)] * 2


@pytest.mark.parametrize("changes", [{}, {"skip": True, "texture": (5, 4, 3)}, {"masked": False}])
def test_a_person_is_exported_number_by_number(changes):
    networks = _networks(FaceSwapConfig(**{**vars(TINY), **changes}))
    random = np.random.default_rng(2)
    for variable in networks.generator.weights:
        variable.assign(variable.numpy() + random.uniform(0.0, 0.3, variable.shape))
    person = networks.of_person(_people(1))
    exported = export_stylizer(person, "float32")
    assert_same_as_litert(person.inference(), [_photos()], exported=exported)
    # Another person, another picture.
    other = networks.of_person(_people(1, seed=5)).inference()
    assert np.abs(other(_photos()).numpy() - run_litert(exported, _photos())[0]).max() > 0.01


def test_a_step_of_training_changes_kernels_little():
    networks = _networks(FaceSwapConfig(image_size=64))
    people = _people(4)
    before, _ = networks.injection(dataclasses.astuple(people))
    optimizer = keras.optimizers.Adam(1e-3)
    for _ in range(3):
        with tf.GradientTape() as tape:
            kernels, _ = networks.injection(dataclasses.astuple(people))
            # All kernels are to follow one direction, the worst case for their growth.
            loss = -tf.add_n([tf.reduce_sum(kernel) for pair in kernels for kernel in pair])
        variables = networks.injection.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    for one, other in zip(before, kernels, strict=True):
        # Depthwise kernels keep the energy 1 for each channel.
        np.testing.assert_allclose(np.square(other[0]).sum(axis=(1, 2)), 1.0, atol=1e-3)
        for old, new in zip(one, other, strict=True):
            assert np.abs(new - old).mean() < 0.2 * np.abs(old).mean()


def test_kernels_of_several_people_are_those_of_each():
    networks = _networks(dataclasses.replace(TINY, texture=(5, 4, 3)))
    people, photos = _people(3), _photos(3) * 2 - 1
    weights = networks.injection(dataclasses.astuple(people))
    together = networks.generator((photos, weights)).picture.numpy()
    for index, photo in enumerate(photos):
        own = networks.injection(dataclasses.astuple(people[index : index + 1]))
        alone = networks.generator((photo[np.newaxis], own)).picture.numpy()
        np.testing.assert_allclose(together[index], alone[0], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "moving"),
    [
        ({}, {0, 1}),
        ({"predicted": False}, {1}),
        ({"modulated": False}, {0}),
    ],
)
def test_a_person_decides_which_kernels_change(changes, moving):
    networks, people = _networks(FaceSwapConfig(**{**vars(TINY), **changes})), _people(2)
    kernels, _ = networks.injection(dataclasses.astuple(people))
    for pair in kernels:
        for index, kernel in enumerate(pair):
            differ = bool(np.abs(kernel[0] - kernel[1]).max() > 1e-6)
            assert differ == (index in moving)
    # Demodulated: each output has the same energy.
    energy = (kernels[3][1].numpy() ** 2).sum(axis=1)
    np.testing.assert_allclose(energy, 2.0 / 1.01, rtol=1e-4)


def test_the_texture_shows_in_the_picture():
    networks = _networks(dataclasses.replace(TINY, texture=(5, 4, 3)))
    person, photo = _people(1), _photos() * 2 - 1
    painted = dataclasses.replace(person, textures=255 - person.textures)
    pictures = [
        networks.generator((photo, networks.injection(dataclasses.astuple(one)))).face.numpy()
        for one in (person, painted)
    ]
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.001


def test_away_from_the_face_nothing_changes():
    shares = blending(tf.constant([-9.0, -4.0, 0.0, 4.0, 9.0])).numpy()
    assert shares.tolist() == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])
    assert shares[1] == 0.0 and shares[3] == 1.0


def test_a_preset_comes_back(tmp_path):
    networks = _networks()
    preset = save_preset(tmp_path, networks, {"name": "x", "family": "face_swap"})
    read = Preset.find(preset.folder).networks()
    assert read.config == TINY
    for name, value in networks.weights().items():
        np.testing.assert_allclose(read.weights()[name], value, rtol=1e-3, atol=1e-6)


def test_the_released_networks_open():
    networks = Preset.find("face_swap_256").networks()
    assert networks.config == FaceSwapConfig(**FINE)
    # The mean person has a face, and nobody's in particular.
    assert networks.mean.textures.shape == (1, 256, 256, 3)
    assert networks.mean.textures.std() > 10


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 100},
        {"channels": (1, 2)},
        {"head": (8, 0)},
        {"width": 0},
        {"mask": (0,) * 5},
        {"texture": (8, 8)},
    ],
)
def test_unknown_configurations_are_refused(changes):
    with pytest.raises(InvalidArgumentError, match=next(iter(changes))):
        FaceSwapConfig(**changes)
