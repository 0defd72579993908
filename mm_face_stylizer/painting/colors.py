"""Colors of the parts of a painting: the photo's own, or the nearest that the style has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mm_face_stylizer.painting.portrait import Portrait

# A part of fewer pixels, as a share of the picture, has no color of its own.
_LEAST_SHARE = 0.004
# Parts that have a person's colors; the background is the style's.
_OWN = ("skin", "lips", "hair", "clothes")
# Parts whose colors differ from one picture of a style to the next, and those that go with one.
_VARIED = {"skin": ("skin",), "hair": ("hair", "brows"), "clothes": ("clothes",)}
# Distance in Lab at which a color of a palette hardly counts beside one that fits.
_REACH = 13.0
# Standard deviation in Lab of what counts as the color of a part: outlines keep theirs.
_AREA = 18.0
# Photographed skin and hair are darker than what drawings of the same person have. Of a photo's
# skin, what light falls on counts, these shares of it by lightness, and not what lies in shadow.
_LIGHTER = 1.2
_LIT = (0.6, 0.95)


class Palette:
    """The colors of skin, hair and clothes in several flat pictures of one style."""

    def __init__(self, styles: Sequence[Portrait]):
        """Measures the colors.

        Args:
          styles: Pictures of the style.
        """
        described = [(style, lab_of(style.picture)) for style in styles]
        self._colors = {
            part: np.array(
                [color for seen in described if (color := _color(*seen, part)) is not None]
            ).reshape(-1, 3)
            for part in _VARIED
        }

    def applied(self, picture: np.ndarray, photo: Portrait) -> np.ndarray:
        """A painting with the style's colors that are nearest to the photo's in each part.

        Between two colors that fit equally well it is their mean, so that similar people get
        similar colors and a network can learn which.

        Args:
          picture: The painting, float32 [side, side, 3] in [0, 1].
          photo: What was painted.

        Returns:
          float32 [side, side, 3].
        """
        painted, photographed = lab_of(picture), lab_of(photo.picture)
        shift = np.zeros_like(painted)
        for part, covered in _VARIED.items():
            own, colors = _color(photo, photographed, part, part == "skin"), self._colors[part]
            if own is None or not len(colors):
                continue
            mask = photo.parts[part] * photo.valid
            present = _middle(painted, mask)
            drawn = own * (_LIGHTER, 1.0, 1.0)
            squares = ((colors - drawn) ** 2).sum(axis=1)
            weights = np.exp(-(squares - squares.min()) / (2.0 * _REACH**2))
            wanted = (weights[:, np.newaxis] * colors).sum(axis=0) / weights.sum()
            near = np.exp(-((painted - present) ** 2).sum(axis=-1) / (2.0 * _AREA**2))
            share = near * sum(photo.parts[name] for name in covered)
            shift += share[..., np.newaxis] * (wanted - present)
        return _rgb(painted + shift)


def recolored(picture: np.ndarray, photo: Portrait) -> np.ndarray:
    """A painting with the photo's mean color in each part, its own tones kept.

    Args:
      picture: The painting, float32 [side, side, 3] in [0, 1].
      photo: What was painted.

    Returns:
      float32 [side, side, 3].
    """
    painted, wanted = lab_of(picture), lab_of(photo.picture)
    shift = np.zeros_like(painted)
    weight = np.full(painted.shape[:2], 1e-3, np.float32)
    for name in _OWN:
        mask = photo.parts[name] * photo.valid
        weight += photo.parts[name]
        if mask.mean() < 1e-3:
            continue
        means = [
            (mask[..., np.newaxis] * image).sum(axis=(0, 1)) / mask.sum()
            for image in (wanted, painted)
        ]
        difference = means[0] - means[1]
        # Light paper is part of the manner; most of a part's own tone is not.
        difference[0] *= 0.6
        shift += photo.parts[name][..., np.newaxis] * difference
    weight += photo.parts["background"]
    return _rgb(painted + shift / weight[..., np.newaxis])


def _color(
    portrait: Portrait, lab: np.ndarray, part: str, is_lit: bool = False
) -> np.ndarray | None:
    """The color in Lab of most of a part, or of what light falls on; None without such a part.

    `lab` is the portrait's picture in Lab.
    """
    mask = portrait.parts[part] * portrait.valid
    if mask.mean() < _LEAST_SHARE:
        return None
    if is_lit:
        low, high = np.quantile(lab[mask > 0.5 * mask.max(), 0], _LIT)
        mask = mask * ((lab[..., 0] >= low) & (lab[..., 0] <= high))
    return _middle(lab, mask)


def _middle(lab: np.ndarray, mask: np.ndarray) -> np.ndarray:
    chosen = mask > 0.5 * mask.max()
    return np.median(lab[chosen], axis=0)


def lab_of(picture: np.ndarray) -> np.ndarray:
    """A picture, RGB in [0, 1], in CIELAB, float32 of the same shape."""
    import cv2

    return cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2LAB)


def _rgb(lab: np.ndarray) -> np.ndarray:
    import cv2

    lab = lab.astype(np.float32)
    lab[..., 0] = np.clip(lab[..., 0], 0.0, 100.0)
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
