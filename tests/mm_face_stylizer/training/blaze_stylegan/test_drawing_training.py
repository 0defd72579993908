import dataclasses

import numpy as np
import pytest
from tiny import LARGER, assert_resumes, run_as_if_killed, tiny_networks

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import PresetError
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models.blaze_stylegan.drawing import Drawing
from mm_face_stylizer.models.blaze_stylegan.generator import copied
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.pair_discriminator import PairDiscriminator
from mm_face_stylizer.preset import Preset, save_drawing, save_preset
from mm_face_stylizer.training.blaze_stylegan.drawing_training import (
    DrawingOptions,
    DrawingStage,
    DrawingTraining,
    drawn,
    encoded,
)
from mm_face_stylizer.training.blaze_stylegan.painted_pairs import (
    PaintedPairs,
    read_ready_styles,
    read_style_list,
)
from mm_face_stylizer.training.blaze_stylegan.painting_step import PaintingStep, PaintingWeights

# Whole trainings, though small ones.
pytestmark = pytest.mark.slow

_STYLES = ("dark", "light", "photo")
_OPTIONS = DrawingOptions(
    # The rate warms up over a hundred steps.
    DrawingStage(40, average=0.7),
    batch_size=4,
    learning_rate=3e-2,
    conv_dtype="float32",
)
_SAVED = 37


def _pairs() -> PaintedPairs:
    """Photos of one tone each, and what two flat styles make of them."""
    random = np.random.default_rng(0)
    tones = random.integers(60, 200, (8, 1, 1, 3)).astype(np.uint8)
    photos = np.broadcast_to(tones, (8, 64, 64, 3)).copy()
    paintings = np.concatenate([np.full_like(photos, 20), np.full_like(photos, 235), photos])
    people, styles = np.tile(np.arange(8), 3), np.repeat(np.arange(3), 8)
    return PaintedPairs(_STYLES, photos, photos[:4], paintings, people, styles)


@pytest.fixture(scope="module")
def networks():
    return tiny_networks()


@pytest.fixture(scope="module")
def finished(networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawing")
    run = DrawingTraining(_OPTIONS, networks, _pairs(), folder / "run")
    return run, run_as_if_killed(run, _SAVED, folder / "killed")


def test_each_code_draws_its_own_style(finished, networks):
    run, history = finished
    first, last = (
        np.mean([values["l1"] for values in some]) for some in (history[:5], history[-5:])
    )
    assert last < 0.6 * first
    drawing = run.released()
    latents = encoded(networks, _pairs().photos)
    dark, light = (
        drawn(drawing.synthesis, latents, drawing.code(style)).mean() for style in _STYLES[:2]
    )
    assert dark + 60 < light


def test_the_preset_s_own_networks_stay(finished, networks):
    before = tiny_networks().weights()
    for name, value in networks.weights().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_killed_run_resumes(finished, networks):
    run, history = finished
    folder = run.folder.parent / "killed"
    assert_resumes(DrawingTraining(_OPTIONS, networks, _pairs(), folder), _SAVED, history)


def test_a_preset_keeps_what_was_learned(finished, networks, tmp_path):
    run, _ = finished
    drawing = run.released()
    preset = save_preset(tmp_path, networks, {"name": "tiny"})
    with pytest.raises(PresetError, match="no drawing network"):
        preset.drawing()
    save_drawing(preset, drawing, {"steps": 30})
    found = Preset.find(tmp_path)
    assert found.styles == _STYLES
    loaded = found.drawing()
    latents = encoded(networks, _pairs().photos[:2])
    for style in _STYLES:
        np.testing.assert_allclose(
            drawn(loaded.synthesis, latents, loaded.code(style)).astype(int),
            drawn(drawing.synthesis, latents, drawing.code(style)).astype(int),
            atol=3,
        )
    with pytest.raises(ValueError, match="'oil'; the preset knows dark, light"):
        loaded.code("oil")
    (tmp_path / "drawing.npz").write_bytes(b"damaged")
    with pytest.raises(PresetError, match="sha256"):
        found.drawing()


def test_a_ready_style_has_the_bytes_of_an_export(finished, networks, tmp_path):
    preset = save_preset(tmp_path, networks, {"name": "tiny"})
    ready = {"ready": {"noir": "dark"}}
    stored = save_drawing(preset, finished[0].released(), ready).drawing()
    networks = preset.networks()

    def exported(style: str) -> bytes:
        return export_stylizer(stored.stylizer(networks, stored.code(style)))

    preset = save_drawing(preset, stored, ready, {"photo": exported("photo")})
    assert preset.ready_styles == ("noir",) and preset.styles == _STYLES
    assert preset.ready_stylizer("noir") == exported("dark")
    with pytest.raises(PresetError, match="no ready style 'dark'. Known ready styles: noir"):
        preset.ready_stylizer("dark")
    model = tmp_path / "drawing.tflite"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(PresetError, match="drawing.tflite has the sha256"):
        preset.ready_stylizer("noir")


def test_what_lies_between_photo_and_style(finished, networks):
    drawing = finished[0].released()
    photo, light = drawing.only("photo"), drawing.only("light")
    assert light.styles == ("light",) and light.discriminator.styles == 1
    latents = encoded(networks, _pairs().photos[:2])
    tones = [
        drawn(between.synthesis, latents, between.codes[0]).mean()
        for between in (photo.between(light, share) for share in (0.0, 0.5, 1.0))
    ]
    assert tones[0] < tones[1] < tones[2]
    with pytest.raises(ValueError, match="'oil'"):
        drawing.only("oil")


def test_a_discriminator_of_one_style_judges_as_that_of_all():
    judge = PairDiscriminator(3)
    judge.build()
    judge.embedding.assign(np.random.default_rng(0).normal(size=judge.embedding.shape))
    photos, pictures = np.random.default_rng(1).uniform(-1, 1, (2, 2, 64, 64, 3)).astype("f")
    styles = np.array([1, 1], np.int32)
    np.testing.assert_allclose(
        judge.only(1)((photos, pictures, 0 * styles)), judge((photos, pictures, styles)), atol=1e-5
    )


def test_a_larger_preset_grows_the_drawing_network():
    keras.utils.set_random_seed(0)
    small = Networks.build(LARGER)
    codes = np.random.default_rng(0).normal(0.0, 0.3, (2, *small.w_avg.shape[1:])).astype("f")
    drawing = Drawing(("one", "photo"), copied(small.synthesis, noise=True), codes)
    large = small.with_image_size(256)
    grown = drawing.grown(large)
    assert grown.styles == drawing.styles and grown.codes.shape[1] == codes.shape[1] + 2
    photos = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), np.uint8)
    photos = photos.repeat(16, axis=1).repeat(16, axis=2)
    big = drawn(
        grown.synthesis, encoded(large, photos.repeat(2, 1).repeat(2, 2)), grown.code("photo")
    )
    wanted = drawn(drawing.synthesis, encoded(small, photos), drawing.code("photo"))
    shrunken = big.reshape(2, 128, 2, 128, 2, 3).mean(axis=(2, 4))
    error = np.abs(shrunken - wanted).mean()
    assert error < 0.35 * np.abs(wanted - wanted.mean()).mean()


