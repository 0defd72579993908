"""Skin tone of a photo, measured as the individual typology angle of the cheeks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.evaluation.landmarks import inter_ocular_distance
from task_bundle.faces.alignment import Face

# Face mesh indices of one point on and one point below each cheekbone.
_CHEEKS = (50, 205, 280, 425)
# Half the side of the square around each point, as a fraction of the inter-ocular distance.
_REACH = 0.08
# Chroma in CIELAB below which a photo counts as gray, so that its skin tone cannot be measured.
_LEAST_CHROMA = 2.0
# Lower bounds in degrees. Source: Del Bino and Bernerd, "Variations in skin colour and the
# biological consequences of ultraviolet radiation exposure" (2013).
_TONES = (
    (55.0, "very light"),
    (41.0, "light"),
    (28.0, "intermediate"),
    (10.0, "tan"),
    (-30.0, "brown"),
    (-90.0, "dark"),
)


def typology_angle(photo: npt.NDArray[np.uint8], face: Face) -> float:
    """Computes the individual typology angle of the cheeks, arctan((L* - 50) / b*).

    L* and b* are medians over the pixels of four small squares on the cheeks, converted from sRGB
    to CIELAB (D65). The lighting of the photo is not corrected, so a person in the shade has a
    smaller angle. Source: Chardon, Cretois and Hourseau, "Skin colour typology and suntanning
    pathways" (1991).

    Args:
      photo: uint8 [height, width, 3] RGB.
      face: The face in the photo.

    Returns:
      The angle in degrees, in [-90, 90]; larger is lighter. NaN if the photo is gray or the cheeks
      are outside the photo.
    """
    import cv2

    height, width = photo.shape[:2]
    reach = max(1.0, _REACH * inter_ocular_distance(face))
    squares = []
    for x, y in face.landmarks[list(_CHEEKS), :2]:
        top, bottom = (int(np.clip(y + s * reach + 0.5, 0, height)) for s in (-1, 1))
        left, right = (int(np.clip(x + s * reach + 0.5, 0, width)) for s in (-1, 1))
        squares.append(photo[top:bottom, left:right].reshape(-1, 3))
    pixels = np.concatenate(squares)
    if not len(pixels):
        return float("nan")
    lab = cv2.cvtColor(pixels[np.newaxis].astype(np.float32) / 255.0, cv2.COLOR_RGB2Lab)[0]
    lightness, a, b = np.median(lab, axis=0)
    if np.hypot(a, b) < _LEAST_CHROMA:
        return float("nan")
    # b* of skin is positive except in blue light. It is clipped there, so that the angle stays
    # within [-90, 90].
    return float(np.degrees(np.arctan2(lightness - 50.0, max(float(b), 1e-3))))


def tone(angle: float) -> str:
    """Returns the name of the skin tone class of a typology angle.

    Args:
      angle: Individual typology angle in degrees, or NaN.

    Returns:
      A name from 'very light' to 'dark'; empty for NaN.
    """
    return next((name for least, name in _TONES if angle >= least), "")
