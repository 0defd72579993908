"""Photos and their paintings in many styles: what learning to draw is trained on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import dataclasses
import io
import multiprocessing
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from mm_face_stylizer.errors import DataError
from mm_face_stylizer.painting.painter import Painter
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.training.portraits import Portraits
from task_bundle.errors import NoFaceError
from task_bundle.faces.face_models import FaceModels
from task_bundle.files import atomic_write
from task_bundle.media.images import load_image

# The style whose paintings are the photos themselves.
PHOTO_STYLE = "photo"
_HELD_OUT = 16


@dataclasses.dataclass(frozen=True)
class PairBatch:
    """What one training step needs.

    Attributes:
      photos: Index of each photo, int [batch].
      styles: Index of each style, int [batch].
      paintings: uint8 [batch, side, side, 3].
    """

    photos: np.ndarray
    styles: np.ndarray
    paintings: np.ndarray


@dataclasses.dataclass(frozen=True)
class PaintedPairs:
    """Paintings of photos.

    Attributes:
      styles: Name of each style; the last is `PHOTO_STYLE`.
      photos: uint8 [people, side, side, 3].
      held_out: Photos of people that are never painted, uint8 [count, side, side, 3].
      paintings: uint8 [pairs, side, side, 3].
      photo_of: Index of each painting's photo, int [pairs].
      style_of: Index of each painting's style, int [pairs].
    """

    styles: tuple[str, ...]
    photos: np.ndarray
    held_out: np.ndarray
    paintings: np.ndarray
    photo_of: np.ndarray
    style_of: np.ndarray

    def batch(self, random: np.random.Generator, size: int) -> PairBatch:
        """Draws pairs, each style as often as any other.

        Args:
          random: Decides.
          size: Number of pairs.
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
        """Paints people in many styles, or takes what was painted before.

        Args:
          styles: Pictures of each style by its name.
          portraits: Whom to paint; those held out are not.
          face_models: The models that find faces.
          cache: Folder of the paintings, a file a style; made if it is missing. To be deleted when
            style pictures or the painter have changed.
          people: Number of people that are painted at all.
          per_style: Paintings of each style.
          seed: Seed of who is painted how.
          workers: Number of processes.

        Raises:
          ImageError: A style picture cannot be read.
          NoFaceError: None of a style's pictures shows a face.
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
        # Not forked: MediaPipe and LiteRT have threads.
        with concurrent.futures.ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), _prepare, (photos, face_models)
        ) as pool:
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
        # What a strength of 0 is: with it, the way from photo to style lies in one network.
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
    """Which pictures make which style.

    Args:
      path: CSV file with the columns `file` and `set`.
      folder: Where the files are.

    Returns:
      The files of each set, in the list's order.

    Raises:
      OSError: The list cannot be read.
      ValueError: A column or a file is missing, or there are no files.
    """
    with path.open(newline="", encoding="utf-8-sig") as listing:
        reader = csv.DictReader(listing)
        if missing := {"file", "set"} - set(reader.fieldnames or ()):
            raise DataError(f"{path} has no column {', '.join(sorted(missing))}")
        styles: dict[str, list[pathlib.Path]] = {}
        for row in reader:
            file = folder / row["file"]
            if not file.is_file():
                raise DataError(f"{path} lists {row['file']}, which {folder} does not have")
            styles.setdefault(row["set"], []).append(file)
    if not styles:
        raise DataError(f"{path} lists no style picture")
    return styles


# What a painting process works with; set once in each.
_process: dict = {}


def _prepare(photos: np.ndarray, face_models: FaceModels) -> None:
    """Loads what a painting process needs."""
    import cv2

    # As many processes as cores; threads of their own would be in each other's way.
    cv2.setNumThreads(1)
    _process.update(photos=photos, finder=PortraitFinder(face_models))


def _paint_style(
    name: str, files: list[pathlib.Path], rows: np.ndarray, path: pathlib.Path, seed: int
) -> None:
    """Paints a style's pairs into a file."""
    photos, finder = _process["photos"], _process["finder"]
    styles = []
    for file in files:
        with contextlib.suppress(NoFaceError):
            styles.append(finder.find(load_image(file), photos.shape[1]))
    if not styles:
        raise NoFaceError(f"no face was found in the pictures of the style {name}: {files[0]}, ...")
    painter = Painter(styles, seed=seed)
    painted, people = [], []
    for row in rows:
        with contextlib.suppress(NoFaceError):
            painted.append(painter.paint(finder.find_aligned(photos[row])).picture)
            people.append(row)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, paintings=np.stack(painted), photos=np.array(people))
    atomic_write(path, buffer.getvalue(), overwrite=True)
