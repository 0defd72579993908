"""Spectacles in a drawing of flat areas: whether there are any, and where."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer.painting.colors import lab_of
from mm_face_stylizer.painting.portrait import Portrait

# Mesh points on bare skin; the inner corners of the eyes; the middle of the brows, of the nose, and
# the temples.
_SKIN = (50, 36, 205, 187, 280, 266, 425, 411, 4, 5)
_INNER_CORNERS, _MIDDLE_OF_BROWS, _NOSE, _TEMPLES = (133, 362), 9, 5, (127, 356)
# Distance in Lab from the skin's color from which a place is no skin.
_NOT_SKIN = 20.0
# Distance in Lab from the color of its bridge up to which a place is the frame.
_FRAME = 15.0
# Share of the columns between the eyes that a bridge covers; the line of a nose covers few.
_BRIDGE = 0.8


def spectacles(style: Portrait) -> np.ndarray:
    """Finds the frame of spectacles.

    Args:
      style: A drawing of flat areas; shaded faces have too many colors.

    Returns:
      bool [side, side]; nowhere true without spectacles.
    """
    import cv2

    side = style.side
    lab = lab_of(style.picture)
    points = np.clip(np.round(style.landmarks).astype(int), 0, side - 1)
    skin = np.median(lab[points[list(_SKIN), 1], points[list(_SKIN), 0]], axis=0)
    foreign = np.linalg.norm(lab - skin, axis=-1) > _NOT_SKIN
    rows = slice(points[_MIDDLE_OF_BROWS, 1], points[_NOSE, 1] + 1)
    left, right = sorted(points[list(_INNER_CORNERS), 0])
    found = np.zeros((side, side), bool)
    bridge = foreign[rows, left : right + 1]
    if not bridge.size or bridge.any(axis=0).mean() < _BRIDGE:
        return found
    color = np.median(lab[rows, left : right + 1][bridge], axis=0)
    frame = (np.linalg.norm(lab - color, axis=-1) < _FRAME).astype(np.uint8)
    # Its soft edges belong to it.
    frame = cv2.dilate(frame, np.ones((3, 3))) > 0
    start, end = sorted(points[list(_TEMPLES), 0])
    found[rows, start : end + 1] = (frame & foreign)[rows, start : end + 1]
    return found & (style.parts["hair"] < 0.5)
