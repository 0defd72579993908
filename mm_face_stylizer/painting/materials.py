"""Skin, hair and clothes of a person, told apart by color and place."""

from __future__ import annotations

import numpy as np

# Mesh points on bare skin in nearly every face: cheeks, nose, the middle of the forehead.
_SKIN_POINTS = (
    50, 101, 36, 205, 187, 117, 118, 280, 330, 266, 425, 411, 346, 347, 4, 5, 195, 197, 6, 151, 9,
)  # fmt: skip
_CHIN, _FOREHEAD, _BROW_TOPS = 152, 10, (105, 334)
# Standard deviations in Lab below which no color is believed to vary: light and shade vary more
# than hue does, and clothes more than skin.
_SPREAD, _CLOTHES_SPREAD = 7.0, 14.0
# A part of fewer pixels, as a share of the picture, has no color of its own.
_LEAST_SHARE = 0.002
# Squared distance from the skin's color from which a pixel above the brows is a sample of hair.
_NOT_SKIN = 6.0
# Squared distance from which a color is that of something else, as of spectacles or outlines: its
# place then tells what it lies on.
_FOREIGN = 24.0
# Log odds of what cannot be told.
_NEVER, _UNKNOWN = -30.0, -6.0
# Share of samples that surely are of one material, and squared distance up to which others are.
_SURE, _ALIKE = 0.5, 16.0


