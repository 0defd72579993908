"""Finds, downloads and adapts the face detector and face landmark models."""

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from task_bundle.archive import (
    FACE_DETECTOR,
    FACE_LANDMARKS_DETECTOR,
    read_archive,
    read_bytes,
    write_archive,
)
from task_bundle.cache import cache_folder
from task_bundle.download import fetch
from task_bundle.errors import BundleError, DownloadError, FaceModelsError
from task_bundle.files import atomic_write
from task_bundle.tflite import schema
from task_bundle.tflite.validation import check_loads

FACE_LANDMARKER_FILE = "face_landmarker.task"
FACE_LANDMARKER_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)
FACE_LANDMARKER_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"

_LANDMARKS = 478
_LANDMARKS_WITHOUT_IRIS = 468
# For each of the ten iris points 468..477, the mesh point that is nearest to it on average over 60
# portraits. The face crop does not use the iris points; they only have to be somewhere on the eye.
_IRIS_SUBSTITUTES = (159, 157, 159, 160, 145, 386, 388, 386, 384, 374)
# Rejects an endless response before its hash is computed; the file has 3.8 MB.
_MAX_DOWNLOAD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class FaceModels:
    """The two models that find a face and its landmarks.

    Attributes:
      detector: BlazeFace short range, a TFLite flatbuffer with metadata.
      landmarks: face mesh, a TFLite flatbuffer with metadata and the outputs that MediaPipe's
        stylizer graph requires: 478 x 3 coordinates in input pixels, then the presence logit.
      source: where the models come from, for messages.
    """

    detector: bytes
    landmarks: bytes
    source: str

    def landmarker_task(self) -> bytes:
        """Returns a `.task` archive of the two models that MediaPipe's FaceLandmarker opens.

        The archive has no models for blendshapes and face geometry, so FaceLandmarker must not be
        asked for these.
        """
        return write_archive(
            {FACE_DETECTOR: self.detector, FACE_LANDMARKS_DETECTOR: self.landmarks}
        )


def find_face_models(path: str | os.PathLike[str] | None = None) -> FaceModels:
    """Finds face models without downloading anything.

    The places are tried in this order: the given file; the copy of Google's face_landmarker.task
    that `download_face_landmarker` has written to the cache; the models inside an installed
    mediapipe 0.10.

    Args:
      path: a `.task` archive with the two face models, such as face_landmarker.task,
        face_landmarker_v2.task or a stylizer bundle. If it is given, nothing else is tried.

    Returns:
      The models.

    Raises:
      FaceModelsError: `path` does not exist, the cached copy is damaged, or there are no models.
      BundleError: the file is not such an archive, or its models are not safe to load.
    """
    if path is not None:
        return _from_task(path)
    cached = cache_folder() / FACE_LANDMARKER_FILE
    # Unlike `Path.is_file`, this is false in a home folder that belongs to somebody else.
    if os.path.isfile(cached):
        data, name = read_bytes(cached)
        if hashlib.sha256(data).hexdigest() != FACE_LANDMARKER_SHA256:
            raise FaceModelsError(
                f"{cached} is damaged (its sha256 is not that of Google's {FACE_LANDMARKER_FILE}):"
                " delete it, and download it again if you want it"
            )
        return _from_archive(data, name)
    folder = schema.mediapipe_folder()
    if folder is not None:
        models = _from_wheel(folder)
        if models is not None:
            return models
    raise FaceModelsError(
        "no face detector and landmark models: give any .task that has them, such as Google's"
        " face_landmarker.task or any stylizer's bundle (--face-landmarker on the command line), or"
        " download Google's once with download_face_landmarker() (task-bundle"
        " download-face-landmarker), or install mediapipe 0.10.21, which carries models (1.x does"
        " not)"
    )


