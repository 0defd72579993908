import numpy as np
import pytest

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.mapping import LATENT_DIM, MappingNetwork
from mm_face_stylizer.models.stylegan.generator import (
    StyleGanMapping,
    StyleGanSynthesis,
    teacher_channels,
    teacher_rows,
    teacher_sides,
)


@pytest.fixture(scope="module")
def synthesis():
    keras.utils.set_random_seed(0)
    synthesis = StyleGanSynthesis(32, width=0.05)
    synthesis.build()
    return synthesis


def _latents(count=2, seed=0):
    shape = (count, teacher_rows(32), LATENT_DIM)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _macs(graph: tf.Graph) -> int:
    """Multiply-accumulates of all convolutions and matrix products of a graph, by their shapes."""
    macs = 0
    for operator in graph.get_operations():
        if operator.type == "MatMul":
            rows, inner = operator.inputs[0].shape
            macs += rows * inner * operator.outputs[0].shape[1]
        elif operator.type in ("Conv2D", "Conv2DBackpropInput"):
            kernel = operator.inputs[1].shape
            # Each kernel element once a pixel: of the result, or of what a transposed one spreads.
            transposed = operator.type == "Conv2DBackpropInput"
            pixels = (operator.inputs[2] if transposed else operator.outputs[0]).shape[1:3]
            macs += int(np.prod(kernel)) * int(np.prod(pixels))
    return macs


def test_published_size():
    # In a graph nothing is computed, and no weight exists.
    with tf.Graph().as_default() as graph:
        mapping, synthesis = StyleGanMapping(18), StyleGanSynthesis(1024)
        mapping.build()
        synthesis.build()
        counts = {
            name: sum(int(np.prod(weight.shape)) for weight in weights)
            for name, weights in {
                "mapping": mapping.weights,
                "synthesis": synthesis.trainable_weights,
                "noise": synthesis.non_trainable_weights,
            }.items()
        }
    assert counts == {"mapping": 2_101_248, "synthesis": 28_268_812, "noise": 2_796_176}
    assert sum(counts.values()) / 1e6 == pytest.approx(33.17, abs=0.005)
    demodulation = _demodulation_macs(1024)
    assert (_macs(graph) - demodulation) / 1e9 == pytest.approx(74.3, abs=0.05)


def _demodulation_macs(image_size):
    """Products of squared scales and kernel energies, which the published form does not have."""
    sides = teacher_sides(image_size)
    channels = [teacher_channels(side) for side in sides]
    return (
        sum(
            inner * outer + outer * outer
            for inner, outer in zip(channels, channels[1:], strict=False)
        )
        + channels[0] ** 2
    )


def test_rows_as_published():
    assert (teacher_rows(256), teacher_rows(1024)) == (14, 18)
    with pytest.raises(ValueError, match="power of two.*100"):
        teacher_rows(100)


def test_pictures_add_up_from_coarse_to_fine(synthesis):
    images = synthesis({"inputs": _latents()})["image"]
    assert [image.shape for image in images] == [(2, side, side, 3) for side in (4, 8, 16, 32)]


def test_every_row_of_the_latent_matters(synthesis):
    latents = _latents()
    image = synthesis({"inputs": latents})["image"][-1]
    for row in range(latents.shape[1]):
        changed = latents.copy()
        changed[:, row] += 1
        assert np.abs(synthesis({"inputs": changed})["image"][-1] - image).max() > 1e-3, row


def test_noise_is_constant_unless_it_is_given(synthesis):
    latents = {"inputs": np.repeat(_latents(1), 2, axis=0)}
    random = np.random.default_rng(0)
    noise = [
        tf.constant(random.standard_normal(shape), tf.float32)
        for shape in synthesis.noise_shapes(2)
    ]
    silent = synthesis(latents | {"noise": noise})["image"][-1]
    np.testing.assert_allclose(silent, synthesis(latents)["image"][-1], atol=1e-5)
    strengths = [v for v in synthesis.trainable_variables if "noise_strength" in v.name]
    assert len(strengths) == len(noise) == 7
    for index, strength in enumerate(strengths):
        strength.assign(0.5)
        first, second = synthesis(latents)["image"][-1]
        np.testing.assert_allclose(first, second, atol=1e-5)
        given, other = synthesis(latents | {"noise": noise})["image"][-1]
        assert np.abs(given - first).max() > 1e-3, index
        assert np.abs(given - other).max() > 1e-3, index
        strength.assign(0.0)


def test_path_lengths_have_a_second_derivative_that_xla_compiles():
    keras.utils.set_random_seed(0)
    # Each kind of layer once or twice: compiling takes seconds.
    synthesis = StyleGanSynthesis(16, width=0.05)
    synthesis.build()
    variables = synthesis.trainable_variables

    @tf.function(jit_compile=True)
    def gradients(latents, direction):
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(latents)
                image = synthesis({"inputs": latents})["image"][-1]
                total = tf.reduce_sum(image * direction)
            length = tf.reduce_sum(tf.square(inner.gradient(total, latents)))
        return [g for g in tape.gradient(length, variables) if g is not None]

    direction = np.random.default_rng(1).standard_normal((2, 16, 16, 3)).astype(np.float32)
    found = gradients(tf.constant(_latents()[:, : teacher_rows(16)]), tf.constant(direction))
    assert len(found) > 15
    assert all(np.isfinite(gradient).all() for gradient in found)
    assert max(np.abs(gradient).max() for gradient in found) > 0


def test_mapping_repeats_w_and_sees_directions_alone():
    keras.utils.set_random_seed(0)
    mapping = StyleGanMapping(6)
    mapping.build()
    noise = np.random.default_rng(0).standard_normal((3, LATENT_DIM)).astype(np.float32)
    w = mapping([noise, tf.zeros((3, 0))]).numpy()
    assert w.shape == (3, 6, LATENT_DIM)
    np.testing.assert_array_equal(w, np.repeat(w[:, :1], 6, axis=1))
    np.testing.assert_allclose(w, mapping([2 * noise, tf.zeros((3, 0))]), atol=1e-4)
    assert np.std(w) == pytest.approx(1.0, abs=0.3)


def test_a_student_shares_the_mapping_network():
    keras.utils.set_random_seed(0)
    teacher, student = StyleGanMapping(14), MappingNetwork(12, layers_count=8)
    teacher.build()
    student.build()
    for weight in teacher.weights:
        weight.assign_add(0.1 * tf.random.normal(weight.shape) / 0.01)
    teacher.copy_to(student)
    inputs = [np.random.default_rng(0).standard_normal((3, LATENT_DIM)), tf.zeros((3, 0))]
    inputs[0] = inputs[0].astype(np.float32)
    np.testing.assert_allclose(student(inputs), teacher(inputs)[:, :12], rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="has 4 hidden layers.*has 8"):
        teacher.copy_to(MappingNetwork(12))