def materials(
    picture: np.ndarray,
    points: np.ndarray,
    oval: np.ndarray,
    person: np.ndarray,
    features: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tells skin, hair and clothes apart.

    A Gaussian in Lab for each, estimated where the mesh says that it is, and a prior by place.
    Fringes and beards count as hair, ears and neck as skin. The edges follow the picture's: He et
    al., "Guided Image Filtering" (2013).

    Args:
      picture: float32 [side, side, 3] in [0, 1].
      points: Face mesh points, [>= 468, 2] in pixels.
      oval: The face's oval, [side, side] in [0, 1].
      person: Share of the person, [side, side] in [0, 1].
      features: Eyes, brows, lips and mouth, [side, side] in [0, 1]: they lie on skin.

    Returns:
      Shares of skin, hair and clothes, float32 [side, side]; their sum is `person`.
    """
    import cv2

    side = len(picture)
    lab = cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), side / 128), cv2.COLOR_RGB2LAB)
    chin, top = points[_CHIN], points[_FOREHEAD]
    axis = chin - top
    height = max(1.0, float(np.linalg.norm(axis)))
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    # Along the face, 0 at its top and 1 at its chin, and across it in half widths.
    along = ((columns - top[0]) * axis[0] + (rows - top[1]) * axis[1]) / height**2
    across = (columns - (chin + top)[0] / 2) * axis[1] - (rows - (chin + top)[1] / 2) * axis[0]
    across = np.abs(across) / (0.4 * height**2)
    brows = float(np.mean([(points[i] - top) @ axis for i in _BROW_TOPS])) / height**2
    inside = oval > 0.5
    below = 1.0 / (1.0 + np.exp(-np.clip((along - 1.02) * height / side * 40.0, -30.0, 30.0)))
    outside = (person > 0.6) & ~inside

    to_skin = _Color(_samples(lab, points), _SPREAD).distance(lab)
    place = np.where(inside, 0.9, 0.25 * (1.0 - below) + 0.25 * (along < 1.35) * below)
    scores = [np.log(0.02 + 0.98 * place) - 0.5 * np.minimum(to_skin, _FOREIGN)]

    # Between brows and mouth it is spectacles or large drawn eyes rather than hair.
    # A beard is believed only if its color leaves no doubt: a shadow on a cheek is skin.
    on_face = np.where(along < brows, 0.35, np.where(along > 0.7, 0.03, 0.01))
    on_face = np.where((along > brows) & (along < 0.65) & (across < 0.7), 0.0, on_face)
    beside = np.where(across > 0.75, 0.12, 0.01)
    place = np.where(inside, on_face, 0.7 * (1.0 - below) + beside * below)
    seeds = outside & (along < brows) & (to_skin > _NOT_SKIN)
    if seeds.mean() >= _LEAST_SHARE:
        distance = np.minimum(_Color(lab[seeds], _SPREAD).distance(lab), _FOREIGN)
        scores.append(np.log(0.001 + place) - 0.5 * distance)
    else:
        scores.append(np.full((side, side), _NEVER))

    place = 0.8 * below
    seeds = outside & (along > 1.15)
    if seeds.mean() >= _LEAST_SHARE:
        distance = _Color(lab[seeds], _CLOTHES_SPREAD).distance(lab)
        scores.append(np.log(1e-7 + place) - 0.5 * distance)
    else:
        scores.append(np.log(0.001 + place) + _UNKNOWN)

    # Nothing that a face wears is clothes.
    scores[2] = np.where(inside, _NEVER, scores[2])
    odds = np.stack(scores, axis=-1).astype(np.float32)
    odds = np.exp(np.maximum(odds - odds.max(axis=-1, keepdims=True), _NEVER))
    odds /= odds.sum(axis=-1, keepdims=True)
    odds = cv2.GaussianBlur(odds, (0, 0), side / 128)
    pinned = cv2.dilate(features.astype(np.float32), np.ones((5, 5)))
    odds[..., 0] = np.maximum(odds[..., 0], pinned)
    odds[..., 1:] *= (1.0 - pinned)[..., np.newaxis]
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    radius = max(2, side // 64)
    shares = [_guided_filter(odds[..., k], gray, radius, 1e-3) for k in range(3)]
    total = np.maximum(shares[0] + shares[1] + shares[2], 1e-3)
    skin, hair, clothes = ((share / total * person).astype(np.float32) for share in shares)
    return skin, hair, clothes


class _Color:
    """A Gaussian in Lab, fitted to the samples that are most alike.

    Samples of skin may lie on a fringe or on spectacles.
    """

    def __init__(self, samples: np.ndarray, spread: float):
        values = samples.reshape(-1, 3).astype(np.float64)
        self._spread = np.diag([spread, 0.6 * spread, 0.6 * spread]) ** 2
        # The densest place, by the distance to the nearest share of the others.
        some = values[:: max(1, len(values) // 400)]
        apart = np.linalg.norm(some[:, np.newaxis] - some, axis=-1)
        reach = np.sort(apart, axis=1)[:, int(_SURE * (len(some) - 1))]
        distance = np.linalg.norm(values - some[int(reach.argmin())], axis=1)
        self._fit(values[distance <= np.quantile(distance, _SURE)])
        self._fit(values[self._squares(values) <= _ALIKE])

    def _fit(self, values: np.ndarray) -> None:
        covariance = self._spread
        if len(values) > 3:
            covariance = covariance + 1.5 * np.cov(values.T)
        self._mean = values.mean(axis=0)
        self._precision = np.linalg.inv(covariance)

    def _squares(self, values: np.ndarray) -> np.ndarray:
        offset = values - self._mean
        return ((offset @ self._precision) * offset).sum(axis=1)

    def distance(self, lab: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance of each pixel."""
        return self._squares(lab.reshape(-1, 3)).reshape(lab.shape[:2])


def _samples(lab: np.ndarray, points: np.ndarray) -> np.ndarray:
    side = len(lab)
    radius = max(1, side // 64)
    steps = np.arange(-radius, radius + 1)
    chosen = np.round(points[list(_SKIN_POINTS)]).astype(np.int64)
    rows = np.clip(chosen[:, 1, np.newaxis, np.newaxis] + steps[:, np.newaxis], 0, side - 1)
    columns = np.clip(chosen[:, 0, np.newaxis, np.newaxis] + steps, 0, side - 1)
    return lab[rows, columns]


def _guided_filter(mask: np.ndarray, guide: np.ndarray, radius: int, flat: float) -> np.ndarray:
    """A mask whose edges follow the guide's; variances below `flat` count as none."""
    import cv2

    window = (2 * radius + 1, 2 * radius + 1)
    mean_guide, mean_mask = cv2.blur(guide, window), cv2.blur(mask, window)
    covariance = cv2.blur(guide * mask, window) - mean_guide * mean_mask
    variance = cv2.blur(guide * guide, window) - mean_guide**2
    slope = covariance / (variance + flat)
    offset = mean_mask - slope * mean_guide
    return np.clip(cv2.blur(slope, window) * guide + cv2.blur(offset, window), 0.0, 1.0)
