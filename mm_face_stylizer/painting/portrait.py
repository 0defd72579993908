"""A portrait as the painter sees it: the aligned face, its landmarks, its parts as soft masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mm_face_stylizer.painting.materials import materials
from mm_face_stylizer.painting.person_mask import PersonMask
from task_bundle.faces.alignment import FaceCrop

# Points of the face mesh, each a closed contour.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
BROWS = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
MOUTH = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
_LIP_TOP, _LIP_BOTTOM, _EYE_CORNERS = 13, 14, (33, 263)
_MESH_POINTS = 468
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# A mouth is open if its lips are as far apart as this, against the distance of the eyes.
_OPEN_MOUTH = 0.06

PARTS = ("skin", "eyes", "brows", "lips", "mouth", "hair", "clothes", "background")


@dataclasses.dataclass(frozen=True, eq=False)
class Portrait:
    """An aligned face and its parts.

    Attributes:
      picture: float32 [side, side, 3] in [0, 1]; outside the photo, its border goes on.
      landmarks: Face mesh points, float32 [468, 2] in pixels of the picture.
      valid: bool [side, side], true inside the photo.
      parts: Soft masks by the names of `PARTS`, float32 [side, side] in [0, 1].
      crop: The square of the photo that it shows; None if it came aligned.
    """

    picture: np.ndarray
    landmarks: np.ndarray
    valid: np.ndarray
    parts: dict[str, np.ndarray]
    crop: FaceCrop | None = None

    @property
    def side(self) -> int:
        """Side of the picture in pixels."""
        return len(self.picture)

    @property
    def pixels(self) -> np.ndarray:
        """The picture as uint8 [side, side, 3]."""
        return (self.picture * 255.0 + 0.5).astype(np.uint8)

    @property
    def luma(self) -> np.ndarray:
        """Brightness, float32 [side, side] in [0, 1]."""
        return self.picture @ _LUMA

    @property
    def mouth_opening(self) -> float:
        """Distance of the lips, as a fraction of the distance of the eyes' outer corners."""
        lips = self.landmarks[_LIP_BOTTOM] - self.landmarks[_LIP_TOP]
        left, right = self.landmarks[list(_EYE_CORNERS)]
        return float(np.linalg.norm(lips) / max(1.0, float(np.linalg.norm(right - left))))

    @property
    def has_open_mouth(self) -> bool:
        """Whether the inside of the mouth is seen."""
        return self.mouth_opening > _OPEN_MOUTH

    @property
    def turn(self) -> float:
        """Where the nose lies between the cheeks: -1 far left, 0 in the middle, 1 far right."""
        left, right, nose = self.landmarks[234, 0], self.landmarks[454, 0], self.landmarks[4, 0]
        return float(np.clip(2.0 * (nose - left) / max(1.0, right - left) - 1.0, -1.0, 1.0))

    @classmethod
    def from_photo(
        cls, photo: np.ndarray, landmarks: np.ndarray, person_mask: PersonMask, size: int = 256
    ) -> Portrait:
        """Aligns a face of a photo as the runtimes do.

        Args:
          photo: uint8 [height, width, 3].
          landmarks: Of the face, [>= 468, 2 or 3] in pixels of the photo.
          person_mask: Finds the person.
          size: Side of the aligned picture in pixels.
        """
        import cv2

        crop = own_crop = FaceCrop.from_landmarks(landmarks)
        # Bilinear reading alone would look at few pixels of a large photo.
        shrinking = max(1, int(crop.side / size))
        points = np.asarray(landmarks[:_MESH_POINTS], np.float64)[:, :2]
        if shrinking > 1:
            height, width = (max(1, length // shrinking) for length in photo.shape[:2])
            factors = np.array([width / photo.shape[1], height / photo.shape[0]])
            photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
            points = points * factors
            crop = FaceCrop.from_landmarks(
                np.asarray(landmarks, np.float64)[:, :2] * factors, whole_pixels=False
            )
        matrix = crop.matrix(size)[:2]
        picture = cv2.warpAffine(
            photo, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        inside = np.full(photo.shape[:2], 255, np.uint8)
        valid = cv2.warpAffine(inside, matrix, (size, size), flags=cv2.INTER_LINEAR) > 254
        aligned = points @ matrix[:, :2].T + matrix[:, 2]
        return cls._with_parts(picture, aligned, valid, person_mask, own_crop)

    @classmethod
    def from_aligned(
        cls,
        picture: np.ndarray,
        landmarks: np.ndarray,
        person_mask: PersonMask,
        valid: np.ndarray | None = None,
    ) -> Portrait:
        """Takes a picture that is aligned already.

        Args:
          picture: uint8 [side, side, 3].
          landmarks: [>= 468, 2 or 3] in pixels of the picture.
          person_mask: Finds the person.
          valid: bool [side, side], true inside the photo; black that touches the border counts as
            outside if None.
        """
        import cv2

        if valid is None:
            valid = ~_black_border(picture)
        if not valid.all():
            # The nearest pixel of the photo goes on outside, as in `from_photo`.
            inside = cv2.erode(valid.astype(np.uint8), np.ones((3, 3)))
            _, labels = cv2.distanceTransformWithLabels(
                1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
            )
            nearest = np.zeros(labels.max() + 1, np.int64)
            nearest[labels[inside > 0]] = np.flatnonzero(inside)
            picture = picture.reshape(-1, 3)[nearest[labels]]
        points = np.asarray(landmarks[:_MESH_POINTS], np.float64)[:, :2]
        return cls._with_parts(picture, points, valid, person_mask)

    @classmethod
    def _with_parts(cls, picture, points, valid, person_mask, crop=None) -> Portrait:
        side = len(picture)
        points = points.astype(np.float32)
        oval = _filled([points[list(OVAL)]], side)
        person = person_mask.find(picture, oval)
        own = picture.astype(np.float32) / 255.0
        parts = feature_parts(points, side)
        features = np.maximum.reduce(list(parts.values()))
        skin, hair, clothes = materials(own, points, oval, person * valid, features)
        parts |= {
            "skin": skin,
            "hair": hair,
            "clothes": clothes,
            "background": 1.0 - person,
        }
        return cls(own, points, valid, parts, crop)


def feature_parts(landmarks: np.ndarray, side: int) -> dict[str, np.ndarray]:
    """Returns soft masks of a face's eyes, brows, lips and mouth.

    Args:
      landmarks: Face mesh points, [>= 468, 2 or 3] in pixels of the picture.
      side: Side of the picture in pixels.

    Returns:
      float32 [side, side] in [0, 1] each.
    """
    points = np.asarray(landmarks, np.float32)[:, :2]
    parts = {
        "eyes": _filled([points[list(eye)] for eye in EYES], side),
        "brows": _filled([points[list(brow)] for brow in BROWS], side),
        "lips": _filled([points[list(LIPS)]], side),
        "mouth": _filled([points[list(MOUTH)]], side),
    }
    parts["lips"] = np.clip(parts["lips"] - parts["mouth"], 0.0, 1.0)
    return parts


def _filled(contours: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Polygons with soft edges, float32 [side, side] in [0, 1]."""
    import cv2

    mask = np.zeros((side, side), np.float32)
    for contour in contours:
        cv2.fillPoly(mask, [np.round(contour * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return mask


def _black_border(picture: np.ndarray) -> np.ndarray:
    """Black that touches the border: what lies outside a photo that was aligned before."""
    import cv2

    black = (picture.max(axis=2) <= 8).astype(np.uint8)
    _, labels = cv2.connectedComponents(black, connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    outside = np.isin(labels, np.setdiff1d(edge, [0])) & (black > 0)
    # A dark coat at the border is no border: outside the photo there is nothing but black.
    exact = outside & (picture.max(axis=2) <= 2)
    if exact.sum() < 0.6 * outside.sum() or outside.sum() < 0.002 * outside.size:
        return np.zeros_like(outside)
    return cv2.dilate(outside.astype(np.uint8), np.ones((5, 5))) > 0
