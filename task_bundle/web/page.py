"""Collects the files of the web page that runs a bundle in the browser."""

import dataclasses
import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from task_bundle.archive import FACE_STYLIZER
from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError
from task_bundle.faces.face_models import FaceModels
from task_bundle.faces.person import find_person_segmenter
from task_bundle.provenance import Provenance
from task_bundle.sample_photo import sample_photo
from task_bundle.tflite.model import picture_size
from task_bundle.web.server import WebFile
from task_bundle.web.tasks_vision import VERSION

# MIME types. Browsers refuse scripts and WebAssembly with other types.
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "task": "application/octet-stream",
    "tflite": "application/octet-stream",
    "wasm": "application/wasm",
}
_START = "index.html"
_THUMBNAIL = "/bundle/thumbnail.jpg"


def page_files(
    bundle: TaskBundle, name: str, tasks_vision: Mapping[str, bytes]
) -> dict[str, WebFile]:
    """Collects all files that the page loads.

    Args:
      bundle: the bundle, which is served with the bytes of `TaskBundle.to_bytes`.
      name: the path of the bundle; the page shows the file name.
      tasks_vision: the files of the npm package (see `find_tasks_vision`).

    Returns:
      Files by URL path, for a `WebServer`.

    Raises:
      BundleError: MediaPipe's FaceStylizer cannot use the bundle (see `TaskBundle.validate`).
      OSError: the process that checks the models cannot be started.
    """
    remarks = bundle.validate(name)
    content = bundle.to_bytes()
    made = _how_it_was_made(bundle)
    # FaceStylizer does not return the position of the face; FaceLandmarker finds it with the same
    # models.
    landmarker = FaceModels(bundle.detector, bundle.landmarks, name).landmarker_task()
    segmenter = find_person_segmenter()
    files = {
        "/bundle/face_stylizer.task": content,
        "/bundle/face_landmarker.task": landmarker,
        **({} if segmenter is None else {"/person.tflite": segmenter.model}),
        "/sample.jpg": sample_photo().read_bytes(),
        **({_THUMBNAIL: made.thumbnail} if made is not None and made.thumbnail else {}),
        **{f"/tasks-vision/{path}": data for path, data in tasks_vision.items()},
    }
    for asset in importlib.resources.files("task_bundle").joinpath("web", "static").iterdir():
        if asset.name.rpartition(".")[2] in _TYPES:
            files[f"/{asset.name}"] = asset.read_bytes()
    files["/"] = files.pop(f"/{_START}")
    about = json.dumps(
        _about(bundle, name, content, remarks)
        | {"hasPerson": segmenter is not None}
        # The picture is a file of its own, as all pictures of the page are.
        | {"made": None if made is None else made.to_json() | {"thumbnail": _THUMBNAIL in files}}
    ).encode()
    return {
        "/bundle/about.json": WebFile(about, "application/json"),
        **{
            path: WebFile(data, _TYPES[(path if path != "/" else _START).rpartition(".")[2]])
            for path, data in files.items()
        },
    }


def _how_it_was_made(bundle: TaskBundle) -> Provenance | None:
    """The bundle's own record; None if there is none, or a damaged one, which harms nothing."""
    try:
        return bundle.provenance
    except BundleError:
        return None


def _about(
    bundle: TaskBundle, name: str, content: bytes, remarks: tuple[str, ...]
) -> dict[str, Any]:
    entries = {report.name: report for report in bundle.inspect()}
    stylizer = entries[FACE_STYLIZER].model
    assert stylizer is not None  # `validate` has checked that it is a model.
    return {
        "name": Path(name).name,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "inputSize": picture_size(stylizer.inputs[0]),
        "outputSize": picture_size(stylizer.outputs[0]),
        "entries": [dataclasses.asdict(report) for report in entries.values()],
        "remarks": list(remarks),
        "tasksVision": VERSION,
    }
