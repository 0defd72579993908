"""Contact sheets of an evaluation, for visual inspection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures

COLUMNS = 8
_PAIRS = 64
_WORST = 16


def pairs_sheet(
    photos: Pictures, pictures: Pictures, made: str, styles: Sequence[Pictures] = ()
) -> ContactSheet:
    """Shows up to 64 photos, spread evenly over the set, each with its output below it.

    Args:
      photos: uint8 [count, side, side, 3].
      pictures: uint8 of the same shape, the outputs.
      made: Caption of the outputs.
      styles: Style pictures; the first eight are shown in a row at the top.
    """
    chosen = np.linspace(0, len(photos) - 1, min(_PAIRS, len(photos))).astype(int)
    sheet = _pairs(photos[chosen], pictures[chosen], made)
    if not len(styles):
        return sheet
    rows = [list(styles[:COLUMNS]), *sheet.rows]
    return ContactSheet(rows, ["style", *sheet.captions])


def worst_sheet(
    photos: Pictures, pictures: Pictures, errors: Numbers, lost: Sequence[int], made: str
) -> ContactSheet:
    """Shows the 16 worst outputs: those without a face, then those with the largest errors.

    Args:
      photos: uint8 [count, side, side, 3].
      pictures: uint8 of the same shape, the outputs.
      errors: Landmark errors, [count]; NaN where there is none.
      lost: Indices of the outputs in which no face is found.
      made: Caption of the outputs.
    """
    known = [int(i) for i in np.argsort(-errors) if np.isfinite(errors[i])]
    chosen = [*lost, *known][:_WORST]
    return _pairs(photos[chosen], pictures[chosen], f"{made}, worst first")


def faces_sheet(faces: Pictures, caption: str) -> ContactSheet:
    """Shows up to 64 faces, the first of a set.

    Args:
      faces: uint8 [count, side, side, 3].
      caption: Caption of the sheet.
    """
    shown = min(_PAIRS, len(faces))
    rows = [list(faces[start : start + COLUMNS]) for start in range(0, shown, COLUMNS)]
    return ContactSheet(rows, [caption])


def _pairs(photos: Pictures, pictures: Pictures, made: str) -> ContactSheet:
    rows: list[list[Pictures]] = []
    captions: list[str] = []
    for start in range(0, len(photos), COLUMNS):
        rows += [list(photos[start : start + COLUMNS]), list(pictures[start : start + COLUMNS])]
        captions += ["portraits", made]
    return ContactSheet(rows, captions)
