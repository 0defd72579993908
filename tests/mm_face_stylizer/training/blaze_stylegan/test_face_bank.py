import numpy as np
import pytest
from tiny import tiny_networks

from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.training.blaze_stylegan.face_bank import (
    _DETAIL,
    _LIGHTS,
    FaceBank,
    _detailed,
    _drawn,
    _lit,
    _match_by_skin_tone,
)
from mm_face_stylizer.training.blaze_stylegan.style_bank import StyleBank
from task_bundle.faces.face_models import find_face_models

pytestmark = pytest.mark.usefixtures("face_models")

_COUNT = 10


@pytest.fixture(scope="module")
def bank():
    mesh = FaceMeshFeatures(find_face_models().landmarks)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    networks = tiny_networks()
    styles = StyleBank.from_pictures(networks, mesh, pictures, None, random)
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
    lit = _lit(faces, *(_drawn(random, limits, 50) for limits in _LIGHTS))
    assert lit.shape == faces.shape and lit.dtype == np.float32
    assert np.abs(lit).max() <= 1.0
    means, contrasts = lit.mean(axis=(1, 2, 3)), lit.std(axis=(1, 2, 3))
    assert means.std() > 0.08 and contrasts.max() > 1.2 * contrasts.min()
    # Against shades of gray: strong colors are contrast, too.
    shades = lit.mean(axis=-1).std(axis=(1, 2))
    colors = (lit.max(axis=-1) - lit.min(axis=-1)).mean(axis=(1, 2)) / shades
    assert colors.max() > 1.5 * colors.min()


def test_soft_faces_get_the_detail_of_photos_and_keep_their_tones():
    random = np.random.default_rng(0)
    grain = random.normal(0, 0.02, (20, 256, 256, 3))
    soft = (np.linspace(-0.5, 0.5, 256)[:, np.newaxis] + grain).astype(np.float32)
    detailed = _detailed(soft, _drawn(random, _DETAIL, 20))
    assert detailed.shape == soft.shape and np.abs(detailed).max() <= 1.0
    finest = [np.diff(faces, axis=2).std(axis=(1, 2, 3)) for faces in (soft, detailed)]
    gains = finest[1] / finest[0]
    assert gains.min() > 1.2 and 1.3 < gains.max() / gains.min() < 2.5
    assert np.abs((detailed - soft).mean(axis=(1, 2, 3))).max() < 0.01


def test_what_has_detail_stays_as_it_is():
    random = np.random.default_rng(0)
    faces = np.zeros((2, 256, 256, 3), np.float32)
    for side in (16, 32, 64, 128, 256):
        mosaic = random.choice([-0.18, 0.18], (2, side, side, 1)).astype(np.float32)
        faces += mosaic.repeat(256 // side, axis=1).repeat(256 // side, axis=2)
    np.testing.assert_allclose(
        _detailed(faces, _drawn(random, _DETAIL, 2)), np.clip(faces, -1, 1), atol=1e-5
    )


def test_paintings_are_of_the_styles_colors(bank):
    assert bank.painted.shape == (_COUNT, 64, 64, 3)
    assert bank.colors.shape == (_COUNT, 64, 64, 3)
    assert np.abs(bank.painted).max() <= 1.0


def test_dark_goes_with_dark():
    class Skin:
        def __init__(self, skin):
            self.skin = skin

    faces = [Skin(value) for value in (0.5, -0.5, 0.1, -0.1)]
    styles = [Skin(0.9), Skin(-0.9)]
    np.testing.assert_array_equal(_match_by_skin_tone(faces, styles), [0, 1, 0, 1])
