"""Draws the pictures of the README and the docs that show what the ready styles make of people.

    python -m benchmarks.studies.shop_window docs [--photo PHOTO ...]

Writes strip.jpg, two photos and what the first ready styles make of them, and styles.jpg, a row for
each ready style. People are the photos given, Grace Hopper, and practice faces, which show nobody.
The released pictures were drawn with NASA's portrait of Eileen Collins, `skimage.data.astronaut()`.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from mm_face_stylizer.demo import portrait
from mm_face_stylizer.practice_faces import practice_faces
from mm_face_stylizer.ready_styles import ready_bundle, ready_styles
from task_bundle.faces.alignment import FaceFinder
from task_bundle.media.images import load_image
from task_bundle.runtime.stylizer_model import StylizerModel

_SIDE, _STRIP_SIDE = 256, 240
_COLUMNS, _STRIP_STYLES = 8, 5
_QUALITY = 85


def main() -> None:
    """Stylizes all people in all styles, and writes both pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--photo", nargs="*", default=[], type=pathlib.Path)
    parser.add_argument("--style", nargs="*", default=list(ready_styles()), help="ready styles")
    arguments = parser.parse_args()
    photos = [*(load_image(path) for path in arguments.photo), portrait()]
    people = shown_people(photos, _SIDE)
    rows: list[list[npt.NDArray[np.uint8]]] = [people]
    for style in arguments.style:
        model = StylizerModel(ready_bundle(style).stylizer)
        rows.append([model.run(person) for person in people])
        sys.stdout.write(f"{style}\n")
    save_rows(rows, arguments.folder / "styles.jpg", _SIDE * 5 // 8)
    columns = rows[: _STRIP_STYLES + 1]
    strip = [[column[person] for column in columns] for person in range(len(photos[:2]))]
    save_rows(strip, arguments.folder / "strip.jpg", _STRIP_SIDE)


def shown_people(photos: Sequence[npt.NDArray[np.uint8]], side: int) -> list[npt.NDArray[np.uint8]]:
    """Returns eight aligned faces, uint8 [side, side, 3]: those of photos, then practice faces."""
    with FaceFinder() as finder:
        people = [finder.find(photo)[0].crop.crop(photo, side) for photo in photos]
    return people + [face.pixels for face in practice_faces(side, _COLUMNS - len(people))]


def save_rows(
    rows: Sequence[Sequence[npt.NDArray[np.uint8]]],
    path: pathlib.Path,
    side: int,
    quality: int = _QUALITY,
) -> None:
    """Writes rows of square pictures as a JPEG, each picture `side` pixels wide."""
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    size = (side * len(rows[0]), side * len(rows))
    Image.fromarray(sheet).resize(size, Image.Resampling.LANCZOS).save(path, quality=quality)


if __name__ == "__main__":
    main()
