"""Fits the projection of `IdentitySpace` to a folder of portraits.

Run `python -m mm_face_stylizer.evaluation.identity_fit --data DIR -o X.npz`.

The method is Fisher's linear discriminant (1936) after a principal component analysis, as in
Belhumeur et al., "Eigenfaces vs. Fisherfaces" (1997). Each portrait and its augmented versions form
a class. Held-out portraits are not used. The projection in this package was fitted to the portraits
that the presets are trained on (each preset's `data.csv` lists files, sources and licenses), except
for one source that shows people twice, with these options:

    --data faces256 --data-list faces.csv --leave-out webmorphR_london -o identity_space.npz
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mm_face_stylizer.evaluation.identity import describe_face
from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures
from mm_face_stylizer.held_out import is_held_out
from task_bundle.files import atomic_write
from task_bundle.media.folders import list_files
from task_bundle.media.images import load_image

_SIDE = 160
_COMPONENTS = 400
_DIMENSIONS = 128
# Regularization: this fraction of the mean within-class variance is added to the variance of each
# axis, so that axes with little variance in the training set do not dominate.
_SHRINKAGE = 0.1


def fit(portraits: Pictures, variations: int, seed: int = 0) -> dict[str, npt.NDArray[np.float16]]:
    """Fits the projection.

    Args:
      portraits: uint8 [people, side, side, 3] RGB, aligned, one portrait for each person.
      variations: Number of augmented versions of each portrait, at least 1.
      seed: Seed of the augmentation.

    Returns:
      The float16 arrays `centre` and `projection`, as `IdentitySpace.load` reads them.
    """
    random = np.random.default_rng(seed)
    plain = np.stack([describe_face(portrait) for portrait in portraits])
    varied = np.stack(
        [
            [describe_face(vary(portrait, random)) for _ in range(variations)]
            for portrait in tqdm(portraits, "Augmenting", unit="person")
        ]
    )
    center = plain.mean(axis=0)
    axes = _principal_axes(plain - center, _COMPONENTS)
    everything = np.concatenate([plain[:, np.newaxis], varied], axis=1) - center
    people = everything.astype(np.float64) @ axes
    means = people.mean(axis=1)
    within = np.cov((people - means[:, np.newaxis]).reshape(-1, axes.shape[1]), rowvar=False)
    within = within + _SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    values, vectors = np.linalg.eigh(within)
    whitened = vectors / np.sqrt(values)
    _, between = np.linalg.eigh(np.cov(means @ whitened, rowvar=False))
    projection = axes @ whitened @ between[:, ::-1][:, :_DIMENSIONS]
    return {"centre": center.astype(np.float16), "projection": projection.astype(np.float16)}


def _principal_axes(samples: Any, count: int) -> Numbers:
    """Returns the first principal axes as unit columns, [features, count].

    They come from the Gram matrix, which is small: there are fewer samples than features.
    """
    values, vectors = np.linalg.eigh((samples @ samples.T).astype(np.float64))
    chosen = np.argsort(-values)[: min(count, len(samples) - 1)]
    axes = samples.T @ vectors[:, chosen]
    return np.asarray(axes / np.linalg.norm(axes, axis=0), np.float64)


def vary(portrait: Pictures, random: np.random.Generator) -> Pictures:
    """Augments a portrait at random, to imitate another picture of the same person.

    The changes are mirroring, warping, contrast, lighting, blur, and a drawing style or noise.

    Args:
      portrait: uint8 [side, side, 3] RGB.
      random: Generator of the random changes.

    Returns:
      uint8 [side, side, 3].
    """
    import cv2

    side = portrait.shape[0]
    chosen: Any = portrait[:, ::-1] if random.random() < 0.5 else portrait
    moved = cv2.remap(
        np.ascontiguousarray(chosen),
        *_displaced(side, random),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    shades = 255.0 * np.power(moved / 255.0, np.exp(random.normal(0, 0.3)))
    shades = (shades - 128.0) * random.uniform(0.6, 1.3) + 128.0 + random.normal(0, 15)
    if random.random() < 0.5:
        angle, strength = random.uniform(0, 2 * np.pi), random.uniform(0, 0.5)
        y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        light = 1.0 + strength * (np.cos(angle) * x + np.sin(angle) * y)
        shades = shades * light[..., np.newaxis]
    picture: Any = np.clip(shades, 0, 255).astype(np.uint8)
    if random.random() < 0.6:
        sigma = random.uniform(0.5, 3.0) * side / 256
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    draw = (_plain, _plain, _posterized, _drawn, _noisy)[random.integers(5)]
    return np.asarray(draw(picture, random), np.uint8)


def _displaced(side: int, random: np.random.Generator) -> tuple[Any, Any]:
    """Returns source x and y of each pixel, [side, side], for a random crop and a slight warp."""
    import cv2

    turn: Any = cv2.getRotationMatrix2D(
        (side / 2, side / 2), random.normal(0, 3), np.exp(random.normal(0, 0.03))
    )
    turn[:, 2] += random.normal(0, 0.012 * side, 2)
    bends = random.normal(0, 0.01 * side, (5, 5, 2)).astype(np.float32)
    bend = cv2.resize(bends, (side, side), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    places = np.stack([x, y, np.ones_like(x)], axis=-1) @ turn.T.astype(np.float32) + bend
    return places[..., 0], places[..., 1]


def _plain(pixels: Any, random: np.random.Generator) -> Any:
    return pixels


def _posterized(pixels: Any, random: np.random.Generator) -> Any:
    import cv2

    tones = random.integers(3, 7)
    flat = cv2.bilateralFilter(pixels, 7, 60, 5).astype(np.float32)
    return (np.floor(flat / 256.0 * tones) * (255 / (tones - 1))).astype(np.uint8)


def _drawn(pixels: Any, random: np.random.Generator) -> Any:
    """Imitates a pencil drawing: dark lines, blended with the gray picture."""
    import cv2

    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    lines = 255.0 * gray / (cv2.GaussianBlur(gray, (0, 0), random.uniform(1.5, 4)) + 1.0)
    share = random.uniform(0.3, 1.0)
    mixed = np.clip(share * lines + (1 - share) * gray, 0, 255).astype(np.uint8)
    return np.repeat(mixed[..., np.newaxis], 3, axis=2)


def _noisy(pixels: Any, random: np.random.Generator) -> Any:
    noise = random.normal(0, random.uniform(5, 35), pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def training_files(
    folder: Path, data_list: Path | None = None, left_out: Sequence[str] = ()
) -> list[Path]:
    """Lists the pictures in a folder that are not held out.

    Args:
      folder: Folder of aligned portraits.
      data_list: CSV with the columns `file` and `source`; only needed to leave out sources.
      left_out: Prefixes of the names of the sources to leave out.

    Returns:
      Paths of the pictures, sorted by name.
    """
    sources: dict[str, str] = {}
    if data_list is not None:
        with data_list.open(newline="", encoding="utf-8") as file:
            sources = {row["file"]: row["source"] for row in csv.DictReader(file)}
    return [
        path
        for path in list_files(folder)
        if not is_held_out(path.name)
        if not sources.get(path.name, "").startswith(tuple(left_out) or ("\0",))
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Fits the projection and writes it to an .npz file.

    Args:
      argv: Command line arguments; `sys.argv[1:]` if None.

    Returns:
      The exit status, 0.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, metavar="DIR")
    parser.add_argument("--data-list", type=Path, metavar="CSV")
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="SOURCE")
    parser.add_argument(
        "--people",
        type=int,
        default=1600,
        help="number of portraits, spread evenly over the data (default: 1600)",
    )
    parser.add_argument(
        "--variations",
        type=int,
        default=3,
        help="number of augmented versions of each portrait (default: 3)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="X.npz")
    arguments = parser.parse_args(argv)
    import cv2

    files = training_files(arguments.data, arguments.data_list, arguments.leave_out)
    spread = np.linspace(0, len(files) - 1, min(arguments.people, len(files))).astype(int)
    portraits: Any = np.stack(
        [
            cv2.resize(load_image(files[i]), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            for i in spread
        ]
    )
    buffer = io.BytesIO()
    np.savez(buffer, **fit(portraits, arguments.variations, arguments.seed))
    atomic_write(arguments.output, buffer.getvalue(), overwrite=True)
    sys.stdout.write(f"{arguments.output}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
