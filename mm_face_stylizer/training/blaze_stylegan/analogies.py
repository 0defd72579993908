"""Image analogies: estimates how the style's artist would have painted a face.

Every place of a face takes the strokes of the corresponding place in the style picture: at the same
position relative to the oval of the face, equally far inside or outside of it, on an eye if it is
on an eye, of similar relative brightness, with similar edges. Statistics of a whole picture cannot
distinguish skin from background; analogies can, without any training. Source: Hertzmann et al.,
"Image Analogies" (2001); the guides for faces follow Fiser et al., "Example-Based Synthesis of
Stylized Facial Animations" (2017).
"""

from __future__ import annotations

import dataclasses

import numpy as np

ANALOGY_SIDE = 64
_PATCH = 5
# Weights of the guides, in units in which a picture's tones span 1 and a face's half-width is 1.
_PLACE, _OVAL, _FEATURE, _TONE, _EDGES = 1.0, 1.5, 2.0, 2.0, 0.6
# Cost of a seam between a place and a neighbor, in units of squared differences of guides.
_SEAM = 0.1
_ROUNDS = 4
_NEIGHBORS = ((0, 1), (0, -1), (1, 0), (-1, 0))
# Positions are clipped at twice the face's size, beyond which there is only background.
_FURTHEST = 2.0
# A tone is a weighted mean of the rank of its brightness within face or background and of the
# brightness itself; this is the weight of the rank.
_RANK_SHARE = 0.5
_PARTS = 16
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
    """Features of a face picture by which corresponding places of two pictures are found.

    Attributes:
      picture: The picture, downsampled, [64, 64, 3] in [-1, 1].
      vectors: One feature vector per place, [64 * 64, size].
      features: [64, 64, 1], 1 on eyes, brows and mouth, 0 elsewhere, with soft edges.
      skin: Mean brightness inside the oval of the face, in [-1, 1].
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
        center, half = (low + high) / 2, np.maximum((high - low) / 2, 1.0)
        y, x = np.mgrid[:side, :side] + 0.5
        place = np.stack([(x - center[0]) / half[0], (y - center[1]) / half[1]], axis=-1)
        place = np.clip(place, -_FURTHEST, _FURTHEST).reshape(-1, 2)
        tones = _patches(_tones(small, oval > 0.5)[..., np.newaxis])
        mean = tones.mean(axis=1, keepdims=True)
        features = _filled([points[list(contour)] for contour in _FEATURES])
        features = cv2.GaussianBlur(features, (0, 0), 1.0)[..., np.newaxis]
        vectors = np.concatenate(
            [
                _PLACE * place,
                _OVAL * oval.reshape(-1, 1),
                _FEATURE * features.reshape(-1, 1),
                _TONE * mean,
                _EDGES * (tones - mean),
            ],
            axis=1,
        )
        skin = float((small.mean(axis=-1) * oval).sum() / max(oval.sum(), 1.0))
        return cls(small, vectors.astype(np.float32), features, skin)


def analogy(face: Guide, style: Guide) -> np.ndarray:
    """Finds the place in the style picture that corresponds to each place of a face.

    Args:
      face: Guides of the face.
      style: Guides of the style picture.

    Returns:
      Row and column of the place in the style picture, int [64, 64, 2]. Neighbors come from
      neighboring places where that costs little, so that strokes stay in one piece.
    """
    nearest = _nearest(face.vectors, style.vectors).reshape(ANALOGY_SIDE, ANALOGY_SIDE)
    return _coherent(np.stack(np.divmod(nearest, ANALOGY_SIDE), axis=-1), face, style)


def painted(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Assembles a face from the strokes of a style picture.

    Args:
      picture: The style picture, [side, side, 3], the side a multiple of 64.
      places: As `analogy` returns them, int [64, 64, 2].

    Returns:
      [side, side, 3]. Every pixel is a weighted mean of the pixels that the four nearest places
      propose, so that seams are soft while strokes in one piece stay sharp.
    """
    side = picture.shape[0]
    scale = side // ANALOGY_SIDE
    pixel = np.arange(side)
    first = np.floor((pixel + 0.5) / scale - 0.5).astype(int)
    total, weights = np.zeros_like(picture), np.zeros((side, side, 1), picture.dtype)
    for down in (0, 1):
        for right in (0, 1):
            rows = np.clip(first + down, 0, ANALOGY_SIDE - 1)
            columns = np.clip(first + right, 0, ANALOGY_SIDE - 1)
            near = [
                np.square(1.0 - np.abs((pixel + 0.5) / scale - 0.5 - (first + step)))
                for step in (down, right)
            ]
            weight = (near[0][:, np.newaxis] * near[1])[..., np.newaxis]
            place = places[rows[:, np.newaxis], columns]
            y = place[..., 0] * scale + (pixel - rows * scale)[:, np.newaxis]
            x = place[..., 1] * scale + (pixel - columns * scale)
            total += weight * picture[np.clip(y, 0, side - 1), np.clip(x, 0, side - 1)]
            weights += weight
    return total / weights