def test_a_style_is_a_stylizer_of_its_own(finished, networks):
    drawing = finished[0].released()
    photos = _pairs().photos[:2]
    stylizer = drawing.stylizer(networks, drawing.code("light"))
    wanted = drawn(drawing.synthesis, encoded(networks, photos), drawing.code("light"))
    np.testing.assert_allclose(stylizer.reconstruct(photos).astype(int), wanted.astype(int), atol=2)


def test_weights_of_other_styles_are_refused(finished, networks):
    weights = finished[0].released().weights()
    with pytest.raises(ValueError, match="codes"):
        Drawing.from_weights(networks.config, ("one",), weights)


def test_styles_are_drawn_equally_often():
    pairs = dataclasses.replace(
        _pairs(), style_of=np.repeat([0, 1, 2], (2, 2, 20)), photo_of=np.zeros(24, int)
    )
    batch = pairs.batch(np.random.default_rng(0), 600)
    assert np.bincount(batch.styles).min() > 150
    np.testing.assert_array_equal(pairs.style_of[:2], 0)
    assert batch.paintings.shape == (600, 64, 64, 3)


def test_the_adversary_learns_and_can_be_left_out(networks):
    pairs = _pairs()
    codes = tf.Variable(tf.zeros((1, *networks.w_avg.shape[1:])))
    latents = encoded(networks, pairs.photos[:2])
    for weight, has_adversary in ((0.1, True), (0.0, False)):
        step = PaintingStep(
            copied(networks.synthesis), codes, None, PaintingWeights(adversarial=weight)
        )
        before = [variable.numpy() for variable in step.discriminator.trainable_variables]
        values = step(
            latents,
            np.zeros(2, np.int32),
            pairs.photos[:2],
            pairs.paintings[:2],
            step.random_crop(np.random.default_rng(0)),
            1e-3,
        )
        assert ("discriminator" in values) is has_adversary
        changed = [
            not np.array_equal(old, variable)
            for old, variable in zip(before, step.discriminator.trainable_variables, strict=True)
        ]
        assert any(changed) is has_adversary


def test_a_style_list_is_checked(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    path = tmp_path / "list.csv"
    path.write_text("file,set\na.png,ink\n")
    assert read_style_list(path, tmp_path) == {"ink": [tmp_path / "a.png"]}
    assert read_ready_styles(path) == {}
    path.write_text("file,set,ready\na.png,ink_1,ink\na.png,ink_2,\n")
    assert read_ready_styles(path) == {"ink": "ink_1"}
    for text, words in (
        ("file\na.png\n", "no column set"),
        ("file,set\nb.png,ink\n", "lists b.png"),
        ("file,set\n", "lists no style"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_style_list(path, tmp_path)
