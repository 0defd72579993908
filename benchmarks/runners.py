"""Runners: for each stage and runtime, an object whose calls are timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.case import LITERT, MEDIAPIPE, PORTABLE, REFERENCE, Case
from benchmarks.errors import RunnerError
from benchmarks.litert import make_interpreter
from benchmarks.subject import LoadedSubject
from task_bundle import FaceFinder, FaceModels, FaceStylizer, FaceStylizerOptions, TaskBundle
from task_bundle.faces.alignment import Face
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.runtime.stylizer_model import StylizerModel

_Array = npt.NDArray[Any]
_Photo = npt.NDArray[np.uint8]
# Mean and standard deviation by which pixel values are normalized for the face models.
_NORMALIZATION = {"detector": (127.5, 127.5), "landmarks": (0.0, 255.0)}


@dataclass(frozen=True)
class Runner:
    """A loaded stage.

    Attributes:
      call: Runs the stage once; this is what is timed.
      result: Turns the return value of the last `call` into an array: pictures as uint8, other
        results as floats.
      close: Frees the stage's resources.
    """

    call: Callable[[], Any]
    result: Callable[[Any], _Array]
    close: Callable[[], None] = lambda: None


def import_runtime(case: Case) -> None:
    """Imports what a case needs, so that its creation time does not include the imports."""
    import ai_edge_litert.interpreter  # noqa: F401
    import cv2  # noqa: F401

    if case.runtime != LITERT:
        import_mediapipe("mediapipe.tasks.python.vision")


def make_runner(case: Case, subject: LoadedSubject, values: _Array) -> Runner:
    """Loads a case.

    Args:
      case: The case.
      subject: The case's loaded file.
      values: The photo, [height, width, 3] uint8 RGB, or the input of a single model, float32.

    Returns:
      A runner that has not been called yet.

    Raises:
      RunnerError: the stage needs a bundle but the file is a single model, or the photo has no
        face.
      BundleError: the file is not safe to load, or cannot be run.
      RuntimeError: LiteRT or MediaPipe cannot run it.
    """
    if case.stage in ("detector", "landmarks", "stylizer"):
        return _single_model(case, subject.models[case.stage], values)
    bundle = subject.bundle
    if bundle is None:
        raise RunnerError(f"{subject.description.file} is a single model, not a bundle")
    faces = case.settings.faces or 1
    if case.stage == "face_finding":
        return _face_finding(bundle, values, faces)
    if case.stage == "crop":
        return _crop(bundle, values)
    if case.runtime == MEDIAPIPE:
        return _mediapipe(bundle, values)
    if case.runtime == PORTABLE:
        return _portable(bundle, values, faces, case.settings.threads or 1)
    if case.runtime == REFERENCE:
        return _reference(bundle, values, faces)
    raise RunnerError(f"there is no runtime {case.runtime!r}")


def model_input(case: Case, subject: LoadedSubject, photo: _Photo) -> _Array:
    """Makes the input that a single model gets when its bundle works on a photo.

    Args:
      case: A case of a single model.
      subject: The case's loaded file.
      photo: [height, width, 3] uint8 RGB.

    Returns:
      [batch, height, width, 3] float32: the whole photo for the detector and for models without a
      bundle that could find the face; the aligned face for the other models.

    Raises:
      RunnerError: there is no face in the photo, or the model's input is not a picture.
    """
    import cv2

    model = next(m for m in subject.description.models if m.stage == case.stage)
    if len(model.input_shape) != 4 or model.input_shape[3] != 3 or min(model.input_shape) < 1:
        raise RunnerError(
            f"{subject.description.file} takes {list(model.input_shape)}; only models that take"
            " one picture of the shape [batch, height, width, 3] can be measured"
        )
    batch, height, width, _ = model.input_shape
    if subject.bundle is None or case.stage == "detector":
        picture = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    else:
        picture = find_faces(subject.bundle, photo, 1)[0].crop.crop(photo, (width, height))
    mean, std = _NORMALIZATION.get(case.stage, (0.0, 255.0))
    values = (picture.astype(np.float32) - mean) / std
    return np.repeat(values[None].astype(np.float32), batch, axis=0)


def _single_model(case: Case, model: bytes, values: _Array) -> Runner:
    interpreter = make_interpreter(
        model, case.settings.threads or 1, xnnpack=case.settings.delegate != "none"
    )
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    output = interpreter.get_output_details()[0]["index"]

    def result(_: Any) -> _Array:
        numbers = np.array(interpreter.get_tensor(output))
        return _pixels(numbers) if case.stage == "stylizer" else numbers

    return Runner(interpreter.invoke, result)


def _mediapipe(bundle: TaskBundle, photo: _Array) -> Runner:
    """Google's own task, used as in its documentation."""
    mediapipe = import_mediapipe()
    tasks = mediapipe.tasks
    base = tasks.BaseOptions(model_asset_buffer=bundle.to_bytes())
    options = tasks.vision.FaceStylizerOptions(base_options=base)
    task = tasks.vision.FaceStylizer.create_from_options(options)

    def call() -> Any:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=photo)
        found = task.stylize(image)
        # MediaPipe owns the memory of the picture, so that every app has to copy it.
        return None if found is None else np.array(found.numpy_view()[..., :3])

    return Runner(call, lambda picture: _stack([] if picture is None else [picture]), task.close)


