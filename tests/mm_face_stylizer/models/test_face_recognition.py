import importlib.util

import cv2
import numpy as np
import pytest

from mm_face_stylizer.evaluation.dlib_identity import DlibIdentitySpace
from mm_face_stylizer.evaluation.identity import own_distance, rank_one_by_distance
from mm_face_stylizer.models import face_recognition
from mm_face_stylizer.models.face_recognition import (
    FaceRecognitionWeightsError,
    face_recognition_network,
)
from mm_face_stylizer.practice_faces import practice_pictures

installed = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="the extra evaluation is missing",
)


@pytest.fixture(scope="module")
def space():
    return DlibIdentitySpace()


@installed
def test_the_numbers_are_those_of_a_loader_checked_against_dlib(grace_hopper):
    photo = grace_hopper[40:552].reshape(256, 2, 256, 2, 3).mean((1, 3), dtype=np.float32)
    embedding = face_recognition_network()(photo[np.newaxis] / 127.5 - 1.0).numpy()
    assert embedding.shape == (1, 128)
    assert np.linalg.norm(embedding) == pytest.approx(1.27945, abs=1e-4)
    wanted = [-0.047144, 0.032094, 0.022122, 0.050976]
    np.testing.assert_allclose(embedding[0, :4], wanted, atol=1e-5)
    wanted = [0.052287, 0.041029, 0.020462, 0.009110]
    np.testing.assert_allclose(embedding[0, -4:], wanted, atol=1e-5)


@installed
def test_people_are_found_again_and_strangers_are_not(space):
    people = practice_pictures(256, 10)
    embedded = space.embed(people)
    assert embedded.shape == (10, 128) and embedded.dtype == np.float64
    mirrored = np.ascontiguousarray(people[:, :, ::-1])
    darker = (people * 0.6).astype(np.uint8)
    smaller = np.stack([cv2.resize(p, (192, 192), interpolation=cv2.INTER_AREA) for p in people])
    for changed in (mirrored, darker, smaller):
        found = space.embed(changed)
        assert rank_one_by_distance(embedded, found, 10).mean() >= 0.9
        assert own_distance(embedded, found).mean() < 0.35
    assert own_distance(embedded, np.roll(embedded, 1, axis=0)).mean() > 0.45


@installed
def test_another_file_is_refused(monkeypatch):
    monkeypatch.setattr(face_recognition, "_SHA256", "0" * 64)
    with pytest.raises(FaceRecognitionWeightsError, match="reinstall"):
        face_recognition_network()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(face_recognition, "_PACKAGE", "not_installed_anywhere")
    with pytest.raises(FaceRecognitionWeightsError, match=r"mm-face-stylizer\[evaluation\]"):
        face_recognition_network()


def test_another_package_of_this_name_is_named(monkeypatch, tmp_path):
    (tmp_path / "empty_models.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(face_recognition, "_PACKAGE", "empty_models")
    with pytest.raises(FaceRecognitionWeightsError, match="does not exist; reinstall"):
        face_recognition_network()
