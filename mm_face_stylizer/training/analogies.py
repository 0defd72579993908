"""Image analogies: what a face would look like, coarsely, if the style's artist had painted it.

Every patch of a face takes the colours of the patch of the style picture that plays the same part:
as far inside or outside the oval of the face, in the same place relative to it, as bright among its
kind, with the same edges. Statistics of a whole picture cannot tell skin from wall; this can, and
without any training. Source: Hertzmann et al., "Image Analogies" (2001); the guides for faces
follow Fiser et al., "Example-Based Synthesis of Stylized Facial Animations" (2017).
"""

from __future__ import annotations

import dataclasses

import numpy as np

ANALOGY_SIDE = 64
_PATCH = 5
_ROUNDS = 2
# Weights of the guides, in units in which a picture's tones span 1 and a face's half-width is 1.
_PLACE, _OVAL, _TONE, _EDGES, _COHERENCE = 1.0, 1.5, 2.0, 0.6, 0.5
# Beyond twice the face's size the place no longer matters: walls are walls.
_FURTHEST = 2.0
# Of a tone, how much is its rank among its kind and how much its brightness as such.
_RANK_SHARE = 0.5
# Contours in the face mesh: MediaPipe's FACE_OVAL, and the outer rims of eyes with brows, and lips.
_OVAL_POINTS = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
_FEATURES = (
    (70, 63, 105, 66, 107, 55, 193, 245, 128, 120, 119, 118, 117, 226),
    (300, 293, 334, 296, 336, 285, 417, 465, 357, 349, 348, 347, 346, 446),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
)


@dataclasses.dataclass(frozen=True)
class Guide:
    """What decides which patches of two pictures play the same part.

    Attributes:
      picture: The picture itself, [64, 64, 3] in [-1, 1].
      vectors: One vector of guides a patch, [64 * 64, size].
      features: [64, 64, 1], 1 on eyes, brows and mouth, 0 elsewhere, softly.
      skin: Mean brightness inside the oval.
    """

    picture: np.ndarray
    vectors: np.ndarray
    features: np.ndarray
    skin: float

    @classmethod
    def of(cls, picture: np.ndarray, landmarks: np.ndarray) -> Guide:
        """Computes the guides of a face.

        Args:
          picture: [side, side, 3] in [-1, 1].
          landmarks: The face mesh, [468, 2 or 3] as fractions of the side.
        """
        import cv2

        side = ANALOGY_SIDE
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        points = landmarks[:, :2] * side
        oval_points = points[list(_OVAL_POINTS)]
        oval = _filled([oval_points])
        low, high = oval_points.min(axis=0), oval_points.max(axis=0)
        centre, half = (low + high) / 2, np.maximum((high - low) / 2, 1.0)
        y, x = np.mgrid[:side, :side] + 0.5
        place = np.stack([(x - centre[0]) / half[0], (y - centre[1]) / half[1]], axis=-1)
        place = np.clip(place, -_FURTHEST, _FURTHEST).reshape(-1, 2)
        tones = _patches(_tones(small, oval > 0.5)[..., np.newaxis])
        mean = tones.mean(axis=1, keepdims=True)
        vectors = np.concatenate(
            [
                _PLACE * place,
                _OVAL * oval.reshape(-1, 1),
                _TONE * mean,
                _EDGES * (tones - mean),
            ],
            axis=1,
        )
        features = _filled([points[list(contour)] for contour in _FEATURES])
        features = cv2.GaussianBlur(features, (0, 0), 1.0)[..., np.newaxis]
        skin = float((small.mean(axis=-1) * oval).sum() / max(oval.sum(), 1.0))
        return cls(small, vectors.astype(np.float32), features, skin)


def analogy(face: Guide, style: Guide) -> np.ndarray:
    """Paints a face as the style is painted.

    Args:
      face: Guides of the face.
      style: Guides of the style picture.

    Returns:
      [64, 64, 3] in [-1, 1].
    """
    patches = _patches(style.picture)
    painted = _voted(patches[_nearest(face.vectors, style.vectors)])
    style_vectors = np.concatenate([style.vectors, _COHERENCE * patches], axis=1)
    for _ in range(_ROUNDS - 1):
        face_vectors = np.concatenate([face.vectors, _COHERENCE * _patches(painted)], axis=1)
        painted = _voted(patches[_nearest(face_vectors, style_vectors)])
    return painted


def _filled(contours) -> np.ndarray:
    import cv2

    mask = np.zeros((ANALOGY_SIDE, ANALOGY_SIDE), np.float32)
    fixed_point = 4
    for contour in contours:
        # Points name pixel edges, OpenCV's pixel centres.
        rounded = np.round((contour - 0.5) * 2**fixed_point).astype(np.int32)
        cv2.fillPoly(mask, [rounded], 1.0, cv2.LINE_8, fixed_point)
    return mask


def _tones(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Brightness in [0, 1], half its rank inside or outside the oval, half as it is."""
    brightness = (picture.mean(axis=-1) + 1.0) / 2.0
    ranks = np.zeros_like(brightness)
    for region in (inside, ~inside):
        count = np.count_nonzero(region)
        order = np.argsort(np.argsort(brightness[region], kind="stable"), kind="stable")
        ranks[region] = (order + 0.5) / max(count, 1)
    return _RANK_SHARE * ranks + (1.0 - _RANK_SHARE) * brightness


def _patches(picture: np.ndarray) -> np.ndarray:
    """The patch round every pixel, [side * side, channels * patch * patch]."""
    border = _PATCH // 2
    padded = np.pad(picture, ((border, border), (border, border), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_PATCH, _PATCH), axis=(0, 1))
    return windows.reshape(picture.shape[0] * picture.shape[1], -1).astype(np.float32)


def _voted(patches: np.ndarray) -> np.ndarray:
    """The picture whose every pixel is the mean of all patches that cover it, inner ones first."""
    side, border = ANALOGY_SIDE, _PATCH // 2
    grid = patches.reshape(side, side, 3, _PATCH, _PATCH)
    total = np.zeros((side + 2 * border, side + 2 * border, 3), np.float32)
    weights = np.zeros((side + 2 * border, side + 2 * border, 1), np.float32)
    for i in range(_PATCH):
        for j in range(_PATCH):
            weight = np.exp(-((i - border) ** 2 + (j - border) ** 2) / 2.0)
            total[i : i + side, j : j + side] += weight * grid[..., i, j]
            weights[i : i + side, j : j + side] += weight
    return (total / weights)[border:-border, border:-border]


def _nearest(vectors: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Index of each vector's nearest candidate."""
    # |a - b|^2 without |a|^2, which is the same for all candidates.
    distances = vectors @ (-2.0 * candidates.T)
    distances += np.square(candidates).sum(axis=1)
    return distances.argmin(axis=1)
