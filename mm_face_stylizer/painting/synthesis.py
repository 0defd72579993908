"""Patch synthesis: a nearest-neighbor field from coarse to fine, and votes of overlapping patches.

Every patch of the painting is looked up in the style picture by what is painted so far and by the
guides; then each pixel becomes the mean of what the patches over it say. At coarse levels all
patches are compared; at finer ones a field is handed on, and good neighbors are propagated.
Sources: Wexler et al., "Space-Time Completion of Video" (2007), for votes; Barnes et al.,
"PatchMatch: A Randomized Correspondence Algorithm for Structural Image Editing" (2009).
"""

from __future__ import annotations

import dataclasses

import numpy as np

_PATCH = 5
_COMPONENTS = 16
_GUIDES = slice(_COMPONENTS, None)
# Sides of the levels as fractions of the picture's, and rounds on each.
_LEVELS = ((8, 3), (4, 4), (2, 3), (1, 2))
# Up to so many pixels a side all patches of the style are compared.
_EXHAUSTIVE_SIDE = 64
_BLOCK = 2048
_STEPS = (1, 3)
# A patch from elsewhere must be this much better: strokes are longer than patches.
_COHERENCE = 0.85
_REFUSED = 1e6
# What it costs a patch to be used as often as it would be if all of the painting were made of it,
# spread over the patches that overlap it. Without that, large areas repeat a few patches.
_REUSE = 0.004


@dataclasses.dataclass(frozen=True)
class _Level:
    """A style picture at one size.

    Attributes:
      side: Side in pixels.
      picture: float32 [side * side, 3].
      mean: Mean patch, [75].
      basis: Principal components of patches, [75, components].
      vectors: Patches in that basis, and guides, float32 [side * side, dimensions].
      penalty: What a patch that leaves the photo costs, float32 [side * side].
      allowed: Indices of patches that do not.
    """

    side: int
    picture: np.ndarray
    mean: np.ndarray
    basis: np.ndarray
    vectors: np.ndarray
    penalty: np.ndarray
    allowed: np.ndarray


