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
    with FaceFinder() as finder:
        people = [finder.find(photo)[0].crop.crop(photo, _SIDE) for photo in photos]
    people += [face.pixels for face in practice_faces(_SIDE, _COLUMNS - len(people))]
    rows: list[list[npt.NDArray[np.uint8]]] = [people]
    for style in arguments.style:
        model = StylizerModel(ready_bundle(style).stylizer)
        rows.append([model.run(person) for person in people])
        sys.stdout.write(f"{style}\n")
    _save(rows, arguments.folder / "styles.jpg", _SIDE * 5 // 8)
    columns = rows[: _STRIP_STYLES + 1]
    strip = [[column[person] for column in columns] for person in range(len(photos[:2]))]
    _save(strip, arguments.folder / "strip.jpg", _STRIP_SIDE)


def _save(rows: list[list[npt.NDArray[np.uint8]]], path: pathlib.Path, side: int) -> None:
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    size = (side * len(rows[0]), side * len(rows))
    Image.fromarray(sheet).resize(size, Image.Resampling.LANCZOS).save(path, quality=_QUALITY)


if __name__ == "__main__":
    main()
