"""Smooths the crops of faces over the frames of a video."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from task_bundle.faces.alignment import Face, FaceCrop

# Parameters of the one-euro filter (Casiez, Roussel, Vogel: 1 euro filter, CHI 2012), in Hz: the
# cutoff frequency for a face at rest, what a speed of one side per second adds to it, and the
# cutoff frequency for the speed itself.
_CUTOFF = 1.0
_CUTOFF_PER_SPEED = 20.0
_SPEED_CUTOFF = 1.0
# The dead zone: how far the crop's x and y (in sides), log side and rotation (in radians) may
# differ from the filtered values. Even for a repeated still photo, MediaPipe's tracker returns
# landmarks whose crop wanders by 0.1 % of its side in position, by 2 % in size and by 0.01 radians.
_DEAD_ZONE = (0.008, 0.008, 0.02, 0.015)
# A face that has moved by more than this fraction of a side is another face, or there was a cut.
_JUMP = 0.5


class CropSmoother:
    """Tracks the faces of a video and smooths their crops.

    A one-euro filter removes jitter from position, size and rotation; the slower a face moves, the
    stronger it smooths. The remaining jitter would still shift the picture by fractions of a pixel.
    The crop therefore has a dead zone: it does not move until the filtered values differ from it by
    more than the zone, and then follows them at that distance.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._time = -math.inf

    def update(self, faces: Sequence[Face], seconds: float) -> list[Face]:
        """Smooths the crops of the faces of the next frame.

        Args:
          faces: the faces, with crops that are not rounded to whole pixels.
          seconds: the time of the frame, greater than that of the last one.

        Returns:
          The faces in the same order, with smoothed crops. A face that was not in the last frame,
          or that has jumped, keeps its crop.
        """
        elapsed, self._time = seconds - self._time, seconds
        free = list(self._tracks)
        self._tracks = []
        smoothed = []
        for face in faces:
            track = min(free, key=lambda t: t.distance(face.crop), default=None)
            if track is not None and track.distance(face.crop) <= _JUMP:
                free.remove(track)
                track.move(face.crop, elapsed)
            else:
                track = _Track(face.crop)
            self._tracks.append(track)
            smoothed.append(dataclasses.replace(face, crop=track.crop))
        return smoothed


class _Track:
    """The filter of one face. State vectors are [x, y, log side, rotation]."""

    def __init__(self, crop: FaceCrop) -> None:
        self._last = self._filtered = self._output = _state(crop)
        self._speed = np.zeros(4)

    @property
    def crop(self) -> FaceCrop:
        x, y, log_side, rotation = self._output.tolist()
        # The filtered rotation is not limited to half a turn.
        return FaceCrop(x, y, math.exp(log_side), math.remainder(rotation, 2 * math.pi))

    def distance(self, crop: FaceCrop) -> float:
        """Returns the distance from the last crop, in sides of the larger of the two."""
        x, y, log_side = self._last[:3].tolist()
        side = max(math.exp(log_side), crop.side)
        return math.hypot(crop.center_x - x, crop.center_y - y) / side

    def move(self, crop: FaceCrop, elapsed: float) -> None:
        state = _state(crop)
        turn = state[3] - self._last[3]
        state[3] = self._last[3] + math.remainder(turn, 2 * math.pi)
        # Makes the components comparable: one side, a factor of e and one radian.
        unit = np.array([crop.side, crop.side, 1.0, 1.0])
        speed = (state - self._last) / unit / elapsed
        self._speed += _gain(np.full(4, _SPEED_CUTOFF), elapsed) * (speed - self._speed)
        cutoff = _CUTOFF + _CUTOFF_PER_SPEED * np.abs(self._speed)
        self._filtered = self._filtered + _gain(cutoff, elapsed) * (state - self._filtered)
        self._last = state
        dead_zone = unit * _DEAD_ZONE
        low, high = self._filtered - dead_zone, self._filtered + dead_zone
        self._output = np.clip(self._output, low, high)


def _state(crop: FaceCrop) -> npt.NDArray[np.float64]:
    return np.array([crop.center_x, crop.center_y, math.log(crop.side), crop.rotation])


def _gain(cutoff: npt.NDArray[np.float64], elapsed: float) -> npt.NDArray[np.float64]:
    """Returns the weight of the new value in a first-order low-pass filter."""
    return 1.0 / (1.0 + 1.0 / (2 * math.pi * cutoff * elapsed))