class PatchSource:
    """A style picture, prepared for the synthesis of many paintings."""

    def __init__(self, picture: np.ndarray, guides: np.ndarray, valid: np.ndarray):
        """Prepares all levels.

        Args:
          picture: float32 [side, side, 3] in [0, 1].
          guides: float32 [side, side, channels]; see `guides.style_guides`.
          valid: bool [side, side]; patches that touch anything else are never used.

        Raises:
          ValueError: Nothing of the picture is valid.
        """
        self.side = len(picture)
        self._levels = [
            _prepared(picture, guides, valid, self.side // factor) for factor, _ in _LEVELS
        ]

    def mismatch(self, guides: np.ndarray) -> float:
        """How far the guides of a photo are from anything in the picture, at the coarsest level.

        Args:
          guides: See `paint`.
        """
        level = self._levels[0]
        wanted = _shrunken(guides, level.side).reshape(level.side**2, -1)
        offset = wanted - level.vectors[_nearest(wanted, level, _GUIDES)][:, _GUIDES]
        return float(np.einsum("nd,nd->n", offset, offset).mean())

    def paint(self, guides: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Synthesizes a painting.

        Args:
          guides: Of the photo, as many channels as the source's, [side, side, channels].
          random: Decides where better patches are looked for.

        Returns:
          float32 [side, side, 3] in [0, 1].
        """
        field, painting = None, None
        for level, (_, rounds) in zip(self._levels, _LEVELS, strict=True):
            wanted = _shrunken(guides, level.side).reshape(level.side**2, -1)
            if field is None:
                field = _nearest(wanted, level, _GUIDES)
            else:
                field = _doubled(field, level.side)
            painting = _votes(field, level)
            for _ in range(rounds):
                patches = _patches(painting.reshape(level.side, level.side, 3))
                target = np.hstack([(patches - level.mean) @ level.basis, wanted])
                if level.side <= _EXHAUSTIVE_SIDE:
                    field = _nearest(target, level, slice(None), _reuse(field, level.side))
                else:
                    field = _improved(field, target, level, random)
                painting = _votes(field, level)
        return painting.reshape(self.side, self.side, 3)


def _prepared(picture, guides, valid, side) -> _Level:
    import cv2

    small = _shrunken(picture, side)
    # A patch is allowed if all of it lies inside the photo.
    inside = (_shrunken(valid.astype(np.float32), side) > 0.999).astype(np.uint8)
    kernel = np.ones((_PATCH, _PATCH), np.uint8)
    allowed = cv2.erode(inside, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1) > 0
    if not allowed.any():
        allowed = inside > 0
    if not allowed.any():
        raise ValueError("nothing of the style picture lies inside the photo")
    patches = _patches(small)
    mean = patches[allowed.ravel()].mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((patches[allowed.ravel()] - mean).T))
    basis = np.ascontiguousarray(vectors[:, ::-1][:, :_COMPONENTS], np.float32)
    own_guides = _shrunken(guides, side).reshape(side * side, -1)
    return _Level(
        side,
        small.reshape(-1, 3),
        mean,
        basis,
        np.hstack([(patches - mean) @ basis, own_guides]).astype(np.float32),
        np.where(allowed.ravel(), 0.0, _REFUSED).astype(np.float32),
        np.flatnonzero(allowed.ravel()),
    )


def _shrunken(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps of [side, side, channels], any number of channels, by area averaging."""
    factor = len(maps) // side
    if factor == 1:
        return maps
    shape = (side, factor, side, factor, *maps.shape[2:])
    return maps.reshape(shape).mean(axis=(1, 3), dtype=np.float32)


def _patches(picture: np.ndarray) -> np.ndarray:
    """Patches round all pixels, float32 [pixels, 75], such that a squared distance is a mean."""
    radius = _PATCH // 2
    padded = np.pad(picture, ((radius, radius), (radius, radius), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_PATCH, _PATCH), axis=(0, 1))
    return windows.reshape(len(picture) ** 2, -1) / np.float32(_PATCH)


def _reuse(field: np.ndarray, side: int) -> np.ndarray:
    """What each patch of the source costs because it is used already, float32 [pixels].

    Source: Kaspar et al., "Self Tuning Texture Optimization" (2015), section 5, for the idea.
    """
    import cv2

    count = np.bincount(field, minlength=side * side).reshape(side, side).astype(np.float32)
    return (_REUSE * cv2.blur(count, (_PATCH, _PATCH))).ravel()


def _nearest(
    target: np.ndarray, level: _Level, dimensions: slice, extra: np.ndarray | None = None
) -> np.ndarray:
    """The nearest allowed patch for each, compared with all, int [pixels]."""
    candidates = np.ascontiguousarray(level.vectors[level.allowed, dimensions])
    squares = np.einsum("nd,nd->n", candidates, candidates)
    if extra is not None:
        squares += extra[level.allowed]
    doubled = -2.0 * candidates.T
    field = np.empty(len(target), np.int64)
    for start in range(0, len(target), _BLOCK):
        costs = target[start : start + _BLOCK] @ doubled
        costs += squares
        field[start : start + _BLOCK] = level.allowed[costs.argmin(axis=1)]
    return field


def _doubled(field: np.ndarray, side: int) -> np.ndarray:
    """A field for twice the side: each patch's four quarters lie side by side as it does."""
    half = side // 2
    rows, columns = np.divmod(field.reshape(half, half), half)
    rows = np.repeat(np.repeat(2 * rows, 2, axis=0), 2, axis=1)
    columns = np.repeat(np.repeat(2 * columns, 2, axis=0), 2, axis=1)
    rows[1::2] += 1
    columns[:, 1::2] += 1
    return (rows * side + columns).ravel()


def _improved(
    field: np.ndarray, target: np.ndarray, level: _Level, random: np.random.Generator
) -> np.ndarray:
    """A round of propagation and random search."""
    side = level.side
    rows, columns = np.divmod(np.arange(side * side), side)

    best, best_cost = field.copy(), np.full(side * side, np.inf, np.float32)

    def compare(news, chosen, factor):
        offset = level.vectors[chosen]
        offset -= target[news]
        costs = np.einsum("nd,nd->n", offset, offset) + level.penalty[chosen]
        better = costs < factor * best_cost[news]
        best[news[better]] = chosen[better]
        best_cost[news[better]] = costs[better]

    compare(np.arange(side * side), field, 1.0)

    def consider(candidate_rows, candidate_columns, factor):
        candidates = np.clip(candidate_rows, 0, side - 1) * side
        candidates += np.clip(candidate_columns, 0, side - 1)
        # Most neighbors agree already.
        news = np.flatnonzero(candidates != best)
        compare(news, candidates[news], factor)

    for step in _STEPS:
        for row_step, column_step in ((0, step), (step, 0), (0, -step), (-step, 0)):
            neighbor_rows = np.clip(rows - row_step, 0, side - 1)
            neighbor_columns = np.clip(columns - column_step, 0, side - 1)
            there = best[neighbor_rows * side + neighbor_columns]
            there_rows, there_columns = np.divmod(there, side)
            consider(there_rows + row_step, there_columns + column_step, 1.0)
    for radius in (side // 8, side // 32):
        best_rows, best_columns = np.divmod(best, side)
        offsets = random.integers(-radius, radius + 1, (2, side * side))
        consider(best_rows + offsets[0], best_columns + offsets[1], _COHERENCE)
    return best


def _votes(field: np.ndarray, level: _Level) -> np.ndarray:
    """Each pixel's mean over the patches that cover it, float32 [pixels, 3]."""
    side, radius = level.side, _PATCH // 2
    rows, columns = np.divmod(field.reshape(side, side), side)
    total = np.zeros((side, side, 3), np.float32)
    count = np.zeros((side, side, 1), np.float32)
    for row_step in range(-radius, radius + 1):
        for column_step in range(-radius, radius + 1):
            # The patch whose middle lies a step back votes with its pixel a step on.
            to = tuple(slice(max(0, step), side + min(0, step)) for step in (row_step, column_step))
            of = tuple(
                slice(max(0, -step), side + min(0, -step)) for step in (row_step, column_step)
            )
            from_rows = np.clip(rows[of] + row_step, 0, side - 1)
            from_columns = np.clip(columns[of] + column_step, 0, side - 1)
            total[to] += level.picture[from_rows * side + from_columns]
            count[to] += 1.0
    return (total / count).reshape(-1, 3)
