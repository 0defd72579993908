import dataclasses

import numpy as np
import pytest
from tiny import tiny_networks

from mm_face_stylizer._keras import tf
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.models.weights import named_weights
from mm_face_stylizer.training.blaze_stylegan import style_bank
from mm_face_stylizer.training.blaze_stylegan.few_shot import (
    FewShotOptions,
    FewShotTrainer,
    FewShotWeights,
    _patch_distance,
    _unit_columns,
    interpolated,
    untuned,
)
from task_bundle.faces.face_models import find_face_models

pytestmark = pytest.mark.usefixtures("face_models")

_OPTIONS = FewShotOptions(steps=2, swap_rows=(4, 5), learning_rate=5e-3, bank_size=6)


@pytest.fixture(scope="module")
def mesh():
    return FaceMeshFeatures(find_face_models().landmarks)


@pytest.fixture(scope="module")
def networks():
    return tiny_networks()


@pytest.fixture(scope="module")
def red():
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[..., 0] = np.linspace(150, 250, 64).astype(np.uint8)
    return image


def _fit(networks, mesh, images, **changes):
    options = dataclasses.replace(_OPTIONS, **changes)
    return FewShotTrainer(networks, mesh, options).fit(images)


@pytest.fixture(scope="module")
def tuned(networks, mesh, red):
    before = networks.weights()
    result = _fit(networks, mesh, red, steps=25)
    for name, value in networks.weights().items():
        np.testing.assert_array_equal(before[name], value, f"{name} of the preset changed")
    return result


def _mean_color(networks, synthesis):
    latents = networks.random_latents(8, seed=9)
    return synthesis({"inputs": latents})["image"][-1].numpy().mean(axis=(0, 1, 2))


def test_faces_take_on_the_styles_color(networks, tuned):
    before = _mean_color(networks, networks.synthesis)
    after = _mean_color(networks, tuned.synthesis)
    assert after[0] - after[1] > before[0] - before[1] + 0.3


def _arrays(result):
    return {name: value.numpy() for name, value in named_weights(result.synthesis).items()}


def test_the_same_seed_gives_the_same_bytes(networks, mesh, red, tuned):
    again = _arrays(_fit(networks, mesh, red, steps=25))
    for name, value in _arrays(tuned).items():
        np.testing.assert_array_equal(again[name], value, name)


@pytest.mark.usefixtures("untraced")
def test_another_seed_gives_other_bytes(networks, mesh, red):
    one, other = [_arrays(_fit(networks, mesh, red, seed=seed, steps=1)) for seed in (3, 4)]
    assert any(np.any(value != other[name]) for name, value in one.items())


def test_every_style_picture_is_used(networks, mesh, red, tuned):
    blue = red[..., ::-1]
    both = _fit(networks, mesh, np.concatenate([red, blue]), steps=25)
    alone = _mean_color(networks, tuned.synthesis)
    assert _mean_color(networks, both.synthesis)[2] > alone[2] + 0.1


@pytest.mark.usefixtures("untraced")
def test_the_style_has_its_palette_before_the_first_step(networks, mesh):
    """Of a style in two colors, not their mean alone but their covariance arrives."""
    style = np.zeros((1, 64, 64, 3), np.uint8)
    style[:, :, :32], style[:, :, 32:] = (250, 200, 0), (120, 0, 100)
    start = _fit(networks, mesh, style, steps=1, learning_rate=1e-12)
    latents = networks.generated_latents(8, seed=3)
    colors = start.synthesis(latents)["image"][-1].numpy().reshape(-1, 3)
    wanted = style.reshape(-1, 3) / 127.5 - 1.0
    # What the colors have in common: red and green rise together, blue falls.
    found, expected = np.corrcoef(colors.T), np.corrcoef(wanted.T)
    assert np.abs(found - expected).max() < 0.3
    untouched = networks.synthesis(latents)["image"][-1].numpy().reshape(-1, 3)
    assert np.abs(np.corrcoef(untouched.T) - expected).max() > 0.5


