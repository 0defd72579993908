import numpy as np
import pytest
from tiny import tiny_networks

from mm_face_stylizer.models.blaze_stylegan.drawing import Drawing
from mm_face_stylizer.models.blaze_stylegan.generator import copied
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.practice_faces import faces_of_folder, practice_faces
from mm_face_stylizer.style_pictures import draw_style
from mm_face_stylizer.training.blaze_stylegan.painting_step import PaintingStep
from mm_face_stylizer.training.blaze_stylegan.painting_trainer import (
    PaintingOptions,
    PaintingTrainer,
)
from task_bundle.errors import NoFaceError
from task_bundle.media.images import save_png

# Whole trainings, though small ones.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def practice(face_models):
    return practice_faces(64, 6, face_models)


def test_practice_faces_are_portraits_always_the_same(practice, face_models):
    assert len(practice) == 6
    again = practice_faces(64, 2, face_models)
    np.testing.assert_array_equal(again[1].picture, practice[1].picture)
    assert practice[0].picture.shape == (64, 64, 3)
    # Eyes lie where the runtimes' crop has them.
    eyes = practice[0].landmarks[[33, 263]]
    assert 15 < eyes[0, 0] < 28 < 36 < eyes[1, 0] < 49


def test_a_folder_of_the_user_s_own(practice, tmp_path, grace_hopper, face_models):
    for number in range(8):
        save_png(tmp_path / f"{number}.png", grace_hopper)
    assert len(faces_of_folder(tmp_path, 64, 8, face_models)) == 8
    (tmp_path / "0.png").unlink()
    with pytest.raises(NoFaceError, match=r"faces in at least 8 pictures of .*, which has 7"):
        faces_of_folder(tmp_path, 64, 8, face_models)


def test_a_style_is_learned_from_its_paintings(practice, face_models):
    networks = tiny_networks()
    synthesis = copied(networks.synthesis, noise=True)
    random = np.random.default_rng(0)
    codes = random.normal(0.0, 0.3, (2, *networks.w_avg.shape[1:])).astype(np.float32)
    drawing = Drawing(("one", "photo"), synthesis, codes)
    with PortraitFinder(face_models) as finder:
        style = finder.find(draw_style("comic"), 64)
    options = PaintingOptions(steps=40, learning_rate=1e-2, swap_rows=(5,))
    trainer = PaintingTrainer(networks, drawing, [style], practice, options)
    seen = []
    history = trainer.fit(lambda step, values: seen.append(step))
    assert trainer.start in drawing.styles
    assert seen == list(range(1, 41)) and len(history["l1"]) == 40
    assert np.mean(history["l1"][-5:]) < 0.85 * np.mean(history["l1"][:5])
    # What it started from stays as it was.
    np.testing.assert_array_equal(drawing.codes, codes)
    tuned = trainer.drawing
    assert tuned.synthesis is not synthesis and tuned.codes.shape == (1, *codes.shape[1:])


def test_training_starts_from_the_most_similar_known_style(practice, monkeypatch):
    networks = tiny_networks()
    codes = np.arange(3, dtype=np.float32)[:, np.newaxis, np.newaxis] * np.ones((8, 512))
    synthesis = copied(networks.synthesis, noise=True)
    drawing = Drawing(("one", "two", "photo"), synthesis, codes.astype(np.float32))
    # Paintings as the second code draws them.
    monkeypatch.setattr(
        PaintingStep, "distance", lambda self, latents, paintings, code: abs(code.mean() - 1.0)
    )
    options = PaintingOptions(steps=1, swap_rows=())
    trainer = PaintingTrainer(networks, drawing, practice[:1], practice, options)
    assert trainer.start == "two"
    np.testing.assert_array_equal(trainer.drawing.codes, codes[1:2])


def test_of_several_pictures_the_most_suitable_one_is_learned(practice, face_models):
    networks = tiny_networks()
    drawing = Drawing.untrained(networks)
    assert drawing.styles == ("photo",)
    with PortraitFinder(face_models) as finder:
        styles = [finder.find(draw_style("comic"), 64), practice[0]]
    options = PaintingOptions(steps=1, swap_rows=())
    trainer = PaintingTrainer(networks, drawing, styles, practice, options)
    # Nothing suits practice faces better than one of them.
    assert trainer.picture == 1 and trainer.start == "photo"


def test_a_loss_that_is_not_finite_ends_it(practice, face_models):
    networks = tiny_networks()
    drawing = Drawing(
        ("one",),
        copied(networks.synthesis, noise=True),
        np.zeros((1, *networks.w_avg.shape[1:]), np.float32),
    )
    options = PaintingOptions(steps=3, learning_rate=1e30, swap_rows=())
    trainer = PaintingTrainer(networks, drawing, practice[:1], practice[:2], options)
    with pytest.raises(FloatingPointError, match="learning rate below 1e\\+30"):
        trainer.fit()
