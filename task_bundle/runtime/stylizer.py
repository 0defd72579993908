"""FaceStylizer with the interface of MediaPipe's task, for any version of MediaPipe."""

import os
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError, FaceModelsError, InvalidArgumentError
from task_bundle.faces.alignment import Face, FaceFinder
from task_bundle.faces.face_models import FaceModels
from task_bundle.faces.region import Region
from task_bundle.faces.tracking import CropTracker
from task_bundle.forking import check_process, is_forked
from task_bundle.media.photo import as_photo
from task_bundle.runtime.native_stylizer import NativeStylizer, has_native_stylizer
from task_bundle.runtime.stylized_face import StylizedFace
from task_bundle.runtime.stylizer_model import StylizerModel
from task_bundle.tflite.model import describe, picture_size
from task_bundle.tflite.validation import check_loads

BACKENDS = ("auto", "native", "portable")


@dataclass(frozen=True)
class FaceStylizerOptions:
    """Options of a `FaceStylizer`.

    Attributes:
      base_options: for `create_from_options`, a `mediapipe.tasks.BaseOptions` with the path or the
        content of the bundle.
      backend: 'native' is Google's own graph. Only mediapipe 0.10.21 and older have it; it accepts
        one face, and runs Google's old bundles with their custom operators. 'portable' works with
        any mediapipe: FaceLandmarker finds the faces and LiteRT runs the stylizer. The pictures are
        the same. 'auto' is native if that exists and supports the other options, otherwise
        portable.
      num_faces: the largest number of faces to stylize in a photo.
      strength: blends the aligned photo (0) with the stylized picture (1), pixel by pixel. A
        strength that is set when the bundle is exported looks better, because it blends the
        networks' weights, and the photo does not show through.
      threads: the number of threads of the portable stylizer. MediaPipe chooses its own.
    """

    base_options: Any = None
    backend: str = "auto"
    num_faces: int = 1
    strength: float = 1.0
    threads: int = 1

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          InvalidArgumentError: a value is out of range, or options contradict each other.
        """
        if self.backend not in BACKENDS:
            raise InvalidArgumentError(
                f"backend must be one of {', '.join(BACKENDS)}, not {self.backend!r}"
            )
        if self.num_faces < 1:
            raise InvalidArgumentError(f"num_faces must be positive, not {self.num_faces}")
        if not 0.0 <= self.strength <= 1.0:
            raise InvalidArgumentError(f"strength must be in [0, 1], not {self.strength}")
        if self.threads < 1:
            raise InvalidArgumentError(f"threads must be positive, not {self.threads}")
        if self.backend == "native" and self.num_faces > 1:
            raise InvalidArgumentError(
                "the native backend takes one face; use 'portable' or 'auto' for more"
            )


class FaceStylizer:
    """Stylizes the faces of photos and videos with a bundle.

    It has the methods and options of Google's `mediapipe.tasks.vision.FaceStylizer`, and more. Use
    it in a `with` statement, or close it. Threads can share a stylizer, but only one call runs at a
    time; to work in parallel, create one in each thread. Processes that are forked after the first
    stylizer was created cannot use any: fork before, or start processes by 'spawn'.

    ```python
    from task_bundle import FaceStylizer, save_png

    with FaceStylizer.create_from_model_path("ink.task") as stylizer:
        face = stylizer.stylize("photo.jpg")
        if face is not None:
            save_png("face.png", face.image)
    ```
    """

    def __init__(self, bundle: TaskBundle, options: FaceStylizerOptions | None = None) -> None:
        """Creates a stylizer from a bundle.

        Args:
          bundle: the bundle.
          options: the options. Of `base_options` only the delegate is used.

        Raises:
          BundleError: the bundle is not safe to load, or the backend cannot run it.
          ForkedProcessError: this process was forked after MediaPipe was used.
          MissingDependencyError: mediapipe is not installed, or the native backend was asked
            for and mediapipe has no FaceStylizer.
          InvalidArgumentError: the options contradict each other.
        """
        check_process()
        self._bundle = bundle
        self._options = options or FaceStylizerOptions()
        delegate = getattr(self._options.base_options, "delegate", None)
        self._backend = _choose_backend(self._options, delegate)
        self._lock = threading.Lock()
        self._open = True
        self._input_size: tuple[int, int] | None = None
        self._model: StylizerModel | None = None
        self._native: NativeStylizer | None = None
        self._video: FaceFinder | None = None
        self._crops = CropTracker()
        check_loads(bundle.entries(), "the bundle")
        # Created in this order, because nothing has to be closed if the network cannot be loaded.
        if self._backend == "portable":
            self._model = StylizerModel(bundle.stylizer, self._options.threads)
        self._finder = self._face_finder()
        if self._backend == "native":
            try:
                self._native = NativeStylizer(bundle, delegate)
            except BaseException:
                self._finder.close()
                raise

    @classmethod
    def create_from_model_path(
        cls, model_path: str | os.PathLike[str], options: FaceStylizerOptions | None = None
    ) -> Self:
        """Creates a stylizer from a bundle file.

        ```python
        from task_bundle import FaceStylizer, FaceStylizerOptions

        options = FaceStylizerOptions(num_faces=4)
        with FaceStylizer.create_from_model_path("ink.task", options) as stylizer:
            faces = stylizer.stylize_all("photo.jpg")
        ```

        Args:
          model_path: the path of the `.task` file.
          options: the options, without `base_options`.

        Returns:
          The stylizer.

        Raises:
          BundleError: the file is not a bundle of a face stylizer, is not safe to load, or the
            backend cannot run it.
          MissingDependencyError: mediapipe is not installed, or the native backend was asked
            for and mediapipe has no FaceStylizer.
          OSError: the file cannot be read.
          InvalidArgumentError: the options contradict each other.
        """
        return cls.create_from_bundle(TaskBundle.open(model_path), options)

    @classmethod
    def create_from_model_buffer(
        cls, model_buffer: bytes, options: FaceStylizerOptions | None = None
    ) -> Self:
        """Creates a stylizer from the content of a bundle file.

        Args:
          model_buffer: the content of a `.task` file.
          options: the options, without `base_options`.

        Returns:
          The stylizer.

        Raises:
          BundleError: the content is not a bundle of a face stylizer, is not safe to load, or the
            backend cannot run it.
          MissingDependencyError: as for `create_from_model_path`.
          InvalidArgumentError: the options contradict each other.
        """
        return cls.create_from_bundle(TaskBundle.open(bytes(model_buffer)), options)

    @classmethod
    def create_from_bundle(
        cls, bundle: TaskBundle, options: FaceStylizerOptions | None = None
    ) -> Self:
        """Creates a stylizer from a bundle.

        Args:
          bundle: the bundle.
          options: the options, without `base_options`.

        Returns:
          The stylizer.

        Raises:
          BundleError: the bundle is not safe to load, or the backend cannot run it.
          MissingDependencyError: as for `create_from_model_path`.
          InvalidArgumentError: the options contradict each other.
        """
        if options is not None and options.base_options is not None:
            raise InvalidArgumentError(
                "base_options name a bundle: call create_from_options with them"
            )
        return cls(bundle, options)

    @classmethod
    def create_from_options(cls, options: FaceStylizerOptions) -> Self:
        """Creates a stylizer from the bundle in `options.base_options`.

        Args:
          options: the options, with a `mediapipe.tasks.BaseOptions`. If it has both a path and a
            content, the path is used. The GPU delegate needs the native backend.

        Returns:
          The stylizer.

        Raises:
          BundleError: the file is not a bundle of a face stylizer, is not safe to load, or the
            backend cannot run it.
          InvalidArgumentError: there are no base options, they have no path and no content, or the
            options contradict each other.
          MissingDependencyError: as for `create_from_model_path`.
          OSError: the file cannot be read.
        """
        base = options.base_options
        path = getattr(base, "model_asset_path", None)
        source = getattr(base, "model_asset_buffer", None) if path is None else path
        if source is None:
            raise InvalidArgumentError("base_options must name the bundle by path or content")
        return cls(TaskBundle.open(source), options)

    @property
    def backend(self) -> str:
        """The backend in use, 'native' or 'portable'."""
        return self._backend

    def stylize(self, image: Any, image_processing_options: Any = None) -> StylizedFace | None:
        """Stylizes a face in a photo.

        Args:
          image: a `mediapipe.Image`, a uint8 array (gray, RGB or RGBA), a Pillow image, or a path;
            see `photo.as_photo`.
          image_processing_options: a `mediapipe.tasks.vision.ImageProcessingOptions`, with a region
            of interest in which to look for the face, and a rotation that makes the face upright.

        Returns:
          The stylized face, with the `numpy_view()` of Google's task; None if no face was found. If
          `num_faces` is 1 it is the face with the highest detection score, otherwise the largest.

        Raises:
          BundleError: the stylizer network fails.
          ForkedProcessError: this process was forked after MediaPipe was used.
          ImageError: `image` is none of these, or cannot be read.
          InvalidArgumentError: the region or the rotation is invalid.
          ValueError: the stylizer is closed.
        """
        return next(iter(self.stylize_all(image, image_processing_options)), None)

    def stylize_for_video(
        self, image: Any, timestamp_ms: int, image_processing_options: Any = None
    ) -> StylizedFace | None:
        """Stylizes a face in the next frame of a video, always with the portable backend.

        The face is tracked from frame to frame and its crop moves with it, so that the picture does
        not move while the face does not.

        Args:
          image: the frame, as for `stylize`.
          timestamp_ms: the time of the frame in milliseconds, greater than that of the last one. A
            stylizer can only process one video, but photos may come between the frames.
          image_processing_options: as for `stylize`; the same for all frames.

        Returns:
          As for `stylize`. The crop is not rounded to whole pixels.

        Raises:
          BundleError: the stylizer network fails, or LiteRT cannot run it.
          ForkedProcessError: this process was forked after MediaPipe was used.
          ImageError: `image` is not a picture, or cannot be read.
          InvalidArgumentError: the time does not increase, or the region or the rotation is
            invalid.
          TypeError: `timestamp_ms` is not an integer.
          ValueError: the stylizer is closed.
        """
        faces = self.stylize_all(image, image_processing_options, timestamp_ms)
        return next(iter(faces), None)

    def stylize_all(
        self, image: Any, image_processing_options: Any = None, timestamp_ms: int | None = None
    ) -> list[StylizedFace]:
        """Stylizes up to `num_faces` faces in a photo, or in the next frame of a video.

        ```python
        from task_bundle import FaceStylizer, FaceStylizerOptions, composite, save_png

        options = FaceStylizerOptions(num_faces=4)
        with FaceStylizer.create_from_model_path("ink.task", options) as stylizer:
            faces = stylizer.stylize_all("photo.jpg")
        save_png("everybody.png", composite("photo.jpg", faces))
        ```

        Args:
          image: the photo or frame, as for `stylize`.
          image_processing_options: as for `stylize`.
          timestamp_ms: for a frame, as for `stylize_for_video`; None for a photo.

        Returns:
          The stylized faces in descending order of crop size; an empty list if there are none.

        Raises:
          BundleError: the stylizer network fails, or LiteRT cannot run it.
          ForkedProcessError: this process was forked after MediaPipe was used.
          ImageError: `image` is not a picture, or cannot be read.
          InvalidArgumentError: the time does not increase, or the region or the rotation is
            invalid.
          TypeError: `timestamp_ms` is not an integer.
          ValueError: the stylizer is closed.
        """
        # Before the lock, which another thread of the parent may have held.
        check_process()
        with self._lock:
            photo, region, faces = self._find(image, image_processing_options, timestamp_ms)
            native = self._native if timestamp_ms is None else None
            results = []
            for face in faces:
                picture = (
                    self._run_model(photo, face) if native is None else native.run(photo, region)
                )
                if picture is not None:
                    results.append(StylizedFace(self._blended(photo, face, picture), face))
            return results

    def align(
        self, image: Any, image_processing_options: Any = None
    ) -> npt.NDArray[np.uint8] | None:
        """Crops the face of a photo as the stylizer sees it.

        Args:
          image: as for `stylize`.
          image_processing_options: as for `stylize`.

        Returns:
          [height, width, 3] uint8 RGB of the stylizer's input size, with the face upright; None if
          no face was found.

        Raises:
          ForkedProcessError: this process was forked after MediaPipe was used.
          ImageError: `image` is not a picture, or cannot be read.
          InvalidArgumentError: the region or the rotation is invalid.
          ValueError: the stylizer is closed.
        """
        # Before the lock, which another thread of the parent may have held.
        check_process()
        with self._lock:
            photo, _, faces = self._find(image, image_processing_options, None)
            if not faces:
                return None
            if self._input_size is None:
                self._input_size = picture_size(describe(self._bundle.stylizer).inputs[0])
            return faces[0].crop.crop(photo, self._input_size)

    def close(self) -> None:
        """Frees the models after calls in other threads have ended. A second call does nothing.

        In a process that was forked after MediaPipe was used, the models stay in memory.
        """
        if is_forked():
            self._open = False
            return
        with self._lock:
            self._open = False
            for part in (self._finder, self._video, self._native):
                if part is not None:
                    part.close()
            self._video = self._native = self._model = None

    def __enter__(self) -> Self:
        """Returns the stylizer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the stylizer."""
        self.close()

    def _find(
        self, image: Any, options: Any, timestamp_ms: int | None
    ) -> tuple[npt.NDArray[np.uint8], Region, list[Face]]:
        if not self._open:
            raise ValueError("the face stylizer is closed")
        photo = as_photo(image)
        region = Region.from_options(options, *photo.shape[:2])
        if timestamp_ms is None:
            return photo, region, self._finder.find(photo, region)
        if self._video is None:
            self._video = self._face_finder(video=True)
        faces = self._video.track(photo, timestamp_ms, region)
        return photo, region, self._crops.update(photo, faces, timestamp_ms / 1000)

    def _run_model(self, photo: npt.NDArray[np.uint8], face: Face) -> npt.NDArray[np.uint8]:
        if self._model is None:  # The first frame of a video with the native backend.
            self._model = StylizerModel(self._bundle.stylizer, self._options.threads)
        return self._model.run(face.crop.crop(photo, self._model.input_size))

    def _blended(
        self, photo: npt.NDArray[np.uint8], face: Face, picture: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8]:
        import cv2

        strength = self._options.strength
        if strength == 1.0:
            return picture
        aligned = face.crop.crop(photo, (picture.shape[1], picture.shape[0]))
        return np.asarray(cv2.addWeighted(picture, strength, aligned, 1 - strength, 0), np.uint8)

    def _face_finder(self, video: bool = False) -> FaceFinder:
        models = FaceModels(self._bundle.detector, self._bundle.landmarks, "the bundle")
        try:
            return FaceFinder(models, self._options.num_faces, video)
        except FaceModelsError as error:
            raise BundleError(str(error)) from error


def _choose_backend(options: FaceStylizerOptions, delegate: Any) -> str:
    """Returns the backend to use, 'native' or 'portable'."""
    if getattr(delegate, "name", None) == "GPU":
        if options.backend == "portable" or options.num_faces > 1:
            raise InvalidArgumentError(
                "the GPU delegate needs the native backend, which takes one face; leave the"
                " delegate out"
            )
        return "native"
    if options.backend != "auto":
        return options.backend
    return "native" if options.num_faces == 1 and has_native_stylizer() else "portable"
