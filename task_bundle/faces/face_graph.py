"""MediaPipe's face landmark graph with a region of interest, reimplemented on LiteRT."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from task_bundle.errors import BundleError
from task_bundle.faces.face_models import FaceModels
from task_bundle.faces.region import Region
from task_bundle.tflite.litert_model import LitertModel
from task_bundle.tflite.metadata import normalization
from task_bundle.tflite.model import check_face_detector, check_face_landmarks

# The constants and the order of operations are those of MediaPipe's FaceDetectorGraph and
# FaceLandmarksDetectorGraph and of their calculators, in float32 as there. The last bit matters:
# photos are sampled at positions rounded to 1/32 of a pixel, and where a position rounds to another
# value than in MediaPipe, the landmarks move by a hundredth of a pixel and more.
_Floats = npt.NDArray[np.float32]

# The input side of BlazeFace short range, in pixels; and of its two anchor grids, the stride in
# pixels and the number of boxes that each cell proposes.
_DETECTOR_SIDE = 128
_GRIDS = ((8, 2), (16, 6))
_MIN_SCORE = 0.5
_MAX_LOGIT = 100.0
# Boxes whose intersection over union is greater show the same face.
_MIN_OVERLAP = 0.5
# The factor from the detector's box to what the landmark model sees.
_MARGIN = np.float32(1.5)
# OpenCV samples at multiples of 1/32 pixel. It computes the positions of a row in blocks of so many
# pixels, relative to the first of each block; this decides how positions halfway between two
# multiples are rounded.
_BITS = 5
_STEPS = 1 << _BITS
_BLOCK = 64


class FaceGraph:
    """Finds face landmarks like MediaPipe's FaceStylizer with a region of interest.

    FaceLandmarker does not accept a region of interest, and a photo that is cropped to the region
    gives other landmarks. In FaceStylizer's graph, and here, the region only restricts the
    detector; the landmark model also sees pixels outside of it.
    """

    def __init__(self, models: FaceModels, max_faces: int) -> None:
        """Loads the models.

        Args:
          models: the face models.
          max_faces: the largest number of faces to find.

        Raises:
          BundleError: a model has other inputs or outputs than MediaPipe's, its metadata lack the
            normalization of its input, or LiteRT cannot run it.
        """
        import cv2

        detector, landmarks = (
            f"{kind} of {models.source}" for kind in ("the face detector", "the landmark model")
        )
        check_face_detector(models.detector, detector)
        check_face_landmarks(models.landmarks, landmarks)
        self._max_faces = max_faces
        self._anchors = _anchors()
        self._detector = _PhotoModel(models.detector, detector, cv2.BORDER_CONSTANT)
        self._landmarks = _PhotoModel(models.landmarks, landmarks, cv2.BORDER_REPLICATE)

    def run(self, image: npt.NDArray[np.uint8], region: Region) -> list[npt.NDArray[np.float64]]:
        """Finds the faces in a region of a photo.

        Args:
          image: the photo, [height, width, 3] uint8 RGB.
          region: where to look for faces, and how the photo is rotated.

        Returns:
          The landmarks of each face, [478, 3] float64 in pixels of the photo, z in the same unit;
          in descending order of detection score.

        Raises:
          BundleError: a model fails, or an output is not finite.
        """
        photo = np.array([image.shape[1], image.shape[0]], np.float32)
        square = _Rect.of_region(region, photo)
        faces = []
        # Models from untrusted bundles may return arbitrarily large values.
        with np.errstate(over="ignore", invalid="ignore"):
            for detection in self._detect(image, square):
                rect = _Rect.of_detection(detection, square.matrix(photo), photo)
                if not rect.is_sound():
                    continue
                points, presence = self._landmarks.run(image, rect)
                if _sigmoid(presence)[0] > _MIN_SCORE:
                    points = points.reshape(-1, 3) / np.float32(self._landmarks.side)
                    parts = _projected(points, rect.matrix(photo)).astype(np.float64)
                    faces.append(parts * photo[[0, 1, 0]])
        return faces

    def _detect(self, image: npt.NDArray[np.uint8], square: "_Rect") -> list[_Floats]:
        """Returns the detected faces, each as [4, 2] relative to the square.

        The four points are the upper left corner, the lower right corner and the two eyes.
        """
        values, logits = self._detector.run(image, square)
        # Pairs of numbers: the center, width and height, and six points. All but the second are
        # offsets from the anchor.
        pairs = values.reshape(-1, 8, 2) / np.float32(_DETECTOR_SIDE)
        center, eyes = pairs[:, 0] + self._anchors, pairs[:, 2:4] + self._anchors[:, None]
        half = pairs[:, 1] / np.float32(2)
        first, last = center - half, center + half
        scores = _sigmoid(logits)
        kept = (scores >= _MIN_SCORE) & (last >= first).all(axis=1)
        detections = np.concatenate([np.stack([first, last], axis=1), eyes], axis=1)
        return _merged(detections[kept], scores[kept], self._max_faces)


class _PhotoModel:
    """A model whose input is a rectangle of a photo and of which two outputs are used.

    Attributes:
      side: the side of the model's input, in pixels.
    """

    def __init__(self, model: bytes, name: str, border: int) -> None:
        self._name = name
        self._border = border
        pixels = normalization(model)
        if pixels is None:
            raise BundleError(f"{name}'s metadata have no normalization of its input")
        # One value for all channels; MediaPipe accepts no others here.
        mean, std = (np.float32(numbers[0]) for numbers in pixels)
        first, last = (np.float32(0) - mean) / std, (np.float32(255) - mean) / std
        # In float64, because OpenCV rounds once after multiplying and adding.
        scale = np.float64((last - first) / np.float32(255))
        self._values = (np.arange(256) * scale + np.float64(first)).astype(np.float32)
        self._model = LitertModel(model, name)
        self.side = self._model.input_shape[1]

    def run(self, image: npt.NDArray[np.uint8], rect: "_Rect") -> list[_Floats]:
        """Returns the first two outputs for a rectangle of the photo, flattened."""
        picture = rect.read(image, self.side, self._border)
        outputs = [output.ravel() for output in self._model.run(self._values[picture][None])[:2]]
        if not all(np.isfinite(output).all() for output in outputs):
            raise BundleError(f"{self._name} gives values that are not finite numbers")
        return outputs


@dataclass(frozen=True, eq=False)
class _Rect:
    """A rotated rectangle in a photo.

    Attributes:
      center: [2], x and y in pixels.
      size: [2], width and height in pixels.
      angle: the rotation in radians, clockwise as seen.
    """

    center: _Floats
    size: _Floats
    angle: np.float32

    @classmethod
    def of_region(cls, region: Region, photo: _Floats) -> Self:
        """Returns the square around a region, the detector's input.

        Args:
          region: the region.
          photo: [2], width and height of the photo in pixels.
        """
        first = np.array([region.left, region.top])
        last = np.array([region.right, region.bottom])
        center, extent = (first + last) / 2, last - first
        if region.rotation_degrees % 180:  # The same square, apart from rounding.
            extent = extent[::-1] * photo[::-1] / photo
        # MediaPipe's Python code passes float64 results to the graph as float32.
        center, extent = center.astype(np.float32), extent.astype(np.float32)
        side = (extent * photo).max()
        angle = np.float32(-region.rotation_degrees * math.pi / 180)
        return cls(center * photo, np.array([side, side]), angle)

    @classmethod
    def of_detection(cls, detection: _Floats, matrix: _Floats, photo: _Floats) -> Self:
        """Returns the rectangle around a detected face, the landmark model's input.

        Args:
          detection: [4, 2], two corners and the eyes.
          matrix: [2, 3], from the detection's coordinates to coordinates relative to the photo's
            size.
          photo: [2], width and height of the photo in pixels.
        """
        corners = detection[[[0, 0], [1, 0], [1, 1], [0, 1]], [0, 1]]
        corners, eyes = _projected(corners, matrix), _projected(detection[2:], matrix) * photo
        first = corners.min(axis=0)
        extent = corners.max(axis=0) - first
        return cls(
            (first + extent / np.float32(2)) * photo,
            extent * _MARGIN * photo,
            _angle(*(eyes[1] - eyes[0]).tolist()),
        )

    def is_sound(self) -> bool:
        """Returns whether the rectangle is finite and its area is positive."""
        return bool(np.isfinite([*self.center, *self.size]).all() and self.size.min() > 0)

    def matrix(self, photo: _Floats) -> _Floats:
        """Returns the matrix [2, 3] from coordinates relative to the rectangle to the photo's.

        Both are relative: [0, 1] is the width or height of the rectangle or of the photo, whose
        size in pixels is `photo`.
        """
        width, height = self.size
        angle = float(self.angle)
        cos, sin, half = np.float32(math.cos(angle)), np.float32(math.sin(angle)), np.float32(0.5)
        columns = [
            [width * cos, -height * sin, -half * width * cos + half * height * sin],
            [width * sin, height * cos, -half * height * cos - half * width * sin],
        ]
        matrix = np.array(columns, np.float32)
        matrix[:, 2] += self.center
        return np.asarray(matrix * (1 / photo)[:, None])

    def read(self, image: npt.NDArray[np.uint8], side: int, border: int) -> npt.NDArray[np.uint8]:
        """Returns the rectangle's content as a picture, [side, side, 3] uint8."""
        import cv2

        target = np.array([[0, side], [0, 0], [side, 0], [side, side]], np.float32)
        matrix = np.asarray(cv2.getPerspectiveTransform(self.corners(), target), np.float64)
        return _warped(image, matrix, side, border)

    def corners(self) -> _Floats:
        """Returns the corners [4, 2] in pixels, clockwise from the lower left one."""
        # This is cv2.boxPoints of OpenCV 3 and 4. OpenCV 5 rounds differently.
        degrees = np.float32(float(self.angle * np.float32(180)) / math.pi)
        angle = float(degrees) * math.pi / 180
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        right = np.array([cos, sin]) * np.float32(0.5) * self.size[0]
        down = np.array([-sin, cos]) * np.float32(0.5) * self.size[1]
        left = np.array([self.center + down - right, self.center - down - right])
        return np.concatenate([left, np.float32(2) * self.center - left])