def _coherent(places: np.ndarray, face: Guide, style: Guide) -> np.ndarray:
    """Moves places to continue their neighbors' strokes, if the guides match nearly as well.

    Iterated conditional modes (Besag, 1986) on a checkerboard: black places are optimized given the
    white ones, then white given black.
    """
    side = ANALOGY_SIDE
    guides = face.vectors.reshape(side, side, -1)
    wanted = style.vectors.reshape(side, side, -1)
    steps = np.array(_NEIGHBORS)[:, np.newaxis]
    rows, columns = np.mgrid[:side, :side]
    for half in range(2 * _ROUNDS):
        here = np.stack(np.nonzero((rows + columns) % 2 == half % 2), axis=-1)
        beside = np.clip(here + steps, 0, side - 1)
        # Where a place would have to come from to continue each neighbor.
        continued = places[beside[..., 0], beside[..., 1]] - steps
        candidates = np.concatenate([places[here[:, 0], here[:, 1]][np.newaxis], continued])
        candidates = np.clip(candidates, 0, side - 1)
        costs = [
            np.square(guides[here[:, 0], here[:, 1]] - wanted[own[:, 0], own[:, 1]]).sum(axis=-1)
            + _SEAM * (own != continued).any(axis=-1).sum(axis=0)
            for own in candidates
        ]
        best = np.argmin(costs, axis=0)
        places[here[:, 0], here[:, 1]] = candidates[best, np.arange(len(here))]
    return places


def _filled(contours) -> np.ndarray:
    """Draws filled polygons, float32 [64, 64]: 1 inside of any, 0 outside."""
    import cv2

    mask = np.zeros((ANALOGY_SIDE, ANALOGY_SIDE), np.float32)
    fixed_point = 4
    for contour in contours:
        # Integer coordinates are pixel edges here and pixel centers in OpenCV.
        rounded = np.round((contour - 0.5) * 2**fixed_point).astype(np.int32)
        cv2.fillPoly(mask, [rounded], 1.0, cv2.LINE_8, fixed_point)
    return mask


def _tones(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns brightness in [0, 1], mixed with its rank inside or outside of the oval."""
    brightness = (picture.mean(axis=-1) + 1.0) / 2.0
    ranks = np.zeros_like(brightness)
    for region in (inside, ~inside):
        count = np.count_nonzero(region)
        order = np.argsort(np.argsort(brightness[region], kind="stable"), kind="stable")
        ranks[region] = (order + 0.5) / max(count, 1)
    return _RANK_SHARE * ranks + (1.0 - _RANK_SHARE) * brightness


def _patches(picture: np.ndarray) -> np.ndarray:
    """Returns the patch around every pixel, [side * side, channels * patch * patch]."""
    border = _PATCH // 2
    padded = np.pad(picture, ((border, border), (border, border), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_PATCH, _PATCH), axis=(0, 1))
    return windows.reshape(picture.shape[0] * picture.shape[1], -1).astype(np.float32)


def _nearest(vectors: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Returns the index of each vector's nearest candidate."""
    nearest = []
    # All distances at once would take 64 MiB.
    for some in np.split(vectors, _PARTS):
        # |a - b|^2 without |a|^2, which is the same for all candidates.
        distances = some @ (-2.0 * candidates.T)
        distances += np.square(candidates).sum(axis=1)
        nearest.append(distances.argmin(axis=1))
    return np.concatenate(nearest)
