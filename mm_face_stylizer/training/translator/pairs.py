"""Photos with pictures of them in the style, which a translator can learn from without cycles."""

from __future__ import annotations

import concurrent.futures
import hashlib
import io
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from mm_face_stylizer.painting.portrait import feature_parts
from mm_face_stylizer.pixels import shrunk
from mm_face_stylizer.training.translator.domains import Domains
from mm_face_stylizer.worker_pool import worker_pool
from task_bundle.files import atomic_write

# Photos of a file.
_CHUNK = 32
_ARRAYS = ("pictures", "masks", "photos")


class Pairs:
    """Training photos, each with a picture that shows it in the style.

    Attributes:
      pictures: uint8 [count, loaded_side, loaded_side, 3].
      masks: Soft masks of eyes, brows, lips and mouth, uint8 [count, loaded_side, loaded_side].
      photo_of: Index of each picture's photo among the training photos, int [count].
    """

    def __init__(self, domains: Domains, paths: Sequence[pathlib.Path]):
        """Reads pairs that `make_pairs` has made.

        Args:
          domains: Has the photos.
          paths: The files.
        """
        self._domains = domains
        self.pictures, self.masks, self.photo_of = map(
            np.concatenate, zip(*map(_loaded, paths), strict=True)
        )

    def batch(self, size: int, seed: int, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws photos with their pictures, cropped and mirrored at random.

        Args:
          size: Number of pairs.
          seed: Seed of the run.
          step: Step of the run; the same seed and step give the same batch.

        Returns:
          Photos and pictures, each uint8 [size, side, side, 3], and the masks of the features of
          the faces, uint8 [size, side, side, 1].
        """
        random = np.random.default_rng((seed, step, 1))
        pairs = [
            self._pair(index, random) for index in random.integers(0, len(self.pictures), size)
        ]
        return tuple(np.stack(pictures) for pictures in zip(*pairs, strict=True))

    def card(self) -> dict[str, Any]:
        """Returns what a preset's card says about where the pictures come from."""
        return {}

    def pictures_of(self, photos: np.ndarray) -> np.ndarray | None:
        """Returns what other photos are to look like; None if only the pairs are known.

        Args:
          photos: Aligned faces, uint8 [count, side, side, 3].

        Returns:
          uint8 of the same shape, or None.
        """
        return None

    def _pair(self, index: int, random: np.random.Generator) -> list[np.ndarray]:
        photo = self._domains.photos.training()[self.photo_of[index]]
        mask = self.masks[index][..., np.newaxis]
        return self._domains.cropped([photo, self.pictures[index], mask], random)


def make_pairs(
    cache: str | os.PathLike,
    origin: bytes,
    photos: np.ndarray,
    rows: np.ndarray,
    make: Callable[[pathlib.Path, np.ndarray, np.ndarray], None],
    prepare: Callable[..., None],
    arguments: tuple,
    workers: int,
    title: str,
) -> list[pathlib.Path]:
    """Makes the pairs that the cache does not have, in several processes.

    Args:
      cache: Folder of the files; made if it is missing.
      origin: All that the pairs depend on: pairs of another origin are other files.
      photos: All training photos, uint8 [count, side, side, 3].
      rows: Rows of the photos to make pairs of.
      make: Makes a file, from its path, the photos and their rows; runs in a worker process.
      prepare: Called once in each process.
      arguments: Its arguments.
      workers: Maximum number of processes.
      title: What is done, for the progress bar.

    Returns:
      The files, in the order of the rows.
    """
    folder, key = pathlib.Path(cache), hashlib.sha256(origin).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    jobs = {
        folder / f"{key}_{start:05d}.npz": rows[start : start + _CHUNK]
        for start in range(0, len(rows), _CHUNK)
    }
    missing = {path: part for path, part in jobs.items() if not path.exists()}
    if not missing:
        return list(jobs)
    with worker_pool(min(workers, len(missing)), prepare, arguments) as pool:
        waiting = [
            pool.submit(make, path, np.asarray(photos[part]), part)
            for path, part in missing.items()
        ]
        bar = f"{title}, {_CHUNK} photos a time"
        for done in tqdm(concurrent.futures.as_completed(waiting), total=len(waiting), desc=bar):
            done.result()
    return list(jobs)


def save_pairs(
    path: pathlib.Path, side: int, pictures: Sequence, masks: Sequence, photos: Sequence
) -> None:
    """Writes pairs, whole or not at all.

    Args:
      path: An NPZ file.
      side: Side of the pictures in pixels, of which there may be none.
      pictures: uint8 [side, side, 3] each.
      masks: uint8 [side, side] each.
      photos: The rows of their photos.
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        pictures=np.array(pictures, np.uint8).reshape(-1, side, side, 3),
        masks=np.array(masks, np.uint8).reshape(-1, side, side),
        photos=np.array(photos, np.int64),
    )
    atomic_write(path, buffer.getvalue(), overwrite=True)


def feature_mask(landmarks: np.ndarray, side: int, size: int) -> np.ndarray:
    """Returns the soft mask of eyes, brows, lips and mouth with their outlines.

    Args:
      landmarks: Face mesh points, [>= 468, 2 or 3] in pixels of a picture.
      side: Side of that picture in pixels.
      size: Side of the mask in pixels.

    Returns:
      uint8 [size, size].
    """
    import cv2

    mask = np.maximum.reduce(list(feature_parts(landmarks, side).values()))
    reach = max(3, side // 32) | 1
    mask = cv2.blur(cv2.dilate(mask, np.ones((reach, reach))), (reach, reach))
    return np.uint8(255 * shrunk(mask, size))


def _loaded(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.load(path) as pairs:
        return tuple(pairs[name] for name in _ARRAYS)
