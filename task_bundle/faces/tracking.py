"""Face crops that stand still while the face does, from one frame of a video to the next."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from task_bundle.faces.alignment import Face, FaceCrop

# Of the one-euro filter (Casiez, Roussel, Vogel: 1 euro filter, CHI 2012), in Hz: the cut-off for a
# face at rest; what a speed of one side a second adds to it; the cut-off of the speed itself.
_CUTOFF = 1.0
_CUTOFF_PER_SPEED = 20.0
_SPEED_CUTOFF = 1.0
# How far position (in sides), log side and rotation (in radians) may be from the face's. Even of a
# photo shown again and again, without any noise, MediaPipe's tracker gives landmarks whose crop
# wanders by 0.1 % of its side in position, by 2 % in size and by 0.01 radians.
_PLAY = (0.008, 0.008, 0.02, 0.015)
# A face further than this part of a side from where it was is another one, or a cut in the film.
_JUMP = 0.5


class CropSmoother:
    """Follows the faces of a video and smooths their crops.

    A one-euro filter takes the tremor out of position, size and rotation, more of it the slower
    the face moves. What is left of it would still shift the picture by fractions of a pixel, so
    the crop is moved with play, as a loose joint moves: it rests until the face has gone further
    than the play, and then follows at that distance.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._time = -math.inf

    def update(self, faces: Sequence[Face], seconds: float) -> list[Face]:
        """Takes the faces of the next frame.

        Args:
          faces: as they were found, their crops not rounded.
          seconds: the frame's time, greater than that of the frame before.

        Returns:
          The faces in the same order, with smoothed crops. Faces that were not in the frame before,
          or that have jumped, start with the crop as it was found.
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
    """One face. States are [x, y, log side, rotation]."""

    def __init__(self, crop: FaceCrop) -> None:
        self._seen = self._filtered = self._shown = _state(crop)
        self._speed = np.zeros(4)

    @property
    def crop(self) -> FaceCrop:
        x, y, log_side, rotation = self._shown.tolist()
        # Rotation was followed past half turns.
        return FaceCrop(x, y, math.exp(log_side), math.remainder(rotation, 2 * math.pi))

    def distance(self, crop: FaceCrop) -> float:
        """Returns how far a crop is from the last one seen, in sides of the greater."""
        x, y, log_side = self._seen[:3].tolist()
        side = max(math.exp(log_side), crop.side)
        return math.hypot(crop.center_x - x, crop.center_y - y) / side

    def move(self, crop: FaceCrop, elapsed: float) -> None:
        state = _state(crop)
        turn = state[3] - self._seen[3]
        state[3] = self._seen[3] + math.remainder(turn, 2 * math.pi)
        # A side, a doubling by e and a radian are all of the order of the face.
        unit = np.array([crop.side, crop.side, 1.0, 1.0])
        speed = (state - self._seen) / unit / elapsed
        self._speed += _gain(np.full(4, _SPEED_CUTOFF), elapsed) * (speed - self._speed)
        cutoff = _CUTOFF + _CUTOFF_PER_SPEED * np.abs(self._speed)
        self._filtered = self._filtered + _gain(cutoff, elapsed) * (state - self._filtered)
        self._seen = state
        play = unit * _PLAY
        self._shown = np.clip(self._shown, self._filtered - play, self._filtered + play)


def _state(crop: FaceCrop) -> npt.NDArray[np.float64]:
    return np.array([crop.center_x, crop.center_y, math.log(crop.side), crop.rotation])


def _gain(cutoff: npt.NDArray[np.float64], elapsed: float) -> npt.NDArray[np.float64]:
    """Returns the weight of a new value in a first-order low-pass filter."""
    return 1.0 / (1.0 + 1.0 / (2 * math.pi * cutoff * elapsed))
