import importlib.util

import cv2
import numpy as np
import pytest

from mm_face_stylizer._keras import keras
from mm_face_stylizer.cli import main
from mm_face_stylizer.errors import DataError, InvalidArgumentError, PresetError
from mm_face_stylizer.models.face_swap.config import FaceSwapConfig
from mm_face_stylizer.models.face_swap.identity import Identity
from mm_face_stylizer.models.face_swap.networks import FaceSwapNetworks
from mm_face_stylizer.practice_faces import practice_pictures
from mm_face_stylizer.preset import save_preset
from mm_face_stylizer.swapping.person import read_person
from mm_face_stylizer.swapping.swapper import PURPOSE, FaceSwapper, check_same_person
from task_bundle import FaceStylizer, TaskBundle
from task_bundle.errors import ImageError, NoFaceError
from task_bundle.media.images import save_png
from task_bundle.tflite.metadata import read_metadata

pytestmark = [
    pytest.mark.usefixtures("face_models"),
    pytest.mark.skipif(
        importlib.util.find_spec("face_recognition_models") is None,
        reason="the extra evaluation is missing",
    ),
]

_CONFIG = FaceSwapConfig(64, (4, 6, 8, 10, 12), (6, 4), (8, 6, 4, 4, 2), width=8)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """The folder of a finished training."""
    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(0)
    card = {"name": "tiny", "family": "face_swap"}
    save_preset(folder / "tiny", FaceSwapNetworks.build(_CONFIG), card)
    (folder / "cache").mkdir()
    return folder


def _error(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(lines) == 1, lines
    return lines[0]


def test_two_photos_of_a_person_become_a_bundle(
    run_folder, grace_hopper, grace_hopper_file, tmp_path, capsys
):
    second = np.clip(grace_hopper[:, ::-1].astype(int) + 10, 0, 255).astype(np.uint8)
    save_png(tmp_path / "second.png", second)
    command = ["swap", str(grace_hopper_file), str(tmp_path / "second.png")]
    command += ["-o", str(tmp_path / "x.task"), "--preset", str(run_folder), "--refine", "0"]
    assert main(command) == 1
    error = _error(capsys)
    assert "consent" in error and "--i-have-consent" in error
    assert not (tmp_path / "x.task").exists()

    assert main([*command, "--i-have-consent"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x.task'}\n"
    bundle = TaskBundle.open(tmp_path / "x.task")
    assert bundle.validate() == ()
    assert read_metadata(bundle.stylizer)["description"] == PURPOSE
    with FaceStylizer.create_from_model_buffer(bundle.to_bytes()) as stylizer:
        assert stylizer.stylize(grace_hopper).image.shape == (64, 64, 3)
    # The same photos, the same bytes.
    photos = {"a": grace_hopper, "b": second}
    again = FaceSwapper.find(run_folder).bundle(photos, has_consent=True, steps=0)
    assert again.to_bytes() == bundle.to_bytes()


def test_unusable_photos_are_named(grace_hopper, face_models):
    def error_of(photo, kind=ImageError):
        with pytest.raises(kind, match=r"x\.jpg") as caught:
            read_person({"x.jpg": np.ascontiguousarray(photo)}, 256, face_models)
        return str(caught.value)

    assert "no face" in error_of(np.full((300, 300, 3), 128, np.uint8), NoFaceError)
    assert "2 faces" in error_of(np.hstack([grace_hopper, grace_hopper]))
    small = cv2.resize(grace_hopper, (140, 164), interpolation=cv2.INTER_AREA)
    assert "tiny" in error_of(small)
    assert "blurred" in error_of(cv2.GaussianBlur(grace_hopper, (0, 0), 9))
    assert read_person({"x.jpg": grace_hopper}, 256, face_models)[0].side == 256


def test_a_profile_is_refused(grace_hopper, face_models, monkeypatch):
    monkeypatch.setattr("mm_face_stylizer.swapping.person._MOST_TURN", -1.0)
    with pytest.raises(ImageError, match=r"x\.jpg is seen from the side"):
        read_person({"x.jpg": grace_hopper}, 256, face_models)


def test_two_persons_are_told_by_their_distance(run_folder, grace_hopper, face_models):
    photos = {"grace.jpg": grace_hopper, "other.jpg": practice_pictures(256, 1)[0]}
    with pytest.raises(DataError, match=r"grace\.jpg and other\.jpg.*distance 0\.[5-9]"):
        FaceSwapper.find(run_folder).bundle(photos, has_consent=True, face_models=face_models)
    embedding = np.array([[0.0, 0.0], [0.3, 0.0], [0.0, 0.44]], np.float32)
    people = Identity(
        np.zeros((3, 4, 4, 256), np.float32), embedding, np.zeros((3, 8, 8, 3), np.uint8)
    )
    with pytest.raises(DataError, match=r"b and c.*0\.53"):
        check_same_person("abc", people)
    check_same_person("ab", people[:2])


def test_what_is_refused_before_anything_is_read(run_folder, grace_hopper, tmp_path):
    swapper = FaceSwapper.find(run_folder)
    with pytest.raises(InvalidArgumentError, match="consent"):
        swapper.bundle({"x": grace_hopper}, has_consent=False)
    with pytest.raises(InvalidArgumentError, match="no photo"):
        swapper.bundle({}, has_consent=True)
    with pytest.raises(InvalidArgumentError, match="steps is -1"):
        swapper.bundle({"x": grace_hopper}, has_consent=True, steps=-1)
    with pytest.raises(PresetError, match="blaze_stylegan and not of face swapping"):
        FaceSwapper.find("blaze_face_stylizer_256")
