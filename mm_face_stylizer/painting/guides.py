"""Guide channels: what must agree between a place of the painting and one of the style picture.

Sources: Fiser et al., "Example-Based Synthesis of Stylized Facial Animations" (2017), for
positional, segmentation and appearance guides of faces; Fiser et al., "StyLit" (2016).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_face_stylizer.painting.correspondence import correspondence
from mm_face_stylizer.painting.portrait import Portrait

# Against the pixels of a patch, whose three channels count 1 each.
_SCALE = 0.5
_PART_WEIGHTS = {
    "skin": 1.8, "eyes": 1.5, "brows": 1.3, "lips": 1.3, "mouth": 1.8,
    "hair": 1.8, "clothes": 1.4, "background": 1.8,
}  # fmt: skip
_FRAME_WEIGHT = 1.5
_QUANTILES = np.linspace(0.0, 1.0, 33)
# A part of fewer pixels, as a share of the picture, has no tones of its own.
_LEAST_SHARE = 0.004
# Points of the face mesh.
_FOREHEAD, _CHIN = 10, 152
# How much a distance beyond the face counts.
_BEYOND = 0.15


@dataclasses.dataclass(frozen=True)
class GuideWeights:
    """Weights of the guides that decide between style and likeness.

    Attributes:
      place: Of the place in the face.
      tone: Of light and shade.
      edge: Of lines: tone against its surroundings.
    """

    place: float
    tone: float
    edge: float

    @classmethod
    def of_likeness(cls, likeness: float) -> GuideWeights:
        """Weights between the style's own features and the photo's light and shade.

        Args:
          likeness: 0 for the style's features at the photo's landmarks, 1 for the photo's shading.
        """
        return cls(
            place=4.0 - 3.2 * likeness, tone=0.25 + 1.95 * likeness, edge=0.3 + 1.9 * likeness
        )


def style_guides(style: Portrait, weights: GuideWeights, frame: np.ndarray) -> np.ndarray:
    """Guides of a style picture.

    Args:
      style: The style picture.
      weights: Weights of the guides.
      frame: Where it has spectacles, bool [side, side].

    Returns:
      float32 [side, side, channels].
    """
    axis = np.arange(style.side, dtype=np.float32)
    places = _near_face(np.stack(np.meshgrid(axis, axis), axis=-1), style)
    return _stacked(style, places, style.luma, tone_spread(style), weights, frame)


def photo_guides(
    photo: Portrait, style: Portrait, weights: GuideWeights, frame: np.ndarray
) -> np.ndarray:
    """Guides of a photo that is to be painted like a style picture, as `style_guides` gives them.

    Places are those in the style picture, and tones are the ones that the style has for them.
    Spectacles of the style picture are where it has them in its face: as skin, they would be
    painted on foreheads, too.

    Args:
      photo: The photo.
      style: The style picture.
      weights: Weights of the guides.
      frame: Where the style picture has spectacles, bool [side, side].

    Returns:
      float32 [side, side, channels].
    """
    import cv2

    places = correspondence(style.landmarks, photo.landmarks, photo.side)
    worn = cv2.remap(frame.astype(np.float32), places, None, cv2.INTER_LINEAR)
    tones, spread = matched_tones(photo, style), tone_spread(style)
    return _stacked(photo, _near_face(places, style), tones, spread, weights, worn)


def matched_tones(photo: Portrait, style: Portrait) -> np.ndarray:
    """Brightness of a photo with the style's distribution in each part, float32 [side, side].

    Parts are mixed by their soft masks, so that tones do not jump where one ends.
    """
    luma, style_luma = photo.luma, style.luma
    total = np.zeros_like(luma)
    weight = np.full_like(luma, 1e-3)
    whole = _mapping(luma, np.ones_like(luma), photo.valid, style_luma, style.valid)
    total += 1e-3 * whole(luma)
    # Eyes, brows and lips are darker than skin in photo and style alike: they keep the face's map.
    face = np.clip(sum(photo.parts[name] for name in ("skin", "eyes", "brows", "lips")), 0, 1)
    style_face = np.clip(sum(style.parts[name] for name in ("skin", "eyes", "brows", "lips")), 0, 1)
    masks = {
        name: (photo.parts[name], style.parts[name]) for name in ("hair", "clothes", "background")
    }
    for mask, style_mask in [(face, style_face), *masks.values()]:
        mapping = _mapping(luma, mask, photo.valid, style_luma, style.valid & (style_mask > 0.5))
        if mapping is None:
            mapping = whole
        total += mask * mapping(luma)
        weight += mask
    return total / weight


def tone_spread(style: Portrait) -> float:
    """Standard deviation of a style picture's brightness inside the photo; at least 0.02."""
    return max(0.02, float(style.luma[style.valid].std()))


def _mapping(luma, mask, valid, style_luma, style_mask):
    """The tone curve that gives the masked pixels the style's distribution; None if it has none."""
    own = luma[(mask > 0.5) & valid]
    theirs = style_luma[style_mask]
    if len(theirs) < _LEAST_SHARE * style_luma.size:
        return None
    if len(own) < 16:
        own = luma[valid]
    levels = np.quantile(own, _QUANTILES)
    wanted = np.quantile(theirs, _QUANTILES)
    return lambda tones: np.interp(tones, levels, wanted).astype(np.float32)


def _near_face(places: np.ndarray, style: Portrait) -> np.ndarray:
    """Places with distances beyond the style's face made shorter, continuously.

    On a face it matters where a patch comes from; in hair, clothes and walls it matters little.
    Otherwise hair that is higher than the style's would be painted from the outermost rim of the
    style's hair again and again, in stripes of hair and wall.
    """
    top, chin = style.landmarks[_FOREHEAD], style.landmarks[_CHIN]
    middle = (top + chin) / 2.0
    radius = max(1.0, float(np.linalg.norm(chin - top)) / 2.0)
    offset = places - middle
    distance = np.linalg.norm(offset, axis=-1, keepdims=True) / radius
    beyond = np.maximum(distance, 1.0)
    return (middle + offset * (1.0 + _BEYOND * (beyond - 1.0)) / beyond).astype(np.float32)


def _stacked(portrait, places, tones, spread, weights, frame) -> np.ndarray:
    import cv2

    scale = portrait.side / 256

    def blurred(mask, sigma):
        return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma * scale)

    channels = [weights.place * places / portrait.side]
    for name, weight in _PART_WEIGHTS.items():
        channels.append(weight * blurred(portrait.parts[name], 1.5)[..., np.newaxis])
    channels.append(_FRAME_WEIGHT * blurred(frame, 0.7)[..., np.newaxis])
    # In the style's own contrast: a pale pencil drawing has as much to say as a dark engraving.
    tones = tones * (0.2 / spread)
    channels.append(weights.tone * blurred(tones, 1.5)[..., np.newaxis])
    channels.append(weights.edge * (blurred(tones, 0.7) - blurred(tones, 4.0))[..., np.newaxis])
    return _SCALE * np.concatenate(channels, axis=-1).astype(np.float32)