def _portable(bundle: TaskBundle, photo: _Array, faces: int, threads: int) -> Runner:
    options = FaceStylizerOptions(backend="portable", num_faces=faces, threads=threads)
    stylizer = FaceStylizer(bundle, options)
    return Runner(
        lambda: stylizer.stylize_all(photo),
        lambda found: _stack([face.numpy_view() for face in found]),
        stylizer.close,
    )


def _reference(bundle: TaskBundle, photo: _Array, faces: int) -> Runner:
    """The steps of the portable runtime, with the stylizer run by TFLite's own kernels."""
    model = StylizerModel(bundle.stylizer)
    interpreter = make_interpreter(bundle.stylizer, 1, xnnpack=False)
    index = interpreter.get_input_details()[0]["index"]
    output = interpreter.get_output_details()[0]["index"]

    def call() -> list[_Array]:
        pictures = []
        for face in find_faces(bundle, photo, faces):
            interpreter.set_tensor(
                index, model.to_values(face.crop.crop(photo, model.input_size))[None]
            )
            interpreter.invoke()
            pictures.append(_pixels(interpreter.get_tensor(output)[0]))
        return pictures

    return Runner(call, _stack)


def _face_finding(bundle: TaskBundle, photo: _Array, faces: int) -> Runner:
    finder = _finder(bundle, faces)

    def result(found: list[Face]) -> _Array:
        if not found:
            raise RunnerError("there is no face in the photo")
        return np.stack([face.landmarks for face in found])

    return Runner(lambda: finder.find(photo), result, finder.close)


def _crop(bundle: TaskBundle, photo: _Array) -> Runner:
    crop = find_faces(bundle, photo, 1)[0].crop
    size = StylizerModel(bundle.stylizer).input_size
    return Runner(lambda: crop.crop(photo, size), np.array)


def _finder(bundle: TaskBundle, faces: int) -> FaceFinder:
    models = FaceModels(bundle.detector, bundle.landmarks, "the bundle")
    return FaceFinder(models, max_faces=faces)


def find_faces(bundle: TaskBundle, photo: _Array, count: int) -> list[Face]:
    """Finds faces with the models of a bundle.

    Args:
      bundle: The bundle.
      photo: [height, width, 3] uint8 RGB.
      count: How many faces to find.

    Returns:
      `count` faces, the biggest first.

    Raises:
      RunnerError: the photo has fewer faces.
    """
    with _finder(bundle, count) as finder:
        found = finder.find(photo)
    if len(found) < count:
        raise RunnerError(f"found {len(found)} faces in the photo, but the case needs {count}")
    return found


def _pixels(values: _Array) -> npt.NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(values * 255.0), 0.0, 255.0), np.uint8)


def _stack(pictures: Sequence[_Array]) -> npt.NDArray[np.uint8]:
    if not pictures:
        raise RunnerError("there is no face in the photo")
    return np.stack(pictures)
