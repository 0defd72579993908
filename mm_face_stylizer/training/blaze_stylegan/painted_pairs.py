"""Training data of drawing networks: photos and their paintings in many styles."""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from mm_face_stylizer.errors import DataError
from mm_face_stylizer.models.blaze_stylegan.drawing import PHOTO_STYLE
from mm_face_stylizer.painting.painter import Painter
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.training.portraits import Portraits
from mm_face_stylizer.worker_pool import worker_pool
from task_bundle.errors import NoFaceError
from task_bundle.faces.face_models import FaceModels
from task_bundle.files import atomic_write
from task_bundle.media.images import load_image

# Number of photos that are shown on contact sheets but never painted.
_HELD_OUT = 16


@dataclasses.dataclass(frozen=True)
class PairBatch:
    """A batch of pairs for one training step.

    Attributes:
      photos: Indices into `PaintedPairs.photos`, int [batch].
      styles: Indices into `PaintedPairs.styles`, int [batch].
      paintings: The paintings of these photos in these styles, uint8 [batch, side, side, 3].
    """

    photos: np.ndarray
    styles: np.ndarray
    paintings: np.ndarray


@dataclasses.dataclass(frozen=True)
class PaintedPairs:
    """Pairs of a photo and a painting of it.

    All pictures are RGB in [0, 255].

    Attributes:
      styles: Names of the styles; the last is `PHOTO_STYLE`.
      photos: Photos of the people that are painted, uint8 [people, side, side, 3].
      held_out: Photos of people that are never painted, uint8 [count, side, side, 3].
      paintings: The painting of each pair, uint8 [pairs, side, side, 3].
      photo_of: Index of each pair's photo in `photos`, int [pairs].
      style_of: Index of each pair's style in `styles`, int [pairs].
    """

    styles: tuple[str, ...]
    photos: np.ndarray
    held_out: np.ndarray
    paintings: np.ndarray
    photo_of: np.ndarray
    style_of: np.ndarray

    def batch(self, random: np.random.Generator, size: int) -> PairBatch:
        """Samples pairs at random; all styles are equally likely.

        Args:
          random: Random generator.
          size: Number of pairs.

        Returns:
          The batch.
        """
        chosen = [
            random.choice(np.flatnonzero(self.style_of == style))
            for style in random.integers(0, len(self.styles), size)
        ]
        return PairBatch(self.photo_of[chosen], self.style_of[chosen], self.paintings[chosen])

    @classmethod
    def paint(
        cls,
        styles: Mapping[str, Sequence[pathlib.Path]],
        portraits: Portraits,
        face_models: FaceModels,
        cache: str | os.PathLike,
        people: int = 480,
        per_style: int = 32,
        seed: int = 0,
        workers: int = 2,
    ) -> PaintedPairs:
        """Paints people in many styles; paintings that are in the cache are loaded instead.

        Args:
          styles: Files with pictures of each style, keyed by the style's name. The first shows how
            to paint; further ones add their colors if the style is flat, see `Painter.only`.
          portraits: Portraits of the people to paint; held-out portraits are not painted.
          face_models: The models that find faces.
          cache: Folder with one file of paintings per style; created if it is missing. Delete it
            after the style pictures, the painter or the other arguments have changed.
          people: Maximum number of people that are painted.
          per_style: Maximum number of paintings per style.
          seed: Seed of the choice of people for each style, and of the painter.
          workers: Number of processes that paint.

        Returns:
          The pairs, including each photo paired with itself in the style `PHOTO_STYLE`.

        Raises:
          ImageError: A style picture cannot be read.
          NoFaceError: No face is found in any picture of a style.
        """
        cache = pathlib.Path(cache)
        cache.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(seed)
        chosen = np.sort(random.permutation(len(portraits.training()))[:people])
        photos = np.asarray(portraits.training()[chosen])
        jobs = []
        for name, files in styles.items():
            rows = random.permutation(len(photos))[:per_style]
            jobs.append((name, list(files), rows, cache / f"{name}_{portraits.side}.npz", seed))
        with worker_pool(workers, _prepare, (photos, face_models)) as pool:
            waiting = [pool.submit(_paint_style, *job) for job in jobs if not job[3].exists()]
            for done in tqdm(
                concurrent.futures.as_completed(waiting),
                total=len(waiting),
                desc="Painting",
                unit="style",
                disable=not waiting,
            ):
                done.result()
        paintings, photo_of, style_of = [], [], []
        for style, (*_, path, _) in enumerate(jobs):
            with np.load(path) as painted:
                paintings.append(painted["paintings"])
                photo_of.append(painted["photos"])
            style_of.append(np.full(len(photo_of[-1]), style))
        # This style is what a stylizer of strength 0 draws. With it, one network covers all
        # strengths from photo to style.
        paintings.append(photos)
        photo_of.append(np.arange(len(photos)))
        style_of.append(np.full(len(photos), len(jobs)))
        return cls(
            (*styles, PHOTO_STYLE),
            photos,
            portraits.held_out(_HELD_OUT),
            np.concatenate(paintings),
            np.concatenate(photo_of),
            np.concatenate(style_of),
        )


