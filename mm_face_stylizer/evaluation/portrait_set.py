"""The people that an evaluation is about: aligned portraits, and what a list says of them."""

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
from task_bundle.media.images import load_image

HELD_OUT_RULE = "the file's number is divisible by ten, or its name's checksum if it is no number"
# Columns of a list by which people are compared.
LABELS = ("gender", "age", "race")
_FILE, _SOURCE = "file", "source"


@dataclasses.dataclass(frozen=True)
class PortraitSet:
    """Portraits, aligned as the runtime aligns faces.

    Attributes:
      photos: uint8 [count, side, side, 3].
      files: Their file names.
      sources: Where each is from, by the list; empty where it does not say.
      labels: For each of `LABELS` that the list has the label of each portrait, empty where it
        does not say.
      without_face: Files that were left out, since no face was found to align.
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
        """Reads portraits.

        Args:
          folder: Folder of pictures, cropped as `task_bundle.faces.alignment.FaceCrop` crops.
          side: Side in pixels that they are resized to.
          face_list: CSV with the column `file`, and if it has them `source`, `gender`, `age` and
            `race`.
          everybody: Also pictures that presets may have been trained on; see `HELD_OUT_RULE`.
          limit: At most so many, spread evenly over the files' names.
          align: The pictures are photos: find the biggest face in each and crop it.
          face_models: What faces are found with, for `align`.

        Raises:
          ImageError: There is no such folder, it has no pictures or none that are held out, one
            cannot be read, or is not square and `align` is false; no face was found in any.
          ValueError: The list has no column `file`, or not all pictures; or the limit is not
            positive.
          OSError: The list cannot be read.
        """
        if limit is not None and limit < 1:
            raise InvalidArgumentError(f"the limit of portraits is {limit}; it must be at least 1")
        names = _pictures(Path(folder))
        chosen = [name for name in names if everybody or is_held_out(name)]
        if not chosen:
            raise ImageError(
                f"none of the {len(names)} pictures in {folder} is held out ({HELD_OUT_RULE}); to "
                "evaluate all of them, say so (--all)"
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
    """Reads aligned portraits, or aligns photos."""

    def __init__(self, folder: Path, side: int, align: bool, face_models: FaceModels | None):
        self._folder, self._side = folder, side
        self._finder = FaceFinder(face_models) if align else None

    def read(self, name: str) -> npt.NDArray[np.uint8] | None:
        """Reads a portrait; None if there is no face to align."""
        import cv2

        photo = load_image(self._folder / name)
        if self._finder is not None:
            faces = self._finder.find(photo)
            return faces[0].crop.crop(photo, self._side) if faces else None
        height, width = photo.shape[:2]
        if height != width:
            raise ImageError(
                f"{self._folder / name} has {width} x {height} pixels; portraits must be aligned "
                "and square, as the runtime crops faces, or be aligned here (--align)"
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
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
    )
    if not names:
        raise ImageError(f"{folder} has no pictures ({', '.join(PICTURE_SUFFIXES)})")
    return names


def _rows(face_list: Path, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The rows of a list by file."""
    try:
        with face_list.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if _FILE not in (reader.fieldnames or ()):
                raise DataError(
                    f"{face_list} has no column 'file'; its first line must name the columns: "
                    f"file, and any of source, {', '.join(LABELS)}"
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
    """Brings decades into one form: '50s' and '50-59' are '50-59', '70plus' is '70+'.

    Args:
      label: As a list has it; anything else stays as it is.
    """
    decade = re.fullmatch(r"(\d+)0s", label.strip())
    if decade:
        return f"{decade[1]}0-{decade[1]}9"
    return re.sub(r"(\d+)\s*plus$", r"\1+", label.strip())
