"""Does a stylized video flicker where the portrait moves smoothly?

    python -m benchmarks.studies.flicker BUNDLE.task PORTRAIT.jpg [PORTRAIT.jpg ...]
        [--frames 60] [--seed 0]

Each portrait, a square picture in which a face is found, is turned and shifted smoothly within 8
degrees and 4 % of its side. The frames, 30 a second, go through the runtime like those of a video,
and each stylized crop is put back where it came from. Then the motion is undone, and the mean
absolute change between consecutive frames inside a centered disc is divided by that of the photo's
frames, which is due to the interpolation alone. Beside it stands what the stylized portrait itself
would have if it were moved like the photo, the least that a stylizer of this contrast can have.
Prints a line for each portrait, then median and spread as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mm_face_stylizer.evaluation.picture_quality import Pictures
from task_bundle.media.images import load_image
from task_bundle.runtime.stylizer import FaceStylizer

_FRAMES, _FRAMES_PER_SECOND = 60, 30
# Largest rotation in degrees, and largest shift along each axis as a fraction of the side.
_LARGEST_TURN, _LARGEST_SHIFT = 8.0, 0.04
# Numbers of oscillations of the turn and of both shifts over all frames. They have no common
# period, so that the same pose does not come twice.
_OSCILLATIONS = (1.0, 1.37, 1.73)
# Radius of the disc as a fraction of the side, small enough that no pose moves the reflected border
# or the edge of the stylized crop into it.
_RADIUS = 0.3

_Motion = npt.NDArray[np.float64]


def main() -> None:
    """Measures a bundle on portraits, and prints the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE.task")
    parser.add_argument("portraits", type=Path, nargs="+", metavar="PORTRAIT.jpg")
    parser.add_argument("--frames", type=int, default=_FRAMES, help=f"at least 2 ({_FRAMES})")
    parser.add_argument("--seed", type=int, default=0, help="seed of the motions (0)")
    arguments = parser.parse_args()
    if arguments.frames < 2:
        parser.error("--frames must be at least 2")
    values: list[Flicker] = []
    for number, path in enumerate(arguments.portraits):
        portrait = load_image(path)
        if portrait.shape[0] != portrait.shape[1]:
            parser.error(f"{path} is not square; crop it around the face")
        moves = motions(arguments.frames, arguments.seed + number)
        # A stylizer processes one video.
        with FaceStylizer.create_from_model_path(arguments.bundle) as stylizer:
            if stylizer.stylize(portrait) is None:
                parser.error(f"no face was found in {path}")
            values.append(flicker(functools.partial(stylized_video, stylizer), portrait, moves))
        line = f"{path.name}: {values[-1].stylized:.3f}, if moved itself {values[-1].moved:.3f}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    result = {
        "portraits": len(values),
        "stylized": summary([value.stylized for value in values]),
        "moved": summary([value.moved for value in values]),
    }
    sys.stdout.write(json.dumps(result) + "\n")


def motions(frames: int, seed: int) -> list[_Motion]:
    """Makes a smooth motion of sinusoidal rotation and shift, with random phases.

    Args:
      frames: Number of frames.
      seed: Seed of the phases.

    Returns:
      For each frame the affine matrix, [2, 3], that moves a picture with corners at (-0.5, -0.5)
      and (0.5, 0.5), with the shift as a fraction of the side.
    """
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(_OSCILLATIONS))
    steps = np.arange(frames)[:, np.newaxis] / frames
    waves = np.sin(2 * np.pi * steps * np.array(_OSCILLATIONS) + phases)
    motion = []
    for turn, across, down in waves * (np.radians(_LARGEST_TURN), _LARGEST_SHIFT, _LARGEST_SHIFT):
        cosine, sine = np.cos(turn), np.sin(turn)
        motion.append(np.array([[cosine, sine, across], [-sine, cosine, down]]))
    return motion


def stylized_video(stylizer: FaceStylizer, frames: Iterable[Pictures]) -> list[Pictures]:
    """Stylizes the face in each frame of a video, and draws it over the frame.

    Args:
      stylizer: A stylizer that has processed no video yet.
      frames: The frames, 30 a second, each uint8 [height, width, 3] RGB.
    """
    drawn = []
    for number, frame in enumerate(frames):
        face = stylizer.stylize_for_video(frame, round(1000 * number / _FRAMES_PER_SECOND))
        result = frame.copy()
        if face is not None:
            height, width = frame.shape[:2]
            cv2.warpAffine(
                face.image,
                face.crop.inverse((face.width, face.height))[:2],
                (width, height),
                dst=result,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_TRANSPARENT,
            )
        drawn.append(result)
    return drawn


@dataclasses.dataclass(frozen=True)
class Flicker:
    """Mean absolute changes between consecutive frames, relative to those of the photo.

    Attributes:
      stylized: Change of the stylized frames; 1 is as steady as the photo.
      moved: Change of the stylized portrait if it is moved like the photo.
    """

    stylized: float
    moved: float


def flicker(
    stylize: Callable[[list[Pictures]], list[Pictures]],
    portrait: Pictures,
    moves: list[_Motion],
) -> Flicker:
    """Measures how much more stylized frames change than the photo's, with their motion undone.

    Args:
      stylize: Maps the frames of a video to its stylized frames.
      portrait: A portrait, uint8 [side, side, 3] RGB.
      moves: Motion of each frame, as `motions` makes it.
    """
    frames = [_moved(portrait, move) for move in moves]
    # The video begins with the portrait at rest.
    still, *stylized = stylize([portrait, *frames])
    moved = [_moved(still, move) for move in moves]
    least = max(_change(frames, moves), 1e-9)
    return Flicker(_change(stylized, moves) / least, _change(moved, moves) / least)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Returns the median, the quartiles and the extremes of some values."""
    percentiles = np.percentile(values, (50, 25, 75, 0, 100)).round(3).tolist()
    names = ("median", "lower_quartile", "upper_quartile", "least", "largest")
    return dict(zip(names, percentiles, strict=True))


def _change(frames: Iterable[Pictures], moves: list[_Motion]) -> float:
    """Mean absolute change between consecutive frames in the disc, with their motion undone."""
    still = [
        _moved(frame, move, undo=True).astype(np.float32)
        for frame, move in zip(frames, moves, strict=True)
    ]
    inside = _disc(still[0].shape[0])
    return float(np.mean([np.abs(b - a)[inside].mean() for a, b in itertools.pairwise(still)]))


def _moved(picture: Pictures, move: _Motion, undo: bool = False) -> Pictures:
    """Moves a square picture, or undoes the motion; what comes into view is reflected."""
    side = picture.shape[0]
    center = (side - 1) / 2
    matrix = move.copy()
    matrix[:, 2] = move[:, 2] * side + center - move[:, :2] @ np.array([center, center])
    flags = cv2.INTER_LINEAR | (cv2.WARP_INVERSE_MAP if undo else 0)
    moved = cv2.warpAffine(
        picture, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved, np.uint8)


def _disc(side: int) -> npt.NDArray[np.bool_]:
    """Mask of the centered disc, [side, side]."""
    places = (np.arange(side) + 0.5) / side - 0.5
    return np.asarray(np.hypot(places[:, np.newaxis], places) <= _RADIUS)


if __name__ == "__main__":
    main()
