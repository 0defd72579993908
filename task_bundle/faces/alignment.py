"""Finds faces and aligns them: the crop that MediaPipe's FaceStylizer works on."""

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from task_bundle.errors import FaceModelsError, ForkedProcessError, InvalidArgumentError
from task_bundle.faces.face_graph import FaceGraph
from task_bundle.faces.face_models import FaceModels, find_face_models
from task_bundle.faces.region import Region
from task_bundle.forking import check_process, create_task, is_forked
from task_bundle.media.images import check_image
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.silence import first_call_silence, native_errors_afterwards

# Indices of mesh points, as in MediaPipe's FaceToRect calculator. Left and right are as in the
# picture, not as the person sees them.
_LEFT_EYE = (33, 133)
_RIGHT_EYE = (263, 362)
_MOUTH = (61, 291)
_MESH_POINTS = 468


@dataclass(frozen=True)
class FaceCrop:
    """A rotated square around a face, in pixels of the photo.

    Attributes:
      center_x: x of the center, from the left edge of the photo.
      center_y: y of the center, from the top edge of the photo.
      side: the length of a side.
      rotation: the angle by which the square is rotated, in radians, clockwise as seen.
    """

    center_x: float
    center_y: float
    side: float
    rotation: float

    def place(self) -> str:
        """Says in words where in the photo the square is."""
        x, y, side = (f"{value:.0f}" for value in (self.center_x, self.center_y, self.side))
        return f"at x {x}, y {y}, {side} pixels wide"

    @classmethod
    def from_landmarks(cls, landmarks: npt.ArrayLike, whole_pixels: bool = True) -> Self:
        """Computes the crop from face landmarks like MediaPipe's FaceToRect calculator.

        This is the alignment of FFHQ (Karras et al., A Style-Based Generator Architecture, 2019):
        the horizontal axis is the mean of the line through the eyes and of the normal to the line
        from the eyes to the mouth; the side is 4.0 times the distance of the eyes or 3.6 times the
        distance from the eyes to the mouth, whichever is greater.

        Args:
          landmarks: [N >= 468, 2 or 3] face mesh points, in pixels of the photo.
          whole_pixels: whether center and side are rounded to whole pixels, as in MediaPipe.

        Returns:
          The crop.

        Raises:
          InvalidArgumentError: the array has another shape, is not finite, or its points coincide.
        """
        points = np.asarray(landmarks, np.float64)
        if points.ndim != 2 or points.shape[0] < _MESH_POINTS or points.shape[1] not in (2, 3):
            raise InvalidArgumentError(
                f"landmarks have shape {list(points.shape)}, not [>= 468, 2 or 3]"
            )
        left, right, mouth = (
            points[list(pair), :2].mean(axis=0) for pair in (_LEFT_EYE, _RIGHT_EYE, _MOUTH)
        )
        eyes = (left + right) / 2
        across, down = right - left, mouth - eyes
        axis = across + np.array([down[1], -down[0]])
        center = eyes + 0.1 * down
        side = max(3.6 * math.hypot(*down), 4.0 * math.hypot(*across))
        if not (np.isfinite(center).all() and math.isfinite(side)):
            raise InvalidArgumentError("landmarks are not finite")
        if _rounded(side) < 1:
            raise InvalidArgumentError("landmarks coincide: there is no face to crop")
        x, y, side = (_rounded(v) if whole_pixels else float(v) for v in (*center, side))
        return cls(x, y, side, rotation=math.atan2(axis[1], axis[0]))

    def matrix(self, size: int | tuple[int, int]) -> npt.NDArray[np.float64]:
        """Returns the matrix from coordinates in the photo to coordinates in the cropped picture.

        MediaPipe maps the corners of the rotated square to (0, 0) and (size, size) and then samples
        the photo at integer coordinates. Integer coordinates are therefore pixel centers, in the
        photo and in the cropped picture. If the picture is not square, the rotated square is
        centered in it, as large as fits, and the rest shows more of the photo.

        Args:
          size: the side of the picture, or its width and height, in pixels.

        Returns:
          [3, 3] float64, affine: matrix @ (x, y, 1) in the photo is (u, v, 1) in the picture.

        Raises:
          InvalidArgumentError: `size` is not positive.
        """
        width, height = _width_and_height(size)
        if width < 1 or height < 1:
            raise InvalidArgumentError(f"a crop's size must be positive, not {size}")
        scale = min(width, height) / self.side
        a, b = scale * math.cos(self.rotation), scale * math.sin(self.rotation)
        x, y = self.center_x, self.center_y
        return np.array(
            [
                [a, b, width / 2 - a * x - b * y],
                [-b, a, height / 2 + b * x - a * y],
                [0.0, 0.0, 1.0],
            ]
        )

    def inverse(self, size: int | tuple[int, int]) -> npt.NDArray[np.float64]:
        """Returns the matrix from coordinates in the cropped picture to coordinates in the photo.

        Args:
          size: the side of the picture, or its width and height, in pixels.

        Returns:
          [3, 3] float64, affine: the inverse of `matrix(size)`.

        Raises:
          InvalidArgumentError: `size` is not positive.
        """
        return np.linalg.inv(self.matrix(size))

    def crop(
        self, image: npt.NDArray[np.uint8], size: int | tuple[int, int]
    ) -> npt.NDArray[np.uint8]:
        """Crops the face out of the photo like MediaPipe.

        The interpolation is bilinear and not antialiased where the picture is much smaller than the
        face, as in the native graph. Pixels outside the photo are black.

        Args:
          image: the photo, [height, width, 3] uint8.
          size: the side of the picture, or its width and height, in pixels; see `matrix`.

        Returns:
          [size, size, 3] or [height, width, 3] uint8.

        Raises:
          ImageError: `image` is not such an array.
          InvalidArgumentError: `size` is not positive.
        """
        import cv2

        check_image(image)
        result = cv2.warpPerspective(
            image,
            self.matrix(size),
            _width_and_height(size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
        )
        return np.asarray(result, np.uint8)


# Widths of the margin that is added around a picture in which no face was found, as fractions of
# the picture's longer side. They are tried in this order.
_MARGINS = (0.5, 0.25)


@dataclass(frozen=True, eq=False)
class Face:
    """A face found in a photo.

    Attributes:
      landmarks: [478, 3] float64 in pixels of the photo; z is the depth in the same unit. The last
        ten are the irises, or points of the eye contours with the models of mediapipe's wheel.
      crop: the rotated square that the stylizer sees.
    """

    landmarks: npt.NDArray[np.float64]
    crop: FaceCrop

    def __repr__(self) -> str:
        """Names the place of the face in the photo."""
        return f"<Face {self.crop.place()}>"


class FaceFinder:
    """Finds faces with MediaPipe's FaceLandmarker. Use it in a `with` statement, or close it."""

    def __init__(
        self, models: FaceModels | None = None, max_faces: int = 4, video: bool = False
    ) -> None:
        """Loads the models.

        Args:
          models: the face models; `find_face_models()` if None.
          max_faces: the largest number of faces to find in a picture. If it is 1, the face is the
            one with the highest detection score, as in MediaPipe's FaceStylizer.
          video: whether the pictures are frames of a video, for `track`, or independent of each
            other, for `find`.

        Raises:
          FaceModelsError: no models were found, or MediaPipe cannot open them.
          MissingDependencyError: mediapipe is not installed.
          ForkedProcessError: this process was forked after MediaPipe was used.
          InvalidArgumentError: `max_faces` is not positive.
        """
        if max_faces < 1:
            raise InvalidArgumentError(f"max_faces must be positive, not {max_faces}")
        models = models or find_face_models()
        self._models = models
        self._max_faces = max_faces
        self._graph: FaceGraph | None = None
        self._mediapipe = import_mediapipe()
        self._video = video
        self._time = -1
        self._first_call = first_call_silence()
        tasks = self._mediapipe.tasks
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_buffer=models.landmarker_task()),
            running_mode=getattr(tasks.vision.RunningMode, "VIDEO" if video else "IMAGE"),
            num_faces=max_faces,
        )
        try:
            with native_errors_afterwards():
                self._landmarker: Any = create_task(
                    lambda: tasks.vision.FaceLandmarker.create_from_options(options)
                )
        except ForkedProcessError:
            raise
        # MediaPipe 1.x raises errors of many types, such as FileNotFoundError for missing metadata.
        except Exception as error:
            raise FaceModelsError(
                f"MediaPipe cannot open the face models of {models.source}: {error}"
            ) from error

    def find(self, image: npt.NDArray[np.uint8], region: Region | None = None) -> list[Face]:
        """Finds the faces in a picture.

        Args:
          image: [height, width, 3] uint8 RGB.
          region: where to look for faces; everywhere if None.

        Returns:
          The faces in descending order of crop size; an empty list if there are none.

        Raises:
          BundleError: a region is given, and the models have other inputs or outputs than
            MediaPipe's, or LiteRT cannot run them.
          ForkedProcessError: this process was forked after MediaPipe was used.
          ImageError: `image` is not such an array.
          ValueError: the finder is closed, or is one for videos.
        """
        if self._video:
            raise ValueError("this face finder is for videos: call track")
        self._check(image)
        if region is None or region.is_all:
            with self._first_call():
                result = self._landmarker.detect(self._frame(image), self._options(region))
            return _faces(_landmarks(result, image), whole_pixels=True)
        if self._graph is None:
            self._graph = FaceGraph(self._models, self._max_faces)
        return _faces(self._graph.run(np.ascontiguousarray(image), region), whole_pixels=True)

    def find_with_margins(self, image: npt.NDArray[np.uint8]) -> list[Face]:
        """Finds the faces in a picture, and looks again with a margin around it if there are none.

        In a tight crop the detector misses faces, above all drawn ones.

        Args:
          image: [height, width, 3] uint8 RGB.

        Returns:
          As `find`, in pixels of `image`; crops may extend past its edges.

        Raises:
          ForkedProcessError: this process was forked after MediaPipe was used.
          ImageError: `image` is not such an array.
          ValueError: the finder is closed, or is one for videos.
        """
        faces = self.find(image)
        for margin in _MARGINS:
            if faces:
                break
            width = int(margin * max(image.shape[:2]))
            wider = np.pad(image, ((width, width), (width, width), (0, 0)), "edge")
            shift = np.array([width, width, 0.0])
            faces = _faces([face.landmarks - shift for face in self.find(wider)], whole_pixels=True)
        return faces

    def track(
        self, image: npt.NDArray[np.uint8], timestamp_ms: int, region: Region | None = None
    ) -> list[Face]:
        """Finds the faces in the next frame of a video.

        MediaPipe tracks faces from frame to frame, and runs the detector only while it tracks fewer
        than `max_faces`.

        Args:
          image: [height, width, 3] uint8 RGB.
          timestamp_ms: the time of the frame in milliseconds, greater than that of the last one.
          region: where to look for faces, the same for all frames; everywhere if None.

        Returns:
          The faces, as from `find`, but with crops that are not rounded to whole pixels.

        Raises:
          ForkedProcessError: this process was forked after MediaPipe was used.
          ImageError: `image` is not such an array.
          InvalidArgumentError: `timestamp_ms` is negative or does not increase.
          TypeError: `timestamp_ms` is not an integer.
          ValueError: the finder is closed, or is not for videos.
        """
        if not self._video:
            raise ValueError("this face finder is for single pictures: call find")
        # MediaPipe does not accept NumPy's integers.
        timestamp_ms = operator.index(timestamp_ms)
        if timestamp_ms <= self._time:
            raise InvalidArgumentError(
                "the timestamps of a video's frames must increase: got"
                f" {timestamp_ms} ms after {self._time} ms"
                if self._time >= 0
                else f"a timestamp must not be negative: got {timestamp_ms} ms"
            )

        self._check(image)
        picture, options, matrix = image, self._options(region), np.eye(2, 3)
        if region is not None and not region.is_all:
            # FaceLandmarker accepts no region of interest, so it gets the cropped region instead.
            picture, matrix = region.cut(image)
            options = self._options(None)
        with self._first_call():
            result = self._landmarker.detect_for_video(self._frame(picture), timestamp_ms, options)
        self._time = timestamp_ms
        landmarks = _landmarks(result, picture)
        for points in landmarks:
            points[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return _faces(landmarks, whole_pixels=False)

    def _check(self, image: npt.NDArray[np.uint8]) -> None:
        if self._landmarker is None:
            raise ValueError("the face finder is closed")
        check_process()
        check_image(image)

    def _frame(self, picture: npt.NDArray[np.uint8]) -> Any:
        return self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture)
        )

    def _options(self, region: Region | None) -> Any:
        """Returns `ImageProcessingOptions` with the region's rotation only."""
        return self._mediapipe.tasks.vision.ImageProcessingOptions(
            rotation_degrees=0 if region is None else region.rotation_degrees
        )

    def close(self) -> None:
        """Frees the models. A second call does nothing."""
        if self._landmarker is not None:
            # In a forked process the task would wait for threads that do not exist there.
            if not is_forked():
                self._landmarker.close()
            self._landmarker = self._graph = None

    def __enter__(self) -> Self:
        """Returns the finder itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the finder."""
        self.close()


