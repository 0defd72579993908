"""Keeps the crops of a video's faces fixed to the faces."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from task_bundle.faces.alignment import Face, FaceCrop

# A face that has moved by more than this fraction of a side is another face, or there was a cut.
_JUMP = 0.5
# Side in pixels of the gray picture of a face in which its motion is measured, the window of the
# measurement, and its levels of halved resolution. Of the face mesh every fourth point is followed.
_SIDE, _WINDOW, _LEVELS, _EVERY = 192, 15, 2, 4
# Points within this many pixels of the face's rigid motion moved with it; unless this share of all
# points did, the landmarks tell the motion.
_TOLERANCE, _LEAST_SHARE = 1.0, 0.5
# In pixels of the gray picture: the optical flow cannot follow a face much farther, so that the
# crop first moves with the landmarks; and a face that moved by less is still, but for noise.
_FAR, _STILL = 8.0, 0.1
# The dead zone: how far the crop's x and y (in sides), log side and rotation (in radians) may
# differ from those of the landmarks. Even for a repeated still photo, MediaPipe's tracker returns
# landmarks whose crop wanders by 0.1 % of its side in position, by 2 % in size and by 0.01 radians.
_DEAD_ZONE = np.array([0.02, 0.02, 0.04, 0.03])
# Outside of the zone the crop drifts toward it with this time constant in seconds.
_DRIFT = 0.5

_Gray = npt.NDArray[np.uint8]
_Points = npt.NDArray[np.float64]


class CropTracker:
    """Follows the faces of a video.

    A stylized picture is steady only if the face stands still in its crop. Landmarks tremble, and a
    filter that calms them lags behind a moving face. The motion from frame to frame is therefore
    measured in the pictures: the optical flow (Lucas and Kanade, 1981, in pyramids) of points on
    the face, and the rotation, scale and shift that most of them agree on. The crop moves by just
    that, and drifts toward the crop of the landmarks only where the two differ much.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._time = -math.inf

    def update(
        self, frame: npt.NDArray[np.uint8], faces: Sequence[Face], seconds: float
    ) -> list[Face]:
        """Moves the crops with the faces of the next frame.

        Args:
          frame: the frame, [height, width, 3] uint8 RGB.
          faces: its faces, with crops that are not rounded to whole pixels.
          seconds: the time of the frame, greater than that of the last one.

        Returns:
          The faces in the same order, with steady crops. A face that was not in the last frame, or
          that has jumped, keeps its crop.
        """
        elapsed, self._time = seconds - self._time, seconds
        free = list(self._tracks)
        self._tracks = []
        steady = []
        for face in faces:
            track = min(free, key=lambda t: t.distance(face.crop), default=None)
            if track is not None and track.distance(face.crop) <= _JUMP:
                free.remove(track)
                track = track.moved(frame, face, elapsed)
            else:
                track = _Track(face.crop, face, _gray(frame, face.crop))
            self._tracks.append(track)
            steady.append(dataclasses.replace(face, crop=track.crop))
        return steady


class _Track:
    """A face in the last frame: its crop, the face as it was found, and the crop's gray picture."""

    def __init__(self, crop: FaceCrop, face: Face, gray: _Gray) -> None:
        self.crop = crop
        self._face = face
        self._gray = gray

    def distance(self, crop: FaceCrop) -> float:
        """Returns the distance from the crop that was found, in sides of the larger of the two."""
        found = self._face.crop
        distance = math.hypot(crop.center_x - found.center_x, crop.center_y - found.center_y)
        return distance / max(found.side, crop.side)

    def moved(self, frame: npt.NDArray[np.uint8], face: Face, elapsed: float) -> "_Track":
        """Returns the track of the face in the next frame; itself if the face is still."""
        start, end = self._face.landmarks[:, :2], face.landmarks[:, :2]
        predicted = _transformed(self.crop, _Similarity.between(start, end))
        near = self.crop if _distance(self.crop, predicted) < _FAR else predicted
        flow = self._flow(_gray(frame, near))
        crop = predicted if flow is None else _corrected(near, flow)
        if _distance(self.crop, crop) < _STILL:
            # What a slow face moves adds up, as the picture that it is compared with stays, too.
            crop = self.crop
        crop = _drifted(crop, face.crop, elapsed)
        return self if crop == self.crop else _Track(crop, face, _gray(frame, crop))

    def _flow(self, gray: _Gray) -> "_Similarity | None":
        """Measures how the face moved between the crop's gray pictures; None if that is unclear."""
        import cv2

        matrix = self.crop.matrix(_SIDE)[:2]
        points = self._face.landmarks[::_EVERY, :2] @ matrix[:, :2].T + matrix[:, 2]
        start = points.astype(np.float32)[:, np.newaxis]
        # The stub of OpenCV does not know that the result may be left out.
        end, found, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
            self._gray, gray, start, None, winSize=(_WINDOW, _WINDOW), maxLevel=_LEVELS
        )
        followed = found[:, 0] == 1
        if np.count_nonzero(followed) < _LEAST_SHARE * len(points):
            return None
        motion, agrees = cv2.estimateAffinePartial2D(
            start[followed], end[followed], ransacReprojThreshold=_TOLERANCE
        )
        if motion is None or np.count_nonzero(agrees) < _LEAST_SHARE * len(points):
            return None
        return _Similarity(complex(motion[0, 0], motion[1, 0]), complex(*motion[:, 2]))


