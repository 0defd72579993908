"""What a linear code of a few numbers keeps of portraits: a yardstick for the encoder's code.

    python -m benchmarks.principal_components FOLDER --faces DIR

Principal components are the best linear code there is for the pictures that they are fitted to: the
portraits in training, and their mirror images, at 64 px. The portraits held out are coded,
decoded, enlarged to 256 px and compared there. Prints a table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mm_face_stylizer.models.encoder import CODE_CHANNELS, CODE_SIDE
from mm_face_stylizer.training.portraits import Portraits

_Floats = npt.NDArray[np.float32]

_SIDE, _FULL_SIDE = 64, 256
_CODE = CODE_SIDE**2 * CODE_CHANNELS
_COUNTS = (64, 128, _CODE, 512)
# More than are asked for, and again and again: the last axes come last.
_SPARE, _ROUNDS = 64, 8


def principal_axes(points: _Floats, count: int) -> _Floats:
    """Directions in which points vary most, by subspace iteration.

    Source: Halko, Martinsson and Tropp, "Finding Structure with Randomness" (2011), algorithm 4.4.

    Args:
      points: Centred points, [number, dimensions].
      count: Number of directions.

    Returns:
      Orthonormal columns, [dimensions, count], those of most variance first.
    """
    random = np.random.default_rng(0)
    axes = random.standard_normal((points.shape[1], count + _SPARE), np.float32)
    for _ in range(_ROUNDS):
        axes, _ = np.linalg.qr(points.T @ (points @ axes))
    rotation = np.linalg.svd(points @ axes, full_matrices=False)[2]
    return np.asarray(axes @ rotation[:count].T, np.float32)


def _psnr(pictures: _Floats, photos: npt.NDArray[np.uint8]) -> float:
    """Mean peak signal-to-noise ratio in decibels, both in [0, 255]."""
    errors = np.square(pictures.astype(np.float32) - photos).mean(axis=(1, 2, 3))
    return float(np.mean(10.0 * np.log10(255.0**2 / errors)))


def _enlarged(pictures: _Floats) -> _Floats:
    size = (_FULL_SIDE, _FULL_SIDE)
    large = [cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC) for picture in pictures]
    return np.clip(np.asarray(large, np.float32), 0.0, 255.0)


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=Path, required=True, help="aligned portraits")
    arguments = parser.parse_args()

    cache = arguments.folder / "cache"
    small = Portraits(arguments.faces, cache, _SIDE)
    photos = Portraits(arguments.faces, cache, _FULL_SIDE).held_out()
    known = np.concatenate([small.training(), small.training()[:, :, ::-1]])
    points = known.reshape(len(known), -1).astype(np.float32)
    mean = points.mean(axis=0)
    axes = principal_axes(points - mean, max(_COUNTS))
    held_out = small.held_out()
    unknown = held_out.reshape(len(held_out), -1) - mean

    sys.stdout.write(f"| numbers | PSNR at {_SIDE} px | at {_FULL_SIDE} px |\n|---:|---:|---:|\n")
    for count in _COUNTS:
        kept = axes[:, :count]
        decoded = np.clip(unknown @ kept @ kept.T + mean, 0.0, 255.0).reshape(held_out.shape)
        coarse, fine = _psnr(decoded, held_out), _psnr(_enlarged(decoded), photos)
        sys.stdout.write(f"| {count} | {coarse:.1f} dB | {fine:.1f} dB |\n")
    whole = _psnr(_enlarged(held_out.astype(np.float32)), photos)
    sys.stdout.write(f"| all | | {whole:.1f} dB |\n")


if __name__ == "__main__":
    main()
