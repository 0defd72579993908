import base64
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from mm_face_stylizer import notebook
from mm_face_stylizer.notebook import (
    WEBCAM,
    LivePreview,
    copy_to_drive,
    download,
    pick_photo,
    pick_pictures,
)
from task_bundle import ImageError, load_image


class _Colab:
    """Colab's modules as far as they are used: what the user uploads, and the webcam's answer."""

    def __init__(self, monkeypatch, uploads=None, webcam=""):
        self.downloads, self.scripts, self.questions = [], [], 0
        self._uploads, self._webcam = uploads or {}, webcam
        parts = {
            "": types.ModuleType("google.colab"),
            ".files": types.SimpleNamespace(upload=self._upload, download=self.downloads.append),
            ".output": types.SimpleNamespace(eval_js=self._eval_js),
        }
        for name, part in parts.items():
            monkeypatch.setitem(sys.modules, f"google.colab{name}", part)

    def _upload(self):
        self.questions += 1
        return self._uploads

    def _eval_js(self, script):
        self.scripts.append(script)
        return self._webcam


@pytest.fixture
def displayed(monkeypatch):
    """What is displayed, and what takes its place later."""
    shown = []

    def display(value, display_id=False):
        shown.append(value)
        return types.SimpleNamespace(update=shown.append) if display_id else None

    monkeypatch.setattr("IPython.display.display", display)
    return shown


def test_results_are_copied_to_drive(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="in Colab only"):
        copy_to_drive(tmp_path, "results")
    _Colab(monkeypatch)
    mounted = []
    drive = types.SimpleNamespace(mount=mounted.append)
    monkeypatch.setitem(sys.modules, "google.colab.drive", drive)
    monkeypatch.setattr(notebook, "_DRIVE", tmp_path / "drive")
    source = tmp_path / "results"
    source.mkdir()
    (source / "a.task").write_text("bundle")
    (source / ".hidden").touch()
    for _ in range(2):  # The second time files are replaced.
        target = copy_to_drive(source, "styles/ink")
    assert target == tmp_path / "drive" / "MyDrive" / "styles" / "ink"
    assert [path.name for path in target.iterdir()] == ["a.task"]
    assert mounted == [str(tmp_path / "drive")] * 2


def test_named_pictures_are_taken_and_nobody_is_asked(tmp_path, monkeypatch):
    colab = _Colab(monkeypatch)
    assert pick_pictures(["a.png", Path("b.jpg")], tmp_path) == [Path("a.png"), Path("b.jpg")]
    assert pick_photo("me.jpg", tmp_path) == Path("me.jpg")
    assert not colab.questions and not colab.scripts


def test_outside_colab_nobody_is_asked(tmp_path):
    assert pick_pictures([], tmp_path) == []
    assert pick_photo("", tmp_path) is None


def test_colab_asks_for_uploads_and_keeps_them_in_the_folder(tmp_path, monkeypatch):
    _Colab(monkeypatch, uploads={"a.png": b"A", "../b.png": b"B"})
    files = pick_pictures([], tmp_path)
    assert files == [tmp_path / "a.png", tmp_path / "b.png"]
    assert [file.read_bytes() for file in files] == [b"A", b"B"]


def test_colab_takes_the_webcam_first(tmp_path, monkeypatch):
    url = "data:image/jpeg;base64," + base64.b64encode(b"JPEG").decode()
    colab = _Colab(monkeypatch, uploads={"a.png": b"A"}, webcam=url)
    photo = pick_photo("", tmp_path)
    assert photo.parent == tmp_path and photo.read_bytes() == b"JPEG"
    assert not colab.questions and "getUserMedia" in colab.scripts[0]


def test_colab_without_a_webcam_asks_for_an_upload(tmp_path, monkeypatch):
    _Colab(monkeypatch, uploads={"me.jpg": b"me"})
    assert pick_photo("", tmp_path) == tmp_path / "me.jpg"
    _Colab(monkeypatch)
    assert pick_photo("", tmp_path) is None


class _Camera:
    """Gives a dark frame, then a red one, then none; OpenCV's order is blue first."""

    frames = ((0, 0, 9), (0, 0, 200))

    def __init__(self, number):
        self._frames = [np.full((4, 6, 3), color, np.uint8) for color in self.frames]

    def read(self):
        return (True, self._frames.pop(0)) if self._frames else (False, None)

    def release(self):
        pass


def test_the_webcam_of_this_computer(tmp_path, monkeypatch):
    monkeypatch.setattr("cv2.VideoCapture", _Camera)
    image = load_image(pick_photo(WEBCAM, tmp_path))
    assert image.shape == (4, 6, 3) and (image == [200, 0, 0]).all()


def test_a_webcam_that_gives_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("cv2.VideoCapture", _Camera)
    monkeypatch.setattr(_Camera, "frames", ())
    with pytest.raises(ImageError, match="webcam"):
        pick_photo(WEBCAM, tmp_path)
    _Colab(monkeypatch, uploads={"me.jpg": b"me"})
    with pytest.raises(ImageError, match="webcam"):
        pick_photo(WEBCAM, tmp_path)


def test_files_are_offered_for_download(tmp_path, monkeypatch, displayed):
    file = tmp_path / "x.task"
    file.write_bytes(b"x")
    download(file)
    assert "x.task" in displayed[0]._repr_html_()
    colab = _Colab(monkeypatch)
    download(file)
    assert colab.downloads == [str(file)] and len(displayed) == 1


def test_the_preview_is_one_sheet_that_follows_the_training(displayed):
    class Stylizer:
        def stylize_images(self, images):
            assert images.shape == (1, 256, 256, 3)
            return images + np.uint8(self.done)

    style, face = np.full((2, 256, 256, 3), 100, np.uint8)
    preview, stylizer = LivePreview(style, face, every=4), Stylizer()
    for stylizer.done in range(1, 11):
        preview(stylizer.done, stylizer)
    middles = [np.asarray(sheet)[150, [130, 390, 650], 0].tolist() for sheet in displayed]
    assert middles == [[100, 100, 100 + step] for step in (1, 4, 8)]


_WRITES_TO_STANDARD_ERROR = """
import os, sys
from mm_face_stylizer.notebook import log_native_messages
os.write(2, b"before\\n")
log_native_messages(sys.argv[1])
os.write(2, b"after\\n")
"""


def test_native_messages_go_to_the_file(tmp_path):
    log = tmp_path / "native.log"
    log.write_text("old\n")
    command = [sys.executable, "-c", _WRITES_TO_STANDARD_ERROR, str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "before\n" and log.read_text() == "old\nafter\n"


def test_a_picture_is_shown_as_it_is_and_nothing_is_echoed(displayed):
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert notebook.show(picture) is None
    np.testing.assert_array_equal(np.asarray(displayed[0]), picture)
