import numpy as np
import pytest
from tiny import tiny_networks

from mm_face_stylizer.models.perceptual import FaceMeshFeatures
from mm_face_stylizer.training.face_bank import FaceBank, _lit, _of_its_like
from mm_face_stylizer.training.style_bank import StyleBank
from task_bundle.face_models import find_face_models

pytestmark = pytest.mark.usefixtures("face_models")

_COUNT = 10


@pytest.fixture(scope="module")
def bank():
    mesh = FaceMeshFeatures(find_face_models().landmarks)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    networks = tiny_networks()
    styles = StyleBank.look(networks, mesh, pictures, None, random)
    return FaceBank.draw(networks, mesh, styles, _COUNT, seed=0)


def test_every_array_has_a_row_a_face(bank):
    rows = bank.rows(np.arange(_COUNT))
    arrays = [*rows.pop("latents").values(), *rows.pop("deep"), *rows.values()]
    assert {len(array) for array in arrays} == {_COUNT}
    np.testing.assert_array_equal(bank.rows(np.array([3, 3]))["painted"], bank.painted[[3, 3]])


def test_every_style_picture_has_faces(bank):
    assert set(bank.style) == {0, 1, 2}


def test_faces_are_lit_in_many_ways():
    random = np.random.default_rng(0)
    faces = np.repeat(random.uniform(-0.5, 0.5, (1, 16, 16, 3)), 50, axis=0).astype(np.float32)
    lit = _lit(faces, random)
    assert lit.shape == faces.shape and lit.dtype == np.float32
    assert np.abs(lit).max() <= 1.0
    means, contrasts = lit.mean(axis=(1, 2, 3)), lit.std(axis=(1, 2, 3))
    assert means.std() > 0.08 and contrasts.max() > 1.2 * contrasts.min()
    # Against shades of grey: strong colours are contrast, too.
    shades = lit.mean(axis=-1).std(axis=(1, 2))
    colours = (lit.max(axis=-1) - lit.min(axis=-1)).mean(axis=(1, 2)) / shades
    assert colours.max() > 1.5 * colours.min()


def test_paintings_are_of_the_styles_colours(bank):
    assert bank.painted.shape == (_COUNT, 64, 64, 3)
    assert bank.colours.shape == (_COUNT, 64, 64, 3)
    assert np.abs(bank.painted).max() <= 1.0


def test_dark_goes_with_dark():
    class Skin:
        def __init__(self, skin):
            self.skin = skin

    faces = [Skin(value) for value in (0.5, -0.5, 0.1, -0.1)]
    styles = [Skin(0.9), Skin(-0.9)]
    np.testing.assert_array_equal(_of_its_like(faces, styles), [0, 1, 0, 1])