@dataclasses.dataclass(frozen=True)
class _Similarity:
    """Rotation and scale, then a shift, of points x + iy."""

    factor: complex
    shift: complex

    @classmethod
    def between(cls, start: _Points, end: _Points) -> "_Similarity":
        """Returns the one that moves points [N, 2] nearest to others, by least squares."""
        first, second = (points[:, 0] + 1j * points[:, 1] for points in (start, end))
        centers = first.mean(), second.mean()
        first, second = first - centers[0], second - centers[1]
        spread = float((np.abs(first) ** 2).sum())
        # Points that coincide tell no rotation.
        factor = complex((first.conj() * second).sum()) / spread if spread else 1 + 0j
        return cls(factor, complex(centers[1] - factor * centers[0]))


def _transformed(crop: FaceCrop, motion: _Similarity) -> FaceCrop:
    """Moves a crop like points of the photo."""
    center = motion.factor * complex(crop.center_x, crop.center_y) + motion.shift
    turn = math.atan2(motion.factor.imag, motion.factor.real)
    return FaceCrop(
        center.real,
        center.imag,
        crop.side * abs(motion.factor),
        math.remainder(crop.rotation + turn, 2 * math.pi),
    )


def _distance(crop: FaceCrop, other: FaceCrop) -> float:
    """How far the corners of two crops are apart at most, in pixels of the first's gray picture."""
    corners = np.array([[x, y, 1.0] for x in (0, _SIDE) for y in (0, _SIDE)])
    difference = corners @ (crop.matrix(_SIDE) @ other.inverse(_SIDE)).T - corners
    return float(np.hypot(difference[:, 0], difference[:, 1]).max())


def _corrected(crop: FaceCrop, flow: _Similarity) -> FaceCrop:
    """Moves a crop by what the face still moves in it, in pixels of its gray picture."""
    inverse = crop.inverse(_SIDE)
    middle = complex(_SIDE / 2, _SIDE / 2)
    moved = flow.factor * middle + flow.shift
    x, y, _ = inverse @ (moved.real, moved.imag, 1.0)
    turn = math.atan2(flow.factor.imag, flow.factor.real)
    return FaceCrop(
        float(x),
        float(y),
        crop.side * abs(flow.factor),
        math.remainder(crop.rotation + turn, 2 * math.pi),
    )


def _drifted(crop: FaceCrop, found: FaceCrop, elapsed: float) -> FaceCrop:
    """Moves a crop toward the one that was found where they differ by more than the dead zone."""
    unit = np.array([found.side, found.side, 1.0, 1.0])
    difference = np.array(
        [
            found.center_x - crop.center_x,
            found.center_y - crop.center_y,
            math.log(found.side / crop.side),
            math.remainder(found.rotation - crop.rotation, 2 * math.pi),
        ]
    )
    excess = difference - np.clip(difference, -_DEAD_ZONE * unit, _DEAD_ZONE * unit)
    x, y, log_side, turn = ((1.0 - math.exp(-elapsed / _DRIFT)) * excess).tolist()
    return FaceCrop(
        crop.center_x + x,
        crop.center_y + y,
        crop.side * math.exp(log_side),
        math.remainder(crop.rotation + turn, 2 * math.pi),
    )


def _gray(frame: npt.NDArray[np.uint8], crop: FaceCrop) -> _Gray:
    """Crops a face, [_SIDE, _SIDE] uint8, without the aliasing that would look like motion."""
    import cv2

    # Half a diagonal, and a margin.
    reach = 0.75 * crop.side
    left, top = (max(0, int(c - reach)) for c in (crop.center_x, crop.center_y))
    right, bottom = (max(0, int(c + reach) + 1) for c in (crop.center_x, crop.center_y))
    # A larger face is first reduced, by a whole number.
    factor = max(1, round(crop.side / _SIDE))
    rows, columns = (n // factor for n in frame[top:bottom, left:right].shape[:2])
    if not rows or not columns:
        return np.zeros((_SIDE, _SIDE), np.uint8)
    region = frame[top : top + rows * factor, left : left + columns * factor]
    small = cv2.resize(region, (columns, rows), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    # From reduced pixels to those of the frame; integer coordinates are the centers of pixels.
    middle = (factor - 1) / 2
    to_frame = np.array([[factor, 0, left + middle], [0, factor, top + middle], [0, 0, 1]])
    matrix = crop.matrix(_SIDE)[:2] @ to_frame
    return np.asarray(cv2.warpAffine(gray, matrix, (_SIDE, _SIDE)), np.uint8)
