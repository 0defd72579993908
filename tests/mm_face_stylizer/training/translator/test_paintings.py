import numpy as np
import pytest
from tiny import write_portraits
from tiny_translator import in_this_process

from mm_face_stylizer.errors import DataError
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.training.translator import domains as domains_module
from mm_face_stylizer.training.translator import paintings as paintings_module
from mm_face_stylizer.training.translator.domains import Domains
from mm_face_stylizer.training.translator.paintings import Paintings


@pytest.fixture
def painting(monkeypatch):
    in_this_process(monkeypatch)
    paintings_module._process.clear()
    monkeypatch.setattr(domains_module, "_check_faces", lambda *_: None)


@pytest.fixture
def folders(tmp_path, grace_hopper, face_models):
    return [
        write_portraits(tmp_path / name, shade, 50)
        for name, shade in (("photos", grace_hopper), ("style", grace_hopper // 2 + 120))
    ]


@pytest.mark.usefixtures("painting")
def test_photos_are_painted_once(folders, tmp_path, monkeypatch, face_models):
    domains = Domains(*folders, tmp_path / "cache", 56)
    options = {"people": 9, "style_pictures": 3, "face_models": face_models}
    made = Paintings(domains, tmp_path / "paintings", **options)
    assert made.pictures.shape == (9, 63, 63, 3) and made.pictures.dtype == np.uint8
    assert len(set(made.photo_of)) == 9
    # The style is brighter than the photos, and so are the paintings.
    photos = domains.photos.training()[made.photo_of]
    assert made.pictures.mean() > photos.mean() + 20
    monkeypatch.setattr(paintings_module, "_paint", None)
    again = Paintings(domains, tmp_path / "paintings", **options)
    np.testing.assert_array_equal(again.pictures, made.pictures)
    photos, paintings, masks = again.batch(3, 0, 5)
    assert photos.shape == paintings.shape == (3, 56, 56, 3)
    # Eyes and mouth are a small part of a face.
    assert masks.shape == (3, 56, 56, 1) and 0.01 < masks.mean() / 255 < 0.3 and masks.max() > 200
    np.testing.assert_array_equal(again.batch(3, 0, 5)[1], paintings)


@pytest.mark.usefixtures("painting")
def test_a_style_without_faces(folders, tmp_path, face_models):
    domains = Domains(*folders, tmp_path / "cache", 56)
    domains.styles._train = np.zeros_like(domains.styles.training())
    with pytest.raises(DataError, match="no face was found in any of 24 style pictures"):
        Paintings(domains, tmp_path / "p", people=9, style_pictures=2, face_models=face_models)


def test_the_style_picture_that_suits_a_photo_paints_it(grace_hopper, face_models, monkeypatch):
    with PortraitFinder(face_models) as finder:
        light = finder.find(grace_hopper, 64)
        dark = finder.find(grace_hopper // 3, 64)

    class Stand:
        def __init__(self, styles, seed):
            self._style = styles[0]

        def paint(self, photo):
            return type("Painting", (), {"picture": self._style.picture})

    monkeypatch.setattr(paintings_module, "Painter", Stand)
    painters = paintings_module._Painters([dark, light], 2, 0)
    np.testing.assert_array_equal(painters.paint(light), light.picture)
    np.testing.assert_array_equal(painters.paint(dark), dark.picture)


def test_style_pictures_of_all_colors_are_kept():
    colors = np.repeat([[0.0], [5.0], [9.0]], 10, axis=0) + np.linspace(0, 0.2, 30)[:, np.newaxis]
    assert sorted(i // 10 for i in paintings_module._spread(colors, 3)) == [0, 1, 2]
    assert sorted(paintings_module._spread(colors, 99)) == list(range(30))


def test_style_pictures_with_open_eyes_and_like_mouths_are_kept():
    random = np.random.default_rng(0)
    mouths = random.uniform(-1, 1, (30, 20))
    mouths[5:13] = mouths[5] + random.uniform(-0.1, 0.1, (8, 20))
    eyes = np.ones(30)
    eyes[[6, 8]] = 0.3
    assert list(paintings_module._alike(mouths, eyes, 6)) == [5, 7, 9, 10, 11, 12]
    assert len(paintings_module._alike(mouths, eyes, 99)) == 28
    # A style whose eyes are all closed can be painted after, too.
    assert len(paintings_module._alike(mouths, np.zeros(30), 99)) == 30
