import numpy as np
import pytest
from litert import run_litert

from mm_face_stylizer.demo import portrait
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.pixels import from_pixels, to_pixels
from mm_face_stylizer.preset import Preset
from task_bundle.faces.alignment import FaceFinder
from task_bundle.tflite.model import describe

_NAME, _SIDE = "translator_toon_head_256", 256
# Middles of the eyes, and of the lips, as points of the face mesh.
_EYES, _LIPS = ((33, 133), (263, 362)), (13, 14)


@pytest.fixture(scope="module")
def preset():
    return Preset.find(_NAME)


@pytest.fixture(scope="module")
def stylizer(preset):
    return export_stylizer(preset.networks(), "float16")


@pytest.fixture(scope="module")
def person(face_models):
    with FaceFinder(face_models) as finder:
        photo = finder.find(portrait())[0].crop.crop(portrait(), _SIDE)
        return photo, finder.find_with_margins(photo)[0].landmarks[:, :2]


def test_it_is_small_and_its_card_says_where_it_comes_from(preset, stylizer):
    described = describe(stylizer)
    assert described.macs == preset.card["macs"] < 0.8e9
    assert len(stylizer) < 2_000_000
    assert sum(file.stat().st_size for file in preset.folder.iterdir()) < 2_000_000
    assert "Johan Melin" in preset.card["style"]["author"]
    assert preset.card["style"]["licence"].startswith("CC BY 4.0")
    metrics = preset.card["metrics"]
    assert metrics["kernel_distance_ratio"] <= 0.35 and metrics["face_found"] >= 0.8
    assert preset.card["search"]["predicted_milliseconds"] <= preset.card["search"]["milliseconds"]


def test_it_draws_eyes_and_a_flat_face(stylizer, person):
    photo, landmarks = person
    (drawn,) = run_litert(stylizer, from_pixels(photo[np.newaxis]) / 2 + 0.5)
    drawn = to_pixels(drawn * 2.0 - 1.0)[0].astype(int)
    for eye in _EYES:
        x, y = landmarks[list(eye)].mean(axis=0).astype(int)
        around = drawn[y - 10 : y + 11, x - 14 : x + 15].mean(axis=2)
        assert around.max() > 200 and around.min() < 90
    left, right = landmarks[[50, 280]].astype(int)
    cheeks = [drawn[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3) for x, y in (left, right)]
    own = [photo[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3) for x, y in (left, right)]
    assert np.mean([x.std(axis=0) for x in cheeks]) < 0.5 * np.mean([x.std(axis=0) for x in own])


def test_complexions_come_through(stylizer, person):
    photo, landmarks = person
    x, y = landmarks[50].astype(int)
    cheeks = []
    for brightness in (1.0, 0.5):
        values = np.float32(photo[np.newaxis]) / 255.0 * brightness
        (drawn,) = run_litert(stylizer, values)
        cheeks.append(drawn[0, y - 4 : y + 5, x - 4 : x + 5].mean())
    assert cheeks[0] > cheeks[1] + 0.1
