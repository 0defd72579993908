"""Skin tone, measured: the individual typology angle of a photo's cheeks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.evaluation.landmarks import inter_ocular_distance
from task_bundle.faces.alignment import Face

# Mesh points on the cheekbones and below, of the left and of the right cheek.
_CHEEKS = (50, 205, 280, 425)
# Half the side of the square round each, of the inter-ocular distance.
_REACH = 0.08
# Below it a photo is as good as grey, and has no skin tone to measure.
_LEAST_CHROMA = 2.0
# Lower bounds in degrees: Del Bino and Bernerd, "Variations in skin colour and the biological
# consequences of ultraviolet radiation exposure" (2013).
_TONES = (
    (55.0, "very light"),
    (41.0, "light"),
    (28.0, "intermediate"),
    (10.0, "tan"),
    (-30.0, "brown"),
    (-90.0, "dark"),
)


def typology_angle(photo: npt.NDArray[np.uint8], face: Face) -> float:
    """Individual typology angle of the cheeks.

    arctan((L* - 50) / b*) in degrees. Source: Chardon, Cretois and Hourseau, "Skin colour typology
    and suntanning pathways" (1991). The median of the pixels of four small squares, in CIELAB of
    sRGB under D65; the light of the photo is not taken out, so that a person in the shade measures
    darker.

    Args:
      photo: uint8 [height, width, 3] RGB.
      face: The face in it.

    Returns:
      Degrees, the lighter the greater; NaN for a grey photo and for cheeks outside of it.
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
    # Skin is yellowish; where b* is not positive the light is blue, and the angle ends at 90.
    return float(np.degrees(np.arctan2(lightness - 50.0, max(float(b), 1e-3))))


def tone(angle: float) -> str:
    """Returns the name of a typology angle's class; empty for NaN."""
    return next((name for least, name in _TONES if angle >= least), "")
