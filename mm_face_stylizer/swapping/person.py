"""Reads the photos of the person whose face others are to wear, and refuses unsuitable ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mm_face_stylizer.painting.person_mask import PersonMask
from mm_face_stylizer.painting.portrait import Portrait
from task_bundle.errors import ImageError, NoFaceError
from task_bundle.faces.alignment import Face, FaceFinder
from task_bundle.faces.face_models import FaceModels

# Another face counts if its crop is this wide against the largest one's.
_SECOND_FACE = 0.4
# Side of the face's crop in pixels, which is about twice as wide as the face.
_LEAST_SIDE = 128
# Where the nose lies between the cheeks, see `Portrait.turn`; 0.7 is at about 35 degrees.
_MOST_TURN = 0.7
# Detail of one to three pixels against the contrast of the skin. Portraits have 0.07 to 0.2;
# blurred by 4 px of 256, 0.03 to 0.07.
_LEAST_SHARPNESS = 0.05


def read_person(
    photos: Mapping[str, np.ndarray], side: int, face_models: FaceModels | None = None
) -> list[Portrait]:
    """Finds the face in each photo of a person.

    Args:
      photos: Photos by name, uint8 [height, width, 3]; the names are for messages.
      side: Side of the portraits in pixels.
      face_models: The models that find faces; `find_face_models()` if None.

    Returns:
      A portrait for each photo.

    Raises:
      NoFaceError: A photo shows no face.
      ImageError: A photo shows several faces, a profile, or a face that is tiny or blurred; or it
        is no such array.
      FaceModelsError: There are no face models.
    """
    mask = PersonMask()
    portraits = []
    with FaceFinder(face_models) as finder:
        for name, photo in photos.items():
            face = _only_face(finder.find_with_margins(photo), name)
            portrait = Portrait.from_photo(photo, face.landmarks[:, :2], mask, side)
            _check(portrait, name)
            portraits.append(portrait)
    return portraits


def _only_face(faces: list[Face], name: str) -> Face:
    if not faces:
        raise NoFaceError(f"no face was found in {name}; it should show one, from the front")
    side = faces[0].crop.side
    count = sum(face.crop.side >= _SECOND_FACE * side for face in faces)
    if count > 1:
        raise ImageError(f"{name} shows {count} faces; crop it to the person who is meant")
    if side < _LEAST_SIDE:
        # The face itself takes about half of its crop.
        raise ImageError(
            f"the face in {name} is tiny: about {side / 2:.0f} px wide; it needs "
            f"{_LEAST_SIDE // 2} px, and 200 px are better"
        )
    return faces[0]


def _check(portrait: Portrait, name: str) -> None:
    if abs(portrait.turn) > _MOST_TURN:
        raise ImageError(f"the face in {name} is seen from the side; it should look ahead")
    found = _sharpness(portrait)
    if found < _LEAST_SHARPNESS:
        raise ImageError(
            f"the face in {name} is blurred (sharpness {found:.3f}; {_LEAST_SHARPNESS} is the "
            "least, and good portraits have 0.07 and more); take a sharper photo"
        )


def _sharpness(portrait: Portrait) -> float:
    import cv2

    skin = portrait.parts["skin"] > 0.5
    if not skin.any():
        return 0.0
    luma, scale = portrait.luma, portrait.side / 256
    # The finest detail is left out: it may be noise.
    fine, coarse = (cv2.GaussianBlur(luma, (0, 0), sigma * scale) for sigma in (1.0, 2.5))
    detail = np.abs(fine - coarse)
    return float(detail[skin].mean() / max(0.02, float(luma[skin].std())))
