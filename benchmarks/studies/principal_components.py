"""How well does a linear code reconstruct portraits, as a baseline for the encoder's code?

    python -m benchmarks.studies.principal_components FOLDER --faces DIR

Fits principal components, the best linear code, to the training portraits and their mirror images
at 64 px. Encodes and decodes the held-out portraits, compares them at 64 px and enlarged to 256 px,
and prints a table of PSNR.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mm_face_stylizer.evaluation.picture_quality import Pictures, psnr
from mm_face_stylizer.models.blaze_stylegan.encoder import CODE_CHANNELS, CODE_SIDE
from mm_face_stylizer.training.portraits import Portraits

_Floats = npt.NDArray[np.float32]

_SIDE, _FULL_SIDE = 64, 256
_CODE = CODE_SIDE**2 * CODE_CHANNELS
_COUNTS = (64, 128, _CODE, 512)
# Subspace iteration uses more axes than are returned, because the last ones converge last.
_SPARE, _ROUNDS = 64, 8


def principal_axes(points: _Floats, count: int) -> _Floats:
    """Returns the directions of greatest variance, found by subspace iteration.

    Source: Halko, Martinsson and Tropp, "Finding Structure with Randomness" (2011), algorithm 4.4.

    Args:
      points: Centered points, [number, dimensions].
      count: Number of directions.

    Returns:
      Orthonormal columns, [dimensions, count], in the order of decreasing variance.
    """
    random = np.random.default_rng(0)
    axes = random.standard_normal((points.shape[1], count + _SPARE), np.float32)
    for _ in range(_ROUNDS):
        axes, _ = np.linalg.qr(points.T @ (points @ axes))
    rotation = np.linalg.svd(points @ axes, full_matrices=False)[2]
    return np.asarray(axes @ rotation[:count].T, np.float32)


def _shrunken(photos: Pictures) -> _Floats:
    """Returns photos at a quarter of their side, by block means."""
    factor = _FULL_SIDE // _SIDE
    blocks = photos.reshape(-1, _SIDE, factor, _SIDE, factor, 3)
    return np.asarray(blocks.mean(axis=(2, 4)), np.float32)


def _pixels(pictures: _Floats) -> Pictures:
    return np.clip(np.rint(pictures), 0, 255).astype(np.uint8)


def _enlarged(pictures: _Floats) -> Pictures:
    size = (_FULL_SIDE, _FULL_SIDE)
    large = [cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC) for picture in pictures]
    return _pixels(np.asarray(large, np.float32))


def main() -> None:
    """Fits the code, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=Path, required=True, help="aligned portraits")
    arguments = parser.parse_args()

    portraits = Portraits(arguments.faces, arguments.folder / "cache", _FULL_SIDE)
    photos = portraits.held_out()
    small = _shrunken(portraits.training())
    points = np.concatenate([small, small[:, :, ::-1]]).reshape(-1, _SIDE**2 * 3)
    mean = points.mean(axis=0)
    axes = principal_axes(points - mean, max(_COUNTS))
    held_out = _shrunken(photos)
    unknown = held_out.reshape(len(held_out), -1) - mean

    sys.stdout.write(f"| numbers | PSNR at {_SIDE} px | at {_FULL_SIDE} px |\n|---:|---:|---:|\n")
    for count in _COUNTS:
        kept = axes[:, :count]
        decoded = (unknown @ kept @ kept.T + mean).reshape(held_out.shape)
        coarse = psnr(_pixels(held_out), _pixels(decoded)).mean()
        fine = psnr(photos, _enlarged(decoded)).mean()
        sys.stdout.write(f"| {count} | {coarse:.1f} dB | {fine:.1f} dB |\n")
    sys.stdout.write(f"| all | | {psnr(photos, _enlarged(held_out)).mean():.1f} dB |\n")


if __name__ == "__main__":
    main()