def _warped(
    image: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], side: int, border: int
) -> npt.NDArray[np.uint8]:
    """Samples like cv2.warpPerspective before OpenCV 5, at positions rounded to 1/32 of a pixel.

    Args:
      image: [height, width, 3] uint8.
      matrix: [3, 3], from coordinates in the image to coordinates in the picture.
      side: the side of the picture, in pixels.
      border: OpenCV's border mode, for positions outside the image.

    Returns:
      The picture, [side, side, 3] uint8.
    """
    import cv2

    across, down = np.arange(side), np.arange(side)[:, None]
    block = across // _BLOCK * _BLOCK
    x, y, scale = (
        a * block + b * down + c + a * (across - block)
        for a, b, c in cv2.invert(matrix)[1].tolist()
    )
    scale = _STEPS / scale
    # cv2.remap takes positions as 16-bit numbers, and no image is larger.
    limit = _STEPS << 15
    x, y = (np.rint(np.clip(v * scale, -limit, limit - 1)).astype(np.int32) for v in (x, y))
    pixels = np.stack([x >> _BITS, y >> _BITS], axis=2, dtype=np.int16, casting="unsafe")
    steps = ((y & _STEPS - 1) << _BITS | x & _STEPS - 1).astype(np.uint16)
    picture = cv2.remap(image, pixels, steps, cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(picture, np.uint8)


def _anchors() -> _Floats:
    """Returns the centers of the detector's anchors, [896, 2] relative to its input's size."""
    grids = []
    for stride, boxes in _GRIDS:
        cells = _DETECTOR_SIDE // stride
        y, x = np.mgrid[:cells, :cells].reshape(2, -1)
        grids.append(np.repeat((np.stack([x, y], axis=1) + 0.5) / cells, boxes, axis=0))
    return np.asarray(np.concatenate(grids), np.float32)


def _sigmoid(logits: _Floats) -> _Floats:
    # Computed in float64, because NumPy's float32 exp is less accurate than that of C.
    powers = np.exp(-np.clip(logits, -_MAX_LOGIT, _MAX_LOGIT).astype(np.float64))
    return np.asarray(1 / (1 + powers.astype(np.float32)))


def _angle(x: float, y: float) -> np.float32:
    """Returns the angle of a vector like C's atan2f, which rounds the quotient to float32."""
    if x == 0:
        return np.float32(math.atan2(y, x))
    angle = float(np.float32(math.atan(np.float32(abs(y / x)))))
    return np.float32(math.copysign(angle if x > 0 else math.pi - angle, y))


def _projected(points: _Floats, matrix: _Floats) -> _Floats:
    """Applies a matrix [2, 3] to points [n, 2 or 3]; z is scaled like x."""
    flat = points[:, :1] * matrix[:, 0] + points[:, 1:2] * matrix[:, 1] + matrix[:, 2]
    return np.concatenate([flat, points[:, 2:] * np.linalg.norm(matrix[:, 0])], axis=1)


def _merged(detections: _Floats, scores: _Floats, limit: int) -> list[_Floats]:
    """Merges overlapping detections: MediaPipe's weighted non-maximum suppression.

    The detection with the highest score and all that overlap it become one; this is repeated with
    the remaining ones.

    Args:
      detections: [n, points, 2]; the first two points are the corners of a box.
      scores: [n].
      limit: the largest number of merged detections.

    Returns:
      Means of detections weighted by their scores, each [points, 2], in descending order of score.
    """
    order = np.argsort(-scores, kind="stable")
    detections, scores = detections[order], scores[order]
    found: list[_Floats] = []
    while len(detections) and len(found) < limit:
        same = _overlaps(detections, detections[0]) > _MIN_OVERLAP
        if not same[0]:  # The box has no area. MediaPipe stops here, too.
            break
        # MediaPipe stores a corner and a size, and adds one by one, which np.sum does not.
        terms = detections[same]
        terms[:, 1] = terms[:, 0] + (terms[:, 1] - terms[:, 0])
        terms *= scores[same, None, None]
        mean = np.cumsum(terms, axis=0)[-1] / np.cumsum(scores[same])[-1]
        mean[1] = mean[0] + (mean[1] - mean[0])
        found.append(mean)
        detections, scores = detections[~same], scores[~same]
    return found


def _overlaps(boxes: _Floats, box: _Floats) -> _Floats:
    """Returns the intersection over union, [n], of boxes [n, >= 2, 2] with one box."""
    shared = np.minimum(boxes[:, 1], box[1]) - np.maximum(boxes[:, 0], box[0])
    area = np.maximum(shared, 0).prod(axis=1)
    union = (boxes[:, 1] - boxes[:, 0]).prod(axis=1) + (box[1] - box[0]).prod() - area
    return np.asarray(np.divide(area, union, out=np.zeros_like(area), where=union > 0))
