"""Tests of task_bundle.faces.face_models."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from task_bundle.archive import FACE_DETECTOR, FACE_LANDMARKS_DETECTOR, write_archive
from task_bundle.cache import CACHE_VARIABLE
from task_bundle.errors import BundleError, FaceModelsError
from task_bundle.faces import face_models as module
from task_bundle.faces.face_models import (
    FACE_LANDMARKER_FILE,
    FaceModels,
    adapt_landmarks,
    download_face_landmarker,
    find_face_models,
)
from task_bundle.tflite import schema
from task_bundle.tflite.metadata import read_metadata


@pytest.fixture
def task(face_models: FaceModels) -> bytes:
    """A substitute for Google's face_landmarker.task."""
    return face_models.landmarker_task()


@pytest.fixture
def published(task: bytes, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """`task`, with its hash in place of the published one."""
    monkeypatch.setattr(module, "FACE_LANDMARKER_SHA256", hashlib.sha256(task).hexdigest())
    return task


def test_a_given_path_comes_first(tmp_path: Path, task: bytes, face_models: FaceModels) -> None:
    path = tmp_path / "mine.task"
    path.write_bytes(task)
    found = find_face_models(path)
    assert (found.detector, found.landmarks) == (face_models.detector, face_models.landmarks)
    assert found.source == str(path)


def test_an_unusable_path_is_named(tmp_path: Path, face_models: FaceModels) -> None:
    with pytest.raises(FaceModelsError, match=r"none\.task does not exist"):
        find_face_models(tmp_path / "none.task")
    path = tmp_path / "bad.task"
    for content, reason in [
        (b"no archive", r"bad\.task"),
        (write_archive({FACE_DETECTOR: face_models.detector}), f"no {FACE_LANDMARKS_DETECTOR}"),
        (
            write_archive({FACE_DETECTOR: b"x", FACE_LANDMARKS_DETECTOR: face_models.landmarks}),
            f"{FACE_DETECTOR} in .*not a TFLite model",
        ),
        (
            write_archive(
                {FACE_DETECTOR: face_models.detector, FACE_LANDMARKS_DETECTOR: face_models.detector}
            ),
            "not a face landmark model",
        ),
    ]:
        path.write_bytes(content)
        with pytest.raises(BundleError, match=reason):
            find_face_models(path)


def test_cache_comes_before_the_wheel(
    tmp_path: Path, published: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    cached = tmp_path / FACE_LANDMARKER_FILE
    cached.write_bytes(published)
    assert find_face_models().source == str(cached)
    cached.write_bytes(published + b"!")
    with pytest.raises(FaceModelsError, match=f"{FACE_LANDMARKER_FILE} is damaged.*delete it"):
        find_face_models()


def test_nothing_anywhere_names_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "mediapipe_folder", lambda: tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(FaceModelsError) as caught:
        find_face_models()
    for way in ("--face-landmarker", "download-face-landmarker", "0.10.21"):
        assert way in str(caught.value)


def test_wheel_models_are_made_once(wheel_models: FaceModels) -> None:
    assert find_face_models() is wheel_models
    assert "mediapipe" in wheel_models.source


def test_adapted_landmarks_run(wheel_models: FaceModels, grace_hopper: np.ndarray) -> None:
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    folder = schema.mediapipe_folder()
    assert folder is not None
    original = (folder / "modules" / "face_landmark" / "face_landmark.tflite").read_bytes()
    image = (grace_hopper[24:600:3, 8:512:3][:192, :192] / 255).astype(np.float32)
    image = np.pad(image, ((0, 0), (0, 192 - image.shape[1]), (0, 0)))[None]

    results = []
    for model in (original, wheel_models.landmarks):
        interpreter = interpreters.Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        outputs = interpreter.get_output_details()
        results.append([interpreter.get_tensor(o["index"]) for o in outputs])
    (points, presence), (more_points, same_presence) = results
    assert more_points.shape == (1, 1, 1, 3 * 478)
    # The very numbers of the original, those of the irises copied from the eyes' contours.
    copied = [*range(468), 159, 157, 159, 160, 145, 386, 388, 386, 384, 374]
    np.testing.assert_array_equal(more_points.reshape(478, 3), points.reshape(468, 3)[copied])
    np.testing.assert_array_equal(same_presence, presence)
    # The five substitutes of each iris are on its eye.
    more = more_points.reshape(478, 3)
    for iris, corners in ((more[468:473], more[[33, 133]]), (more[473:], more[[263, 362]])):
        width = np.ptp(corners[:, 0])
        assert np.abs(iris[:, :2] - corners[:, :2].mean(axis=0)).max() < 0.6 * width


def test_adapted_landmarks_keep_their_metadata(wheel_models: FaceModels) -> None:
    metadata = read_metadata(wheel_models.landmarks)
    assert metadata is not None
    graph = metadata["subgraph_metadata"][0]
    assert len(graph["input_tensor_metadata"]) == 1
    names = [t["name"] for t in graph["output_tensor_metadata"]]
    model = schema.unpack_model(wheel_models.landmarks)
    tensors = model.subgraphs[0].tensors
    assert names == [schema.text(tensors[i].name) for i in model.subgraphs[0].outputs]
    assert adapt_landmarks(wheel_models.landmarks) is wheel_models.landmarks


class _Handler(http.server.BaseHTTPRequestHandler):
    content = b""
    cut = 0

    def do_GET(self) -> None:  # noqa: N802
        if self.path != "/good":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: len(self.content) - self.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[type[_Handler], str]]:
    """The handler of a local web server, and the address."""
    handler = type("Handler", (_Handler,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield handler, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_download_into_the_cache(server, published: bytes, monkeypatch, tmp_path: Path) -> None:
    handler, address = server
    handler.content = published
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "new" / "cache"))
    path = download_face_landmarker(url=f"{address}/good", timeout=10)
    assert path == tmp_path / "new" / "cache" / FACE_LANDMARKER_FILE
    assert path.read_bytes() == published
    assert find_face_models().source == str(path)
    # A right file is not downloaded again, a wrong one is.
    assert download_face_landmarker(url=f"{address}/gone", timeout=10) == path
    path.write_bytes(b"wrong")
    assert download_face_landmarker(url=f"{address}/good", timeout=10).read_bytes() == published
    assert [p.name for p in path.parent.iterdir()] == [FACE_LANDMARKER_FILE]


@pytest.mark.parametrize("failure", ["wrong", "cut", "gone", "refused", "scheme"])
def test_failed_download_writes_nothing(
    server, published: bytes, tmp_path: Path, failure: str
) -> None:
    handler, address = server
    handler.content = published[:-1] + b"?" if failure == "wrong" else published
    handler.cut = 100 if failure == "cut" else 0
    urls = {"gone": f"{address}/gone", "refused": "http://127.0.0.1:9/x", "scheme": "file:///etc"}
    destination = tmp_path / "a.task"
    with pytest.raises(
        FaceModelsError, match="sha256" if failure == "wrong" else "cannot.*--face-landmarker"
    ):
        download_face_landmarker(destination, timeout=10, url=urls.get(failure, f"{address}/good"))
    assert not list(tmp_path.iterdir())
