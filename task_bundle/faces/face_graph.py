"""MediaPipe's graph from a photo and a region of interest to face landmarks, run in LiteRT."""

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

# The numbers and the order of operations are those of MediaPipe's FaceDetectorGraph and
# FaceLandmarksDetectorGraph and the calculators in them, in float32 as there. The last bit counts:
# pixels are read at 32nds of a pixel, the nearest to the computed place, and where some of them are
# other ones the landmarks move by a hundredth of a pixel and more.
_Floats = npt.NDArray[np.float32]

# BlazeFace short range looks at so many pixels, from the cells of two grids: their strides in
# pixels, and how many boxes each of their cells proposes.
_DETECTOR_SIDE = 128
_GRIDS = ((8, 2), (16, 6))
_MIN_SCORE = 0.5
_MAX_LOGIT = 100.0
# Boxes that overlap more, as intersection over union, show the same face.
_MIN_OVERLAP = 0.5
# How much more than the detector's box the landmark model sees.
_MARGIN = np.float32(1.5)
# OpenCV reads at 32nds of a pixel, and computes the places in a row of so many pixels from that of
# the first. Where a place lies in the middle between two 32nds, this decides.
_BITS = 5
_STEPS = 1 << _BITS
_BLOCK = 64


class FaceGraph:
    """Finds face landmarks as MediaPipe's FaceStylizer does where it is given a region of interest.

    FaceLandmarker takes none, and has other landmarks for a part of the photo than for all of it.
    Here as there only the detector is told where to look: the landmark model reads the photo as
    far as it wants to.
    """

    def __init__(self, models: FaceModels, max_faces: int) -> None:
        """Loads the models.

        Args:
          models: the face models.
          max_faces: how many faces to look for.

        Raises:
          BundleError: a model has another form than MediaPipe's, its metadata do not say how pixels
            become its input, or LiteRT cannot run it.
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
          region: where to look for faces, and how the photo is turned.

        Returns:
          The landmarks of each face, [478, 3] in pixels of the photo, z in the scale of x; first
          those of the face that the detector is surest of.

        Raises:
          BundleError: a model fails, or gives values that are not numbers.
        """
        photo = np.array([image.shape[1], image.shape[0]], np.float32)
        square = _Rect.of_region(region, photo)
        faces = []
        # A stranger's models may give values as big as they like.
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
        """Returns the upper left and lower right corner and the eyes of each face.

        They are [4, 2], in parts of the square.
        """
        values, logits = self._detector.run(image, square)
        # Offsets from the anchor, but for the second: centre, width and height, six points.
        pairs = values.reshape(-1, 8, 2) / np.float32(_DETECTOR_SIDE)
        center, eyes = pairs[:, 0] + self._anchors, pairs[:, 2:4] + self._anchors[:, None]
        half = pairs[:, 1] / np.float32(2)
        first, last = center - half, center + half
        scores = _sigmoid(logits)
        kept = (scores >= _MIN_SCORE) & (last >= first).all(axis=1)
        detections = np.concatenate([np.stack([first, last], axis=1), eyes], axis=1)
        return _merged(detections[kept], scores[kept], self._max_faces)


class _PhotoModel:
    """A model that sees a part of a photo, and of whose outputs the first two count.

    Attributes:
      side: of the picture that it takes, in pixels.
    """

    def __init__(self, model: bytes, name: str, border: int) -> None:
        self._name = name
        self._border = border
        pixels = normalization(model)
        if pixels is None:
            raise BundleError(f"{name}'s metadata do not say how pixels become its input")
        # One for all channels: MediaPipe takes no others.
        mean, std = (np.float32(numbers[0]) for numbers in pixels)
        first, last = (np.float32(0) - mean) / std, (np.float32(255) - mean) / std
        # OpenCV multiplies and adds with a single rounding.
        scale = np.float64((last - first) / np.float32(255))
        self._values = (np.arange(256) * scale + np.float64(first)).astype(np.float32)
        self._model = LitertModel(model, name)
        self.side = self._model.input_shape[1]

    def run(self, image: npt.NDArray[np.uint8], rect: "_Rect") -> list[_Floats]:
        """Returns the outputs for what a rectangle of the photo shows, flattened."""
        picture = rect.read(image, self.side, self._border)
        outputs = [output.ravel() for output in self._model.run(self._values[picture][None])[:2]]
        if not all(np.isfinite(output).all() for output in outputs):
            raise BundleError(f"{self._name} gives values that are not finite numbers")
        return outputs