def download_face_landmarker(
    destination: str | os.PathLike[str] | None = None,
    timeout: float = 60.0,
    url: str = FACE_LANDMARKER_URL,
) -> Path:
    """Downloads Google's face_landmarker.task (3.8 MB).

    Args:
      destination: the file to write; if None, a file in the cache, where `find_face_models` looks.
        An existing file is kept if it has the right content, and replaced otherwise.
      timeout: seconds to wait for the connection, and for each part of the response.
      url: the address. A mirror must have the same content as Google, bit for bit.

    Returns:
      The path of the file, whose SHA-256 has been checked.

    Raises:
      FaceModelsError: the download failed, or the content is not the published one.
      OSError: the file cannot be written.
    """
    if destination is None:
        path = cache_folder() / FACE_LANDMARKER_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        path = Path(destination)
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == FACE_LANDMARKER_SHA256:
        return path
    try:
        data = fetch(url, timeout, _MAX_DOWNLOAD_BYTES)
    except DownloadError as error:
        raise FaceModelsError(
            f"{error}. Without a connection, take the models of any .task bundle, by"
            " --face-landmarker X.task"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != FACE_LANDMARKER_SHA256:
        raise FaceModelsError(
            f"{url} did not give the published {FACE_LANDMARKER_FILE}: sha256 {digest} instead of"
            f" {FACE_LANDMARKER_SHA256}; nothing was written"
        )
    atomic_write(path, data, overwrite=True)
    return path


def _from_task(path: str | os.PathLike[str]) -> FaceModels:
    try:
        data, name = read_bytes(path)
    except OSError as error:
        raise FaceModelsError(f"cannot read face models: {error}") from error
    return _from_archive(data, name)


def _from_archive(data: bytes, name: str) -> FaceModels:
    entries = read_archive(data, name)
    missing = [e for e in (FACE_DETECTOR, FACE_LANDMARKS_DETECTOR) if e not in entries]
    if missing:
        raise BundleError(f"{name} has no {' and no '.join(missing)}")
    check_loads({e: entries[e] for e in (FACE_DETECTOR, FACE_LANDMARKS_DETECTOR)}, name)
    landmarks = adapt_landmarks(
        entries[FACE_LANDMARKS_DETECTOR], f"{FACE_LANDMARKS_DETECTOR} in {name}"
    )
    return FaceModels(entries[FACE_DETECTOR], landmarks, name)


@functools.cache
def _from_wheel(folder: Path) -> FaceModels | None:
    detector = folder / "modules" / "face_detection" / "face_detection_short_range.tflite"
    landmarks = folder / "modules" / "face_landmark" / "face_landmark.tflite"
    if not (detector.is_file() and landmarks.is_file()):
        return None
    return FaceModels(
        detector.read_bytes(),
        adapt_landmarks(landmarks.read_bytes(), str(landmarks)),
        f"the mediapipe package in {folder}",
    )


def adapt_landmarks(model: bytes, name: str = "the landmark model") -> bytes:
    """Brings a face landmark model into the form that MediaPipe's stylizer graph accepts.

    The graph needs 478 points. To older models, which have 468, this appends operators that copy
    points of the eye contours in place of the ten iris points.

    Args:
      model: a TFLite flatbuffer whose first output is the points and the second the presence.
      name: how error messages call the model.

    Returns:
      The adapted flatbuffer, or `model` itself if it has 478 points.

    Raises:
      BundleError: the model is not a TFLite model, or not a face landmark model.
    """
    unpacked = schema.unpack_model(model, name)
    graph = unpacked.subgraphs[0]
    outputs = [graph.tensors[i] for i in graph.outputs]
    sizes = [0 if t.shape is None else int(np.prod(t.shape)) for t in outputs]
    # Google's current model has a third output, the score of a visible tongue. A model with more
    # than three is the attention mesh, whose points are distributed over several outputs.
    if len(sizes) in (2, 3) and sizes[0] == 3 * _LANDMARKS and sizes[1] == 1:
        return model
    if sizes != [3 * _LANDMARKS_WITHOUT_IRIS, 1]:
        raise BundleError(
            f"{name} is not a face landmark model with 468 or 478 points and a presence score:"
            f" its outputs have {sizes} values"
        )
    _append_iris(unpacked)
    return schema.pack_model(unpacked)


def _append_iris(model: Any) -> None:
    """Appends slices and a concatenation that make 478 points of the first output's 468.

    One GATHER would do the same, but MediaPipe's GPU delegates for browsers do not know it.
    """
    tfl = schema.model_schema()
    graph = model.subgraphs[0]
    source_index = int(graph.outputs[0])
    source = graph.tensors[source_index]
    axis = len(source.shape) - 1

    def tensor(name: str, length: int) -> int:
        made = tfl.TensorT()
        made.name = name
        made.type = source.type
        made.shape = np.array([*source.shape[:-1], length], np.int32)
        made.buffer = 0  # TFLite's empty buffer: the tensor is computed, not constant.
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def constant(name: str, values: list[int]) -> int:
        buffer = tfl.BufferT()
        buffer.data = np.frombuffer(np.array(values, "<i4").tobytes(), np.uint8)
        model.buffers.append(buffer)
        made = tfl.TensorT()
        made.name = name
        made.type = tfl.TensorType.INT32
        made.shape = np.array([len(values)], np.int32)
        made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(kind: str, version: int, inputs: list[int], output: int, options: Any) -> None:
        code = tfl.OperatorCodeT()
        code.deprecatedBuiltinCode = code.builtinCode = getattr(tfl.BuiltinOperator, kind)
        code.version = version
        made = tfl.OperatorT()
        made.opcodeIndex = _index_of(model.operatorCodes, code)
        made.builtinOptionsType = getattr(tfl.BuiltinOptions, type(options).__name__[:-1])
        made.builtinOptions = options
        made.inputs = np.array(inputs, np.int32)
        made.outputs = np.array([output], np.int32)
        graph.operators.append(made)

    # The metadata refer to the output tensor by name, so the new output takes the name over.
    name = schema.text(source.name)
    source.name = f"{name}_without_iris"
    size = constant("landmark_size", [1] * axis + [3])
    parts = [source_index]
    # One slice for each, also where two iris points have the same substitute: a tensor that is
    # joined twice would be copied, which those delegates do not know either.
    for iris, point in enumerate(_IRIS_SUBSTITUTES, start=_LANDMARKS_WITHOUT_IRIS):
        begin = constant(f"landmark_{iris}_begin", [0] * axis + [3 * point])
        parts.append(tensor(f"landmark_{iris}", 3))
        operator("SLICE", 1, [source_index, begin, size], parts[-1], tfl.SliceOptionsT())
    joining = tfl.ConcatenationOptionsT()
    joining.axis = axis
    joined = tensor(name, 3 * _LANDMARKS)
    operator("CONCATENATION", 1, parts, joined, joining)
    graph.outputs = np.array([joined, *graph.outputs[1:]], np.int32)


def _index_of(codes: list[Any], wanted: Any) -> int:
    """Returns the index of an operator code, which is appended if it is not there yet."""
    for index, code in enumerate(codes):
        if (code.builtinCode, code.version) == (wanted.builtinCode, wanted.version):
            return index
    codes.append(wanted)
    return len(codes) - 1