def test_history_has_a_value_a_step(tuned):
    assert {"loss", "content", "patches", "adversarial"} <= set(tuned.history)
    assert {len(values) for values in tuned.history.values()} == {25}


def test_the_loss_falls(networks, mesh):
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    bright = np.arange(64) // 4 % 2 == 0
    stripes[:, bright], stripes[:, ~bright] = (250, 200, 0), (60, 0, 120)
    loss = _fit(networks, mesh, stripes, steps=25, learning_rate=2e-3).history["loss"]
    # With the two meshes that were tried it falls to 0.74 and to 0.85.
    assert np.mean(loss[-5:]) < 0.92 * np.mean(loss[:5])


@pytest.mark.usefixtures("untraced")
def test_weights_of_zero_switch_a_term_off(networks, mesh, red):
    untouched = _fit(
        networks,
        mesh,
        red,
        weights=FewShotWeights().scaled(0, 0, 0),
        adversarial_weight=0.0,
    )
    for name, value in named_weights(untuned(networks)).items():
        np.testing.assert_array_equal(named_weights(untouched.synthesis)[name], value, name)
    assert "adversarial" not in untouched.history


def test_patches_count_only_where_paintings_are_trusted():
    random = np.random.default_rng(0)
    images, pictures = (random.uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32) for _ in "ab")
    projections = _unit_columns(random, 77, 8)

    def distance(trust):
        trust = np.full((1, 64, 64, 1), trust, np.float32)
        return float(_patch_distance(images, pictures, trust, projections, 12.0))

    assert distance(0.0) < 1e-6
    assert distance(1.0) > 0.1


def test_strokes_count_at_every_side():
    random = np.random.default_rng(0)
    strokes = random.uniform(-1, 1, (1, 128, 128, 3)).astype(np.float32)
    projections = _unit_columns(random, 77, 8)

    def distance(side):
        drawn = tf.image.resize(strokes, (side, side), "bicubic")
        trust = tf.ones((1, 64, 64, 1))
        return float(_patch_distance(drawn, tf.zeros_like(drawn), trust, projections, 12.0))

    # As broad against the face, though twice as broad in pixels.
    assert distance(512) > 0.6 * distance(256)


def test_what_is_masked_does_not_become_style(red):
    image = red.copy()
    image[:, :, :24] = 0
    mask = np.ones((1, 64, 64), bool)
    mask[:, :, :24] = False
    random = np.random.default_rng(0)
    for masks, least in ((mask, 0.48), (None, -1.0)):
        pictures, weights = style_bank._prepared(image, masks)
        palette = style_bank._palettes(pictures, weights, random)
        # Black is -1, and the darkest red that is not masked 0.48.
        assert pictures[0, :, :20, 0].min() == pytest.approx(least, abs=0.15)
        assert palette[..., 0].min() == pytest.approx(least, abs=0.15)
        assert (weights[0, :, :24] == (0 if masks is not None else 1)).all()


@pytest.mark.usefixtures("untraced")
def test_on_step_can_end_the_run(networks, mesh, red):
    class Enough(Exception):
        pass

    seen = []

    def on_step(step, values):
        seen.append(step)
        if step == 2:
            raise Enough

    with pytest.raises(Enough):
        FewShotTrainer(networks, mesh, _OPTIONS).fit(red, on_step=on_step)
    assert seen == [1, 2]


@pytest.mark.usefixtures("untraced")
def test_divergence_is_reported(networks, mesh, red):
    with pytest.raises(FloatingPointError, match="learning rate"):
        _fit(networks, mesh, red, learning_rate=1e30)


def test_strength_interpolates(networks, tuned):
    base, full = named_weights(untuned(networks)), named_weights(tuned.synthesis)
    for strength in (0.0, 0.25, 1.0):
        found = named_weights(interpolated(networks.synthesis, tuned.synthesis, strength))
        for name in base:
            wanted = base[name] + strength * (full[name] - base[name])
            np.testing.assert_allclose(found[name], wanted, atol=1e-6)
    with pytest.raises(ValueError, match="-0.1"):
        interpolated(networks.synthesis, tuned.synthesis, -0.1)