def _landmarks(result: Any, picture: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float64]]:
    """Returns the landmarks of a FaceLandmarkerResult in pixels of the picture."""
    height, width = picture.shape[:2]
    # MediaPipe's coordinates are relative to the picture's size; z has the scale of x.
    return [
        np.array([(p.x * width, p.y * height, p.z * width) for p in points])
        for points in result.face_landmarks
    ]


def _faces(landmarks: Iterable[npt.NDArray[np.float64]], whole_pixels: bool) -> list[Face]:
    """Makes faces of landmarks, without duplicates and in descending order of crop size."""
    faces: list[Face] = []
    for points in landmarks:
        face = Face(points, FaceCrop.from_landmarks(points, whole_pixels))
        if not any(_same(face, other) for other in faces):
            faces.append(face)
    return sorted(faces, key=lambda face: face.crop.side, reverse=True)


def _same(face: Face, other: Face) -> bool:
    """Returns whether two sets of landmarks belong to the same face."""
    distance = np.linalg.norm((face.landmarks - other.landmarks)[:, :2], axis=1).mean()
    # The mesh points of two faces cheek to cheek are half a side apart.
    return bool(distance < 0.1 * min(face.crop.side, other.crop.side))


def _width_and_height(size: int | tuple[int, int]) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


def _rounded(value: float) -> float:
    # Rounds halves away from zero, as C++ does.
    return math.copysign(math.floor(abs(value) + 0.5), value)
