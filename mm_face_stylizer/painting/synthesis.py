"""Patch synthesis: a nearest-neighbor field from coarse to fine, and votes of overlapping patches.

Every patch of the painting is looked up in the style picture by what is painted so far and by the
guides; then each pixel becomes a mean of what the patches over it say. At the coarsest level all
patches are compared; at finer ones a field is handed on and improved by propagation and random
search. Patches that were used often cost more, so that strokes are not washed out by the smoothest
of them. Sources: Wexler et al., "Space-Time Completion of Video" (2007), for votes; Barnes et al.,
"PatchMatch: A Randomized Correspondence Algorithm for Structural Image Editing" (2009); Fiser et
al., "StyLit" (2016), for guides; Kaspar et al., "Self Tuning Texture Optimization" (2015), for the
cost of reuse.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_face_stylizer.errors import InvalidArgumentError

_PATCH = 5
_RADIUS = _PATCH // 2
_COMPONENTS = 12
_PCA_SAMPLES = 6000
_COARSEST = 40
# Rounds at the coarsest level, at those between, and at the finest.
_COARSEST_ROUNDS, _ROUNDS, _FINEST_ROUNDS = 4, 4, 3
# Beyond the coarsest level only every second patch in both directions is looked up: each pixel
# still gets six votes.
_STRIDE = 2
_STEPS = (4, 2, 1)
_NEIGHBORS = ((0, 1), (1, 0), (0, -1), (-1, 0))
_RANDOM_REACHES = (0.3, 0.1, 0.03)
# A patch from elsewhere must be this much better: strokes are longer than patches.
_COHERENCE = 0.9
_REFUSED = np.float32(1e6)
# What a patch costs that is used as often as all are on average, and how often is counted at most.
_REUSE, _MOST_REUSE = 0.0015, 12.0
# Votes of patches that fit badly count less.
_VOTE_FLOOR = 0.02
# In the last vote the middle of a patch counts more than its rim: sharper strokes.
_LAST_VOTE_SIGMA = 1.2


@dataclasses.dataclass(frozen=True)
class _Level:
    """A style picture at one size, with a border of `_RADIUS` pixels.

    Pixels are counted row by row, the border included.

    Attributes:
      side: Side in pixels, without the border.
      picture: float32 [pixels, 3].
      mean: Mean patch, [75].
      basis: Principal components of patches, [75, components].
      vectors: Patches in that basis, and guides, float32 [pixels, dimensions].
      penalty: What a patch that leaves the photo costs, float32 [pixels].
      allowed: Indices of patches that do not.
    """

    side: int
    picture: np.ndarray
    mean: np.ndarray
    basis: np.ndarray
    vectors: np.ndarray
    penalty: np.ndarray
    allowed: np.ndarray

    @property
    def width(self) -> int:
        """Length of a row with its border."""
        return self.side + 2 * _RADIUS


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
        sides = [self.side]
        while sides[0] > _COARSEST and sides[0] % 2 == 0:
            sides.insert(0, sides[0] // 2)
        self._levels = [_prepared(picture, guides, valid, side) for side in sides]

    def mismatch(self, guides: np.ndarray) -> float:
        """How badly a photo's guides are met by the best patches: mean squared distance.

        Args:
          guides: Of the photo, as many channels as the source's, [side, side, channels].
        """
        search = _Search(self._levels[0], guides, reuse=0.0)
        search.compare_all(None)
        return float(search.costs.mean())

    def paint(
        self, guides: np.ndarray, random: np.random.Generator, reuse: float = 1.0
    ) -> np.ndarray:
        """Synthesizes a painting.

        Args:
          guides: Of the photo, as many channels as the source's, [side, side, channels].
          random: Decides where better patches are looked for.
          reuse: How much it costs to use a patch again, 0 for nothing. Flat areas have to.

        Returns:
          float32 [side, side, 3] in [0, 1].
        """
        previous: _Search | None = None
        painting = None
        for level in self._levels:
            search = _Search(level, guides, reuse)
            finest = level is self._levels[-1]
            if previous is None:
                search.compare_all(None)
                rounds = _COARSEST_ROUNDS
            else:
                search.take_over(previous)
                rounds = _FINEST_ROUNDS if finest else _ROUNDS
            painting = search.votes()
            for number in range(rounds):
                if previous is None:
                    search.compare_all(painting)
                else:
                    search.improve(painting, random)
                last = finest and number == rounds - 1
                painting = search.votes(_LAST_VOTE_SIGMA if last else None)
            previous = search
        return painting


class _Search:
    """The nearest-neighbor field of one level: for each cell the patch that is painted there.

    Attributes:
      level: The style picture.
      stride: Distance of the cells in pixels.
      cells: Number of cells in a row.
      field: Index of a pixel of the level for each cell, int [cells * cells].
      costs: Squared distance of that patch, float32 [cells * cells].
    """

    def __init__(self, level: _Level, guides: np.ndarray, reuse: float):
        self.level = level
        self.stride = 1 if level.side <= _COARSEST else _STRIDE
        self.cells = -(-level.side // self.stride)
        self.field = np.zeros(self.cells**2, np.int64)
        self.costs = np.zeros(self.cells**2, np.float32)
        small = _shrunken(guides, level.side)[:: self.stride, :: self.stride]
        self._wanted = np.ascontiguousarray(small.reshape(self.cells**2, -1))
        self._reuse = _REUSE * reuse
        self._extra = np.zeros(len(level.penalty), np.float32)

    def compare_all(self, painting: np.ndarray | None) -> None:
        """Compares every patch of the style, by guides alone if nothing is painted yet."""
        level = self.level
        target = self._target(painting)
        candidates = level.vectors[level.allowed, -target.shape[1] :]
        squares = np.einsum("nd,nd->n", candidates, candidates) + self._extra[level.allowed]
        distances = target @ (-2.0 * candidates.T)
        distances += squares
        best = distances.argmin(axis=1)
        own = np.einsum("nd,nd->n", target, target)
        self.field = level.allowed[best]
        self.costs = np.maximum(distances[np.arange(len(best)), best] + own, 0.0)
        self._count_use()

    def take_over(self, coarser: _Search) -> None:
        """Starts from the field of the level of half the side: patches lie side by side as there.

        A patch that touches the outside of the photo here, though it did not there, gives way to
        the allowed one nearest to it.
        """
        level = self.level
        rows, columns = np.divmod(
            coarser.field.reshape(coarser.cells, coarser.cells), coarser.level.width
        )
        where = np.arange(self.cells) * self.stride
        cell = np.minimum(where // (2 * coarser.stride), coarser.cells - 1)
        step = where - cell * 2 * coarser.stride
        rows = 2 * (rows - _RADIUS)[np.ix_(cell, cell)] + step[:, np.newaxis]
        columns = 2 * (columns - _RADIUS)[np.ix_(cell, cell)] + step
        rows, columns = (np.clip(axis, 0, level.side - 1) + _RADIUS for axis in (rows, columns))
        field = (rows * level.width + columns).ravel()
        self.field = _nearest_allowed(level)[field]

    def improve(self, painting: np.ndarray, random: np.random.Generator) -> None:
        """A round of propagation and random search."""
        width = self.level.width
        target = self._target(painting)
        self.costs = self._costs(target, self.field)
        axis = np.arange(self.cells)
        for step in _STEPS:
            for down, right in _NEIGHBORS:
                down, right = down * step, right * step
                rows = np.clip(axis + down, 0, self.cells - 1)
                columns = np.clip(axis + right, 0, self.cells - 1)
                there = self.field.reshape(self.cells, self.cells)[np.ix_(rows, columns)]
                offset = (rows - axis)[:, np.newaxis] * width + (columns - axis)
                self._consider(target, (there - self.stride * offset).ravel(), 1.0)
        for reach in _RANDOM_REACHES:
            radius = max(2, round(reach * self.level.side))
            jumps = random.integers(-radius, radius + 1, (2, len(self.field)))
            rows, columns = np.divmod(self.field, width)
            rows = np.clip(rows + jumps[0], 0, width - 1)
            columns = np.clip(columns + jumps[1], 0, width - 1)
            self._consider(target, rows * width + columns, _COHERENCE)
        self._count_use()

    def votes(self, sigma: float | None = None) -> np.ndarray:
        """Each pixel's mean over the patches that cover it, float32 [side, side, 3].

        Args:
          sigma: Of a Gaussian in pixels by which the middle of a patch counts more; all of it alike
            if None.
        """
        level, stride = self.level, self.stride
        width = level.width + stride
        total = np.zeros((width, width, 4), np.float32)
        weight = (1.0 / (_VOTE_FLOOR + self.costs)).astype(np.float32)[:, np.newaxis]
        votes = np.empty((len(self.field), 4), np.float32)
        for down in range(_PATCH):
            for right in range(_PATCH):
                offset = (down - _RADIUS) * level.width + right - _RADIUS
                share = 1.0
                if sigma is not None:
                    square = (down - _RADIUS) ** 2 + (right - _RADIUS) ** 2
                    share = float(np.exp(-square / (2.0 * sigma**2)))
                np.multiply(weight, share, out=votes[:, 3:])
                np.multiply(level.picture[self.field + offset], votes[:, 3:], out=votes[:, :3])
                end = self.cells * stride
                total[down : down + end : stride, right : right + end : stride] += votes.reshape(
                    self.cells, self.cells, 4
                )
        inner = total[_RADIUS : _RADIUS + level.side, _RADIUS : _RADIUS + level.side]
        return inner[..., :3] / inner[..., 3:]

    def _target(self, painting: np.ndarray | None) -> np.ndarray:
        if painting is None:
            return self._wanted
        patches = _patches(painting, self.stride)
        return np.hstack([(patches - self.level.mean) @ self.level.basis, self._wanted])

    def _costs(self, target: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        offset = self.level.vectors[chosen]
        offset -= target
        distance = np.einsum("nd,nd->n", offset, offset)
        return distance + self.level.penalty[chosen] + self._extra[chosen]

    def _consider(self, target: np.ndarray, candidates: np.ndarray, factor: float) -> None:
        candidates = np.clip(candidates, 0, len(self.level.penalty) - 1)
        # Most neighbors agree already.
        news = np.flatnonzero(candidates != self.field)
        costs = self._costs(target[news], candidates[news])
        better = costs < factor * self.costs[news]
        self.field[news[better]] = candidates[news[better]]
        self.costs[news[better]] = costs[better]

    def _count_use(self) -> None:
        """Notes how often each patch is used now, spread over those that overlap it."""
        import cv2

        if not self._reuse:
            return
        level = self.level
        count = np.bincount(self.field, minlength=len(level.penalty)).astype(np.float32)
        count = cv2.blur(count.reshape(-1, level.width), (_PATCH, _PATCH)).ravel()
        average = len(self.field) / len(level.allowed)
        self._extra = self._reuse * np.minimum(count / average, _MOST_REUSE)


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
        raise InvalidArgumentError("nothing of the style picture lies inside the photo")
    patches = _patches(small, 1)
    samples = patches[allowed.ravel()]
    samples = samples[:: max(1, len(samples) // _PCA_SAMPLES)].astype(np.float64)
    mean = samples.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((samples - mean).T))
    mean = mean.astype(np.float32)
    basis = np.ascontiguousarray(vectors[:, ::-1][:, :_COMPONENTS], np.float32)
    features = np.concatenate(
        [((patches - mean) @ basis).reshape(side, side, -1), _shrunken(guides, side)], axis=-1
    )
    border = ((_RADIUS, _RADIUS), (_RADIUS, _RADIUS), (0, 0))
    allowed = np.pad(allowed, border[:2])
    return _Level(
        side,
        np.ascontiguousarray(np.pad(small, border, "reflect").reshape(-1, 3), np.float32),
        mean,
        basis,
        np.ascontiguousarray(
            np.pad(features, border, "edge").reshape(-1, features.shape[-1]), np.float32
        ),
        np.where(allowed.ravel(), np.float32(0.0), _REFUSED),
        np.flatnonzero(allowed.ravel()),
    )


def _nearest_allowed(level: _Level) -> np.ndarray:
    """For each pixel of a level the allowed one nearest to it, int [pixels]."""
    import cv2

    if len(level.allowed) == level.side**2 and level.penalty[level.allowed].max() == 0.0:
        # Only the border is refused, and no field points there.
        return np.arange(len(level.penalty))
    refused = (level.penalty > 0.0).astype(np.uint8).reshape(-1, level.width)
    _, labels = cv2.distanceTransformWithLabels(
        refused, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros(labels.max() + 1, np.int64)
    nearest[labels.ravel()[level.allowed]] = level.allowed
    return nearest[labels.ravel()]


def _shrunken(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps of [side, side, channels], any number of channels, by area averaging."""
    factor = len(maps) // side
    if factor == 1:
        return maps
    shape = (side, factor, side, factor, *maps.shape[2:])
    return maps.reshape(shape).mean(axis=(1, 3), dtype=np.float32)


def _patches(picture: np.ndarray, stride: int) -> np.ndarray:
    """Patches round every `stride`-th pixel, [patches, 75]; a squared distance is a mean."""
    padded = np.pad(picture, ((_RADIUS, _RADIUS), (_RADIUS, _RADIUS), (0, 0)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_PATCH, _PATCH), axis=(0, 1))
    windows = windows[::stride, ::stride]
    return windows.reshape(windows.shape[0] * windows.shape[1], -1) / np.float32(_PATCH)