def read_style_list(path: pathlib.Path, folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Reads a list of style pictures.

    Args:
      path: CSV file with the columns `file`, the path of a picture, and `set`, its style's name.
      folder: Folder that the paths are relative to.

    Returns:
      The files of each style, in the order of the list.

    Raises:
      OSError: The list cannot be read.
      ValueError: A column or a file is missing, or the list is empty.
    """
    with path.open(newline="", encoding="utf-8-sig") as listing:
        reader = csv.DictReader(listing)
        if missing := {"file", "set"} - set(reader.fieldnames or ()):
            raise DataError(f"{path} has no column {', '.join(sorted(missing))}")
        styles: dict[str, list[pathlib.Path]] = {}
        for row in reader:
            file = folder / row["file"]
            if not file.is_file():
                raise DataError(
                    f"{path} lists {row['file']}, but there is no such file in {folder}"
                )
            styles.setdefault(row["set"], []).append(file)
    if not styles:
        raise DataError(f"{path} lists no style pictures")
    return styles


def read_ready_styles(path: pathlib.Path) -> dict[str, str]:
    """Reads which styles of a list are ready styles, which users call by name.

    Args:
      path: CSV file with the column `set` and, for ready styles, the column `ready`.

    Returns:
      The style of each name, in the order of the list.
    """
    with path.open(newline="", encoding="utf-8-sig") as listing:
        return {row["ready"]: row["set"] for row in csv.DictReader(listing) if row.get("ready")}


# Photos and portrait finder of a painting process; `_prepare` sets them once per process.
_process: dict = {}


def _prepare(photos: np.ndarray, face_models: FaceModels) -> None:
    """Initializes a painting process."""
    import cv2

    # With several painting processes, OpenCV's own threads would compete for the same cores.
    cv2.setNumThreads(1)
    _process.update(photos=photos, finder=PortraitFinder(face_models))


def _paint_style(
    name: str, files: list[pathlib.Path], rows: np.ndarray, path: pathlib.Path, seed: int
) -> None:
    """Paints the photos `rows` in one style, and writes paintings and rows to an NPZ file."""
    photos, finder = _process["photos"], _process["finder"]
    styles = []
    for file in files:
        with contextlib.suppress(NoFaceError):
            styles.append(finder.find(load_image(file), photos.shape[1]))
    if not styles:
        raise NoFaceError(f"no face was found in any picture of the style {name}: {files[0]}, ...")
    # As in few-shot training: pictures that contradict each other in shapes would be blurred.
    painter = Painter(styles, seed=seed).only(0)
    painted, people = [], []
    for row in rows:
        with contextlib.suppress(NoFaceError):
            painted.append(painter.paint(finder.find_aligned(photos[row])).picture)
            people.append(row)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, paintings=np.stack(painted), photos=np.array(people))
    atomic_write(path, buffer.getvalue(), overwrite=True)