@dataclass(frozen=True, eq=False)
class _Rect:
    """A rotated rectangle of a photo.

    Attributes:
      center: [2], in pixels.
      size: width and height in pixels.
      angle: radians by which it is turned clockwise as seen.
    """

    center: _Floats
    size: _Floats
    angle: np.float32

    @classmethod
    def of_region(cls, region: Region, photo: _Floats) -> Self:
        """Returns the square about a region that the detector sees; `photo` is its size."""
        first = np.array([region.left, region.top])
        last = np.array([region.right, region.bottom])
        center, extent = (first + last) / 2, last - first
        if region.rotation_degrees % 180:  # The same square but for the last bit.
            extent = extent[::-1] * photo[::-1] / photo
        # What MediaPipe's Python has computed it hands to its graph as float32.
        center, extent = center.astype(np.float32), extent.astype(np.float32)
        side = (extent * photo).max()
        angle = np.float32(-region.rotation_degrees * math.pi / 180)
        return cls(center * photo, np.array([side, side]), angle)

    @classmethod
    def of_detection(cls, detection: _Floats, matrix: _Floats, photo: _Floats) -> Self:
        """Returns the rectangle that the landmark model sees.

        Args:
          detection: two corners and the eyes, [4, 2].
          matrix: [2, 3], from the detection to parts of the photo's sides.
          photo: its size.
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
        """Whether the rectangle is finite and has an area."""
        return bool(np.isfinite([*self.center, *self.size]).all() and self.size.min() > 0)

    def matrix(self, photo: _Floats) -> _Floats:
        """Returns the matrix [2, 3] from parts of the rectangle's sides to parts of the photo's."""
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
        """Returns what the rectangle shows as a picture [side, side, 3]."""
        import cv2

        target = np.array([[0, side], [0, 0], [side, 0], [side, side]], np.float32)
        matrix = np.asarray(cv2.getPerspectiveTransform(self.corners(), target), np.float64)
        return _warped(image, matrix, side, border)

    def corners(self) -> _Floats:
        """Returns the corners [4, 2] in pixels, clockwise from the lower left one."""
        # As cv2.boxPoints of OpenCV 3 and 4; that of OpenCV 5 rounds otherwise.
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
    """Does what cv2.warpPerspective did until OpenCV 5, which reads between the 32nds of a pixel.

    Args:
      image: [height, width, 3] uint8.
      matrix: [3, 3], from its pixels to the picture's.
      side: of the picture, in pixels.
      border: what to read outside the image, as OpenCV names it.

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
    # Beyond 16 bits there is no image any more.
    limit = _STEPS << 15
    x, y = (np.rint(np.clip(v * scale, -limit, limit - 1)).astype(np.int32) for v in (x, y))
    pixels = np.stack([x >> _BITS, y >> _BITS], axis=2, dtype=np.int16, casting="unsafe")
    steps = ((y & _STEPS - 1) << _BITS | x & _STEPS - 1).astype(np.uint16)
    picture = cv2.remap(image, pixels, steps, cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(picture, np.uint8)


def _anchors() -> _Floats:
    """Returns the middle of the cell that each of the detector's boxes belongs to, [896, 2]."""
    grids = []
    for stride, boxes in _GRIDS:
        cells = _DETECTOR_SIDE // stride
        y, x = np.mgrid[:cells, :cells].reshape(2, -1)
        grids.append(np.repeat((np.stack([x, y], axis=1) + 0.5) / cells, boxes, axis=0))
    return np.asarray(np.concatenate(grids), np.float32)


def _sigmoid(logits: _Floats) -> _Floats:
    # C's functions of float32 are exact to the last bit but one, NumPy's are not.
    powers = np.exp(-np.clip(logits, -_MAX_LOGIT, _MAX_LOGIT).astype(np.float64))
    return np.asarray(1 / (1 + powers.astype(np.float32)))


def _angle(x: float, y: float) -> np.float32:
    """Returns the angle of a vector as C does: of the quotient rounded to float32."""
    if x == 0:
        return np.float32(math.atan2(y, x))
    angle = float(np.float32(math.atan(np.float32(abs(y / x)))))
    return np.float32(math.copysign(angle if x > 0 else math.pi - angle, y))


def _projected(points: _Floats, matrix: _Floats) -> _Floats:
    """Applies a matrix [2, 3] to points [n, 2 or 3], of which z is scaled as x is."""
    flat = points[:, :1] * matrix[:, 0] + points[:, 1:2] * matrix[:, 1] + matrix[:, 2]
    return np.concatenate([flat, points[:, 2:] * np.linalg.norm(matrix[:, 0])], axis=1)


def _merged(detections: _Floats, scores: _Floats, limit: int) -> list[_Floats]:
    """Makes one detection of the best and all that overlap it, and again of what is left.

    Args:
      detections: [n, points, 2]; the first two points are a box's corners.
      scores: [n].
      limit: how many to make at most.

    Returns:
      Means weighted by score, [points, 2], the best first.
    """
    order = np.argsort(-scores, kind="stable")
    detections, scores = detections[order], scores[order]
    found: list[_Floats] = []
    while len(detections) and len(found) < limit:
        same = _overlaps(detections, detections[0]) > _MIN_OVERLAP
        if not same[0]:  # It has no area. For MediaPipe, too, that is the end.
            break
        # MediaPipe's boxes have a corner and a size; np.sum would add in another order.
        terms = detections[same]
        terms[:, 1] = terms[:, 0] + (terms[:, 1] - terms[:, 0])
        terms *= scores[same, None, None]
        mean = np.cumsum(terms, axis=0)[-1] / np.cumsum(scores[same])[-1]
        mean[1] = mean[0] + (mean[1] - mean[0])
        found.append(mean)
        detections, scores = detections[~same], scores[~same]
    return found


def _overlaps(boxes: _Floats, box: _Floats) -> _Floats:
    """Returns the intersection over union of boxes [n, >= 2, 2] with one, [n]."""
    shared = np.minimum(boxes[:, 1], box[1]) - np.maximum(boxes[:, 0], box[0])
    area = np.maximum(shared, 0).prod(axis=1)
    union = (boxes[:, 1] - boxes[:, 0]).prod(axis=1) + (box[1] - box[0]).prod() - area
    return np.asarray(np.divide(area, union, out=np.zeros_like(area), where=union > 0))
