import numpy as np
import pytest
from tiny import tiny_networks

from mm_face_stylizer.models.perceptual import FaceMeshFeatures
from mm_face_stylizer.training.face_bank import (
    BANK_SIZE,
    FaceBank,
    _of_its_like,
    random_shifts,
    shifted,
)
from task_bundle.face_models import find_face_models


@pytest.fixture(scope="module")
def bank():
    mesh = FaceMeshFeatures(find_face_models().landmarks)
    pictures = np.random.default_rng(0).uniform(-1, 1, (3, 64, 64, 3)).astype(np.float32)
    return FaceBank.draw(tiny_networks(), mesh, pictures, seed=0)


def test_every_array_has_a_row_a_face(bank):
    rows = bank.rows(np.arange(BANK_SIZE))
    arrays = [*rows.pop("latents").values(), *rows.pop("deep"), *rows.values()]
    assert {len(array) for array in arrays} == {BANK_SIZE}
    np.testing.assert_array_equal(bank.rows(np.array([3, 3]))["painted"], bank.painted[[3, 3]])


def test_every_style_picture_has_faces(bank):
    assert set(bank.style) == {0, 1, 2}


def test_dark_goes_with_dark():
    class Skin:
        def __init__(self, skin):
            self.skin = skin

    faces = [Skin(value) for value in (0.5, -0.5, 0.1, -0.1)]
    styles = [Skin(0.9), Skin(-0.9)]
    np.testing.assert_array_equal(_of_its_like(faces, styles), [0, 1, 0, 1])


def test_shifting_moves_each_picture_by_its_own():
    images = np.random.default_rng(0).random((2, 16, 16, 3)).astype(np.float32)
    result = shifted(images, np.array([[4, 4], [5, 2]], np.int32)).numpy()
    np.testing.assert_array_equal(result[0], images[0])
    np.testing.assert_array_equal(result[1, :15, 2:], images[1, 1:, :14])
    shifts = random_shifts(np.random.default_rng(0), 1000)
    assert shifts.min() == 0 and shifts.max() == 8
