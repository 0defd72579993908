"""Distance of pictures from a style: sliced Wasserstein distances of patches and colors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures, laplacian_pyramid

_PATCH = 7
# Number of Laplacian levels whose patches are compared, from the finest. On the third level, a
# patch covers 28 px of the picture.
_LEVELS = 3
_SAMPLES = 1024
_SLICES = 64
# Colors are compared at a quarter of the side, where single strokes are no longer visible.
_COLOR_LEVEL = 2
_LEAST_SPREAD = 1e-3
_SCALING_PHOTOS = 64

_Sorted = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class StyleDistances:
    """Distances of pictures from a style, in standard deviations of patches or colors.

    Attributes:
      patches: Distance of the patches, averaged over three Laplacian levels, [count].
      color: Distance of the colors, [count].
    """

    patches: Numbers
    color: Numbers

    @property
    def both(self) -> Numbers:
        """Mean of patch distance and color distance, [count]."""
        return (self.patches + self.color) / 2.0


class StyleMeter:
    """Measures how far pictures are from a set of style pictures.

    From each picture, 1,024 patches of 7 x 7 px are sampled on each of the three finest Laplacian
    levels, and 1,024 colors at a quarter of the side. Both are projected onto 64 random directions.
    Along each direction, the 1-Wasserstein distance between a picture and the style pictures is the
    mean absolute difference of the sorted projections. The positions of patches are not compared.

    Each picture is compared with the style by itself, so even a picture of the same style has a
    distance greater than 0; `between` estimates it.

    Source: Karras et al., "Progressive Growing of GANs" (2017), section 5. Unlike there, each level
    is divided by its standard deviation over photos and style pictures together, instead of
    normalizing each set by itself, because the strength of strokes is part of a style.
    """

    def __init__(
        self,
        styles: Pictures,
        masks: npt.NDArray[np.bool_],
        photos: Pictures,
        seed: int = 0,
    ) -> None:
        """Samples the style pictures, and the photos that define the scale of the distances.

        Args:
          styles: uint8 [styles, side, side, 3] RGB, aligned faces in the style.
          masks: bool [styles, side, side], False in the empty border of a style picture.
          photos: uint8 [photos, side, side, 3] RGB, aligned photos.
          seed: Seed of the random directions and of the positions of patches.

        Raises:
          ValueError: There is no style picture, or the side is less than 56 px.
        """
        if not len(styles):
            raise InvalidArgumentError("there is no style picture; at least one is needed")
        side = styles.shape[1]
        if side // 2**_LEVELS < _PATCH:
            raise InvalidArgumentError(
                f"style pictures of {side} px are too small; the side must be at least 56 px"
            )
        random = np.random.default_rng(seed)
        self._places = random.random((_SAMPLES, 2))
        sizes = [_PATCH * _PATCH * 3] * _LEVELS + [3]
        self._directions = [_directions(random, size) for size in sizes]
        self._styles = [
            self._values(style, mask) for style, mask in zip(styles, masks, strict=True)
        ]
        spread = np.linspace(0, len(photos) - 1, min(_SCALING_PHOTOS, len(photos))).astype(int)
        seen = self._styles + [self._values(photo) for photo in photos[spread]]
        self._spread = [
            max(float(np.concatenate(values, axis=1).std(axis=1).mean()), _LEAST_SPREAD)
            for values in zip(*seen, strict=True)
        ]
        self._target = _pooled(self._styles)

    def measure(self, pictures: Pictures) -> StyleDistances:
        """Measures the distance of each picture from the style.

        Args:
          pictures: uint8 [count, side, side, 3] RGB, with the same side as the style pictures.
        """
        return self._distances(map(self._values, pictures), self._target)

    def between(self) -> float | None:
        """Computes the mean distance (`both`) of each style picture from the others.

        Returns:
          The distance to expect of a picture in exactly this style; None if there is only one style
          picture.
        """
        if len(self._styles) < 2:
            return None
        distances = [
            self._distances([style], _pooled(self._styles[:i] + self._styles[i + 1 :])).both[0]
            for i, style in enumerate(self._styles)
        ]
        return float(np.mean(distances))

    def _distances(
        self, pictures: Iterable[list[_Sorted]], target: list[_Sorted]
    ) -> StyleDistances:
        distances = np.array(
            [
                [
                    np.abs(a - b).mean() / spread
                    for a, b, spread in zip(values, target, self._spread, strict=True)
                ]
                for values in pictures
            ],
            np.float64,
        ).reshape(-1, _LEVELS + 1)
        return StyleDistances(distances[:, :_LEVELS].mean(axis=1), distances[:, _LEVELS])

    def _values(
        self, picture: Pictures, mask: npt.NDArray[np.bool_] | None = None
    ) -> list[_Sorted]:
        """Returns sorted projections, [slices, samples], for each level and for the colors."""
        levels = laplacian_pyramid(picture, _LEVELS + 1)
        values = []
        for level in range(_LEVELS):
            patches = np.lib.stride_tricks.sliding_window_view(
                levels[level],
                (_PATCH, _PATCH),
                axis=(0, 1),  # type: ignore[call-overload]
            )
            rows, columns = self._chosen(patches.shape[:2], mask, level, _PATCH // 2)
            values.append(patches[rows, columns].reshape(_SAMPLES, -1))
        colors = laplacian_pyramid(picture, _COLOR_LEVEL + 1)[-1]
        rows, columns = self._chosen(colors.shape[:2], mask, _COLOR_LEVEL, 0)
        values.append(colors[rows, columns])
        return [
            np.sort((one @ along).T, axis=1)
            for one, along in zip(values, self._directions, strict=True)
        ]

    def _chosen(
        self,
        shape: tuple[int, ...],
        mask: npt.NDArray[np.bool_] | None,
        level: int,
        margin: int,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns rows and columns, [samples] each, of the patches; inside the mask if given."""
        if mask is not None and not mask.all():
            rows, columns = np.nonzero(mask[:: 2**level, :: 2**level])
            rows, columns = rows - margin, columns - margin
            fits = (rows >= 0) & (columns >= 0) & (rows < shape[0]) & (columns < shape[1])
            if fits.any():
                index = (self._places[:, 0] * fits.sum()).astype(np.int64)
                return rows[fits][index], columns[fits][index]
        place = (self._places * shape).astype(np.int64)
        return place[:, 0], place[:, 1]


def _directions(random: np.random.Generator, size: int) -> npt.NDArray[np.float32]:
    """Draws random unit vectors, [size, slices]."""
    directions = random.standard_normal((size, _SLICES))
    return np.asarray(directions / np.linalg.norm(directions, axis=0), np.float32)


def _pooled(pictures: list[list[_Sorted]]) -> list[_Sorted]:
    """Pools the sorted projections of several pictures.

    The result has as many samples as one picture: quantiles of the pooled values.
    """
    pooled = []
    for values in zip(*pictures, strict=True):
        together = np.sort(np.concatenate(values, axis=1), axis=1)
        # Split the sorted values into one run for each sample and take the middle of each run.
        pooled.append(together[:, len(values) // 2 :: len(values)])
    return pooled
