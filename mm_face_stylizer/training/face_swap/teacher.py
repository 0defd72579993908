"""A teacher for face swapping that needs nobody's weights: one face's skin over the other's mesh.

The published network is distilled from a large one. Here its place is taken by geometry: the
source's face is warped piece by piece onto the target's face mesh and takes the target's light.
What is not face stays the target's: hair over the forehead, spectacles, the inside of the mouth,
and eyes that are open or closed while the source's are not. Pairs for which this fails are found by
`SwappedPair.quality`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_face_stylizer.painting.face_texture import warp_field
from mm_face_stylizer.painting.portrait import Portrait

# Points of the face mesh. The top of the oval, from ear to ear over the forehead, and its bottom.
_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
_BROW_TOPS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_TOP, _CHIN, _NOSE_TIP = 10, 152, 4
_OUTER_EYES = (33, 263)
# Upper and lower lid, and the corners, of each eye.
_EYES = ((159, 145, 33, 133), (386, 374, 263, 362))
# An eye whose opening is less than this share of the other face's is not that face's eye.
_LEAST_OPENING = 0.6
_BRIDGE = (122, 196, 6, 419, 351, 168)
_SPECTACLES = (
    139, 70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300, 368, 264, 447, 345, 352, 280, 330, 277,
    437, 197, 217, 47, 101, 50, 123, 116, 227, 34,
)  # fmt: skip
# The mask fades out above the brows: from here to here, of the way to the oval's top.
_FADE = (0.5, 1.0)
# Width of the mask's soft border, and of the blur that separates light from detail, as fractions of
# the distance of the eyes' outer corners; and that of a blur which hard shadows survive.
_BORDER, _LIGHT, _SHADOW = 0.04, 0.45, 0.22
# Depth in L*a*b* at which dark lines on the bridge of the nose are the frame of spectacles.
_FRAME = 9.0
# Pairs of a quality below this are of no use.
LEAST_QUALITY = 0.2


@dataclasses.dataclass(frozen=True, eq=False)
class SwappedPair:
    """What the teacher makes of a source and a target.

    Attributes:
      picture: The target with the source's face, uint8 [side, side, 3].
      mask: Where it differs from the target, float32 [side, side] in [0, 1].
      quality: From 0, a failure, to 1.
    """

    picture: np.ndarray
    mask: np.ndarray
    quality: float


def swap_faces(source: Portrait, target: Portrait) -> SwappedPair:
    """Puts a source's face into a target's picture.

    Args:
      source: The person whose face it is to be.
      target: The picture whose pose, expression, light, hair and background stay; of the same side.
    """
    import cv2

    side = target.side
    field, broken = warp_field(target.landmarks, source.landmarks, side)

    def warped(picture):
        return cv2.remap(
            picture,
            field[..., 0],
            field[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )

    scale = float(np.linalg.norm(np.subtract(*target.landmarks[list(_OUTER_EYES)])))
    region = _region(target.landmarks, side)
    source_cover = warped(np.ascontiguousarray(_cover(source)))
    # Where the source's hair would come along, the target's forehead stays.
    own_cover = _cover(target)
    mask = region * (1.0 - source_cover) * (1.0 - own_cover)
    mask = cv2.erode(mask, np.ones((3, 3)))
    mask = cv2.GaussianBlur(mask, (0, 0), _BORDER * scale) * cv2.GaussianBlur(
        region, (0, 0), 0.02 * scale
    )

    face, light_gap = _relit(warped(source.picture), target, mask, scale)
    kept = _inner_mouth(source, target)
    openings = sorted(_eye_opening(portrait) for portrait in (source, target))
    if openings[0] < _LEAST_OPENING * openings[1]:
        kept = np.maximum(kept, target.parts["eyes"])
    mask = mask * (1.0 - cv2.GaussianBlur(kept, (0, 0), 0.01 * scale))
    mask = np.where(mask < 0.02, 0.0, mask).astype(np.float32)
    picture = target.picture + mask[..., np.newaxis] * (face - target.picture)

    inside = region > 0.5
    quality = (
        _falling(float(source_cover[inside].mean()), 0.05, 0.25)
        * _falling(float(broken[inside].mean()), 0.01, 0.15)
        * _falling(abs(source.turn - target.turn), 0.15, 0.6)
        * _falling(light_gap, 9.0, 26.0)
        # A laughing face's folds and teeth do not become a closed mouth.
        * _falling(source.mouth_opening - target.mouth_opening, 0.04, 0.2)
        * _falling(spectacles(source), 0.5, 1.5)
        * (1.0 - _falling(float(mask[inside].mean()), 0.3, 0.6))
    )
    pixels = (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return SwappedPair(pixels, mask, quality)


def spectacles(portrait: Portrait) -> float:
    """How clearly a dark frame crosses the bridge of the nose: spectacles from about 1."""
    box = portrait.landmarks[list(_BRIDGE)]
    scale = float(np.linalg.norm(np.subtract(*portrait.landmarks[list(_OUTER_EYES)])))
    (left, top), (right, bottom) = box.min(axis=0), box.max(axis=0)
    margin = 0.05 * scale
    rows = slice(max(0, int(top - margin)), int(bottom + margin) + 1)
    columns = slice(max(0, int(left + margin)), int(right - margin) + 1)
    lines = _dark_lines(portrait, scale)[rows, columns]
    if not lines.size:
        return 0.0
    # A frame crosses every column of the bridge.
    return float(np.median(lines.max(axis=0)) / _FRAME)


def _dark_lines(portrait: Portrait, scale: float) -> np.ndarray:
    """How much darker thin lines are than what surrounds them, in units of L*."""
    import cv2

    light = cv2.cvtColor(portrait.picture, cv2.COLOR_RGB2LAB)[..., 0]
    size = max(3, round(0.12 * scale) | 1)
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.morphologyEx(light, cv2.MORPH_BLACKHAT, shape)


def _cover(portrait: Portrait) -> np.ndarray:
    """What hides the face: hair above the nose's tip, and the frame of spectacles.

    Below it, hair is a beard, which belongs to the face.
    """
    import cv2

    scale = float(np.linalg.norm(np.subtract(*portrait.landmarks[list(_OUTER_EYES)])))
    tip, chin, top = (portrait.landmarks[index] for index in (_NOSE_TIP, _CHIN, _TOP))
    axis = (chin - top) / max(1.0, float(np.linalg.norm(chin - top)))
    rows, columns = np.mgrid[: portrait.side, : portrait.side].astype(np.float32)
    below = (columns - tip[0]) * axis[0] + (rows - tip[1]) * axis[1]
    # Small shares of hair are shadows.
    hair = np.clip((portrait.parts["hair"] - 0.4) / 0.3, 0.0, 1.0)
    hair = (hair * np.clip(1.0 - below / (0.1 * scale), 0.0, 1.0)).astype(np.float32)
    hair = cv2.dilate(hair, np.ones((3, 3)))
    if spectacles(portrait) < 1.0:
        return hair
    zone = _filled([portrait.landmarks[list(_SPECTACLES)]], portrait.side)
    eyes = cv2.dilate(portrait.parts["eyes"], np.ones((3, 3)))
    frame = np.clip(_dark_lines(portrait, scale) / _FRAME - 0.5, 0.0, 1.0) * zone * (1.0 - eyes)
    return np.maximum(hair, cv2.dilate(frame, np.ones((3, 3))))


def _region(points: np.ndarray, side: int) -> np.ndarray:
    """The oval up to a little above the brows, float32 [side, side] in [0, 1]."""
    oval = _filled([points[list(_OVAL)]], side)
    axis = points[_CHIN] - points[_TOP]
    height = float(axis @ axis)
    brows = float(np.mean((points[list(_BROW_TOPS)] - points[_TOP]) @ axis)) / height
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    along = (columns - points[_TOP, 0]) * axis[0] + (rows - points[_TOP, 1]) * axis[1]
    above = 1.0 - along / height / max(1e-3, brows)
    near, far = _FADE
    return (oval * np.clip((far - above) / (far - near), 0.0, 1.0)).astype(np.float32)


def _relit(
    face: np.ndarray, target: Portrait, mask: np.ndarray, scale: float
) -> tuple[np.ndarray, float]:
    """Gives a warped face the target's light and skin color.

    Light is what a wide blur over skin leaves; eyes, brows and lips do not count as skin.

    Returns:
      The face, float32 [side, side, 3], and the size of the change in units of L*, which is large
      for hard light.
    """
    import cv2

    own = cv2.cvtColor(face, cv2.COLOR_RGB2LAB)
    lab = cv2.cvtColor(target.picture, cv2.COLOR_RGB2LAB)
    features = np.maximum.reduce([target.parts[n] for n in ("eyes", "brows", "lips", "mouth")])
    features = cv2.dilate(features, np.ones((5, 5)))
    weight = (mask * (1.0 - features) + 1e-4)[..., np.newaxis]

    def light(picture, width):
        sigma = width * scale
        total = cv2.GaussianBlur(picture * weight, (0, 0), sigma)
        return total / cv2.GaussianBlur(weight[..., 0], (0, 0), sigma)[..., np.newaxis]

    change = light(lab, _LIGHT) - light(own, _LIGHT)
    inside = mask > 0.5
    shadows = (light(lab, _SHADOW) - light(own, _SHADOW))[inside, 0]
    spread = float(shadows.std()) if inside.any() else 100.0
    relit = cv2.cvtColor((own + change).astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.clip(relit, 0.0, 1.0), spread


def _eye_opening(portrait: Portrait) -> float:
    """Height of the eyes' openings as a fraction of their width."""
    points = portrait.landmarks
    shares = []
    for upper, lower, outer, inner in _EYES:
        width = np.linalg.norm(points[outer] - points[inner])
        shares.append(np.linalg.norm(points[upper] - points[lower]) / max(1.0, float(width)))
    return float(np.mean(shares))


def _inner_mouth(source: Portrait, target: Portrait) -> np.ndarray:
    """The inside of the target's mouth, where one of the mouths is open."""
    if source.has_open_mouth or target.has_open_mouth:
        return target.parts["mouth"]
    return np.zeros_like(target.parts["mouth"])


def _filled(contours, side: int) -> np.ndarray:
    """Polygons with soft edges, float32 [side, side] in [0, 1]."""
    import cv2

    mask = np.zeros((side, side), np.float32)
    for contour in contours:
        cv2.fillPoly(mask, [np.round(contour * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return mask


def _falling(value: float, good: float, bad: float) -> float:
    """1 up to `good`, 0 from `bad` on."""
    return float(np.clip((bad - value) / (bad - good), 0.0, 1.0))
