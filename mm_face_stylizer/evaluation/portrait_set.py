"""The portraits of an evaluation, with their sources and labels from a CSV file."""

from __future__ import annotations

import csv
import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mm_face_stylizer.errors import DataError, InvalidArgumentError
from mm_face_stylizer.held_out import PICTURE_SUFFIXES, is_held_out
from task_bundle.errors import ImageError
from task_bundle.faces.alignment import FaceFinder
from task_bundle.faces.face_models import FaceModels
from task_bundle.media.folders import list_files
from task_bundle.media.images import load_image

HELD_OUT_RULE = "the file's number is divisible by ten, or its name's checksum if it is no number"
# Columns of the CSV file whose labels define the groups that are compared.
LABELS = ("gender", "age", "race")
_FILE, _SOURCE = "file", "source"


@dataclasses.dataclass(frozen=True)
class PortraitSet:
    """Portraits, aligned as the runtime aligns faces.

    Attributes:
      photos: uint8 [count, side, side, 3] RGB.
      files: File name of each portrait.
      sources: Source of each portrait, from the CSV file; empty if unknown.
      labels: For each name in `LABELS` that the CSV file has labels for, the label of each
        portrait; empty if unknown.
      without_face: Names of the files that were left out because no face was found in them.
    """

    photos: npt.NDArray[np.uint8]
    files: tuple[str, ...]
    sources: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    without_face: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        side: int,
        face_list: str | os.PathLike[str] | None = None,
        *,
        everybody: bool = False,
        limit: int | None = None,
        align: bool = False,
        face_models: FaceModels | None = None,
    ) -> Self:
        """Loads portraits from a folder.

        Args:
          folder: Folder of square pictures, cropped as `task_bundle.faces.alignment.FaceCrop` does,
            or of photos if `align` is True.
          side: Side in pixels to which the portraits are resized.
          face_list: CSV file with the column `file` and any of the columns `source`, `gender`,
            `age` and `race`.
          everybody: Whether to include pictures that presets may have been trained on. If False,
            only held-out pictures are loaded; see `HELD_OUT_RULE`.
          limit: Maximum number of portraits, chosen at even steps from the sorted file names; no
            limit if None.
          align: Whether to find the largest face in each picture and crop it.
          face_models: The models that find faces if `align` is True; those of `find_face_models()`
            if None.

        Returns:
          The portraits, sorted by file name.

        Raises:
          ImageError: The folder does not exist, or it has no pictures or no held-out pictures; a
            picture cannot be read, or is not square although `align` is False; or no face was found
            in any picture.
          ValueError: The CSV file has no column `file` or lacks a row for a picture, or the limit
            is not positive.
          OSError: The CSV file cannot be read.
        """
        if limit is not None and limit < 1:
            raise InvalidArgumentError(f"the limit of portraits is {limit}; it must be at least 1")
        names = _pictures(Path(folder))
        chosen = [name for name in names if everybody or is_held_out(name)]
        if not chosen:
            raise ImageError(
                f"none of the {len(names)} pictures in {folder} is held out ({HELD_OUT_RULE}); to "
                "evaluate all of them, pass --all (in Python: everybody=True)"
            )
        if limit is not None:
            spread = np.linspace(0, len(chosen) - 1, min(limit, len(chosen))).astype(int)
            chosen = [chosen[index] for index in spread]
        rows = _rows(Path(face_list), chosen) if face_list is not None else {}
        photos, kept = [], []
        with _Reader(Path(folder), side, align, face_models) as reader:
            for name in tqdm(chosen, "Reading portraits", unit="image", leave=False):
                photo = reader.read(name)
                if photo is not None:
                    photos.append(photo)
                    kept.append(name)
        if not kept:
            raise ImageError(f"no face was found in any of the {len(chosen)} pictures in {folder}")
        found = [rows.get(name, {}) for name in kept]
        columns = [label for label in LABELS if any(row.get(label) for row in found)]
        return cls(
            photos=np.stack(photos),
            files=tuple(kept),
            sources=tuple(row.get(_SOURCE) or "" for row in found),
            labels={
                label: tuple(
                    age_group(row.get(label) or "") if label == "age" else row.get(label) or ""
                    for row in found
                )
                for label in columns
            },
            without_face=tuple(name for name in chosen if name not in set(kept)),
        )

    def __len__(self) -> int:
        """Number of portraits."""
        return len(self.files)


class _Reader:
    """Reads pictures, and aligns them on request."""

    def __init__(self, folder: Path, side: int, align: bool, face_models: FaceModels | None):
        self._folder, self._side = folder, side
        self._finder = FaceFinder(face_models) if align else None

    def read(self, name: str) -> npt.NDArray[np.uint8] | None:
        """Returns a portrait, uint8 [side, side, 3]; None if a photo has no face to align."""
        import cv2

        photo = load_image(self._folder / name)
        if self._finder is not None:
            faces = self._finder.find(photo)
            return faces[0].crop.crop(photo, self._side) if faces else None
        height, width = photo.shape[:2]
        if height != width:
            raise ImageError(
                f"{self._folder / name} has {width} x {height} pixels; portraits must be aligned "
                "and square, as the runtime crops faces; to crop photos, pass --align (in Python: "
                "align=True)"
            )
        way = cv2.INTER_AREA if height > self._side else cv2.INTER_LINEAR
        resized = cv2.resize(photo, (self._side, self._side), interpolation=way)
        return np.asarray(resized, np.uint8)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._finder is not None:
            self._finder.close()


def _pictures(folder: Path) -> list[str]:
    if not folder.exists():
        raise ImageError(f"the folder of faces {folder} does not exist")
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder of faces")
    names = [path.name for path in list_files(folder)]
    if not names:
        raise ImageError(f"{folder} has no pictures ({', '.join(PICTURE_SUFFIXES)})")
    return names


def _rows(face_list: Path, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Returns the rows of the CSV file, keyed by file name."""
    try:
        with face_list.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if _FILE not in (reader.fieldnames or ()):
                raise DataError(
                    f"{face_list} has no column 'file'; its first line must name the columns: "
                    f"file and any of source, {', '.join(LABELS)}"
                )
            rows = {row[_FILE]: row for row in reader}
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{face_list} is not a CSV file in UTF-8: {error}") from error
    missing = [name for name in names if name not in rows]
    if missing:
        raise DataError(
            f"{face_list} has no row for {missing[0]}"
            + (f" and {len(missing) - 1} other pictures" if len(missing) > 1 else "")
        )
    return rows


def age_group(label: str) -> str:
    """Normalizes the notation of an age group: '50s' becomes '50-59', '70plus' becomes '70+'.

    Args:
      label: The label in the CSV file.

    Returns:
      The normalized label. Labels in any other form only lose surrounding spaces.
    """
    decade = re.fullmatch(r"(\d+)0s", label.strip())
    if decade:
        return f"{decade[1]}0-{decade[1]}9"
    return re.sub(r"(\d+)\s*plus$", r"\1+", label.strip())
