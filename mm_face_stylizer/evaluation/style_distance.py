"""How far pictures are from a style: sliced Wasserstein distances of patches and of colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures, laplacian_pyramid

_PATCH = 7
# Laplacian levels whose patches are compared: the finest three, strokes of up to 28 px.
_LEVELS = 3
_SAMPLES = 1024
_SLICES = 64
# Colours are compared at a quarter of the side, where strokes have melted into tones.
_COLOUR_LEVEL = 2
_LEAST_SPREAD = 1e-3
_SCALING_PHOTOS = 64

_Sorted = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class StyleDistances:
    """Distances of pictures from a style, [count] each, in standard deviations of what is compared.

    Attributes:
      patches: Of patches on three levels of detail, their mean.
      colour: Of the colours.
    """

    patches: Numbers
    colour: Numbers

    @property
    def both(self) -> Numbers:
        """Their mean."""
        return (self.patches + self.colour) / 2.0


class StyleMeter:
    """Measures how far pictures are from style pictures.

    Of every picture, 1,024 patches of 7 px on each of the three finest Laplacian levels, and its
    colours at a quarter of the side, are projected onto 64 random directions; along each, the
    1-Wasserstein distance from the style pictures' is the mean distance of the sorted values.
    Where in a picture a patch lies is not compared. A picture is compared on its own, so even one
    of the style is a little off: `between` says how much. Source: Karras et al., "Progressive
    Growing of GANs" (2017), section 5; but levels are divided by their spread in photos and style
    together, and not each set by its own, since how strong strokes are is part of a style.
    """

    def __init__(
        self,
        styles: Pictures,
        masks: npt.NDArray[np.bool_],
        photos: Pictures,
        seed: int = 0,
    ) -> None:
        """Looks at the style.

        Args:
          styles: uint8 [count, side, side, 3], aligned faces in the style.
          masks: bool [count, side, side], what of each is picture and not empty border.
          photos: uint8 [count, side, side, 3], aligned photos; they set the scale.
          seed: Decides directions and places of patches.

        Raises:
          ValueError: There is no style picture, or pictures are smaller than 56 px.
        """
        if not len(styles):
            raise InvalidArgumentError("there is no style picture")
        side = styles.shape[1]
        if side // 2**_LEVELS < _PATCH:
            raise InvalidArgumentError(f"pictures of {side} px are too small; a style needs 56 px")
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
        """Measures pictures.

        Args:
          pictures: uint8 [count, side, side, 3], of the styles' side.
        """
        return self._distances(map(self._values, pictures), self._target)

    def between(self) -> float | None:
        """Mean distance of each style picture from the others, patches and colour together.

        Returns:
          What a perfect picture of the style would have; None if there is one style picture only.
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
        """Sorted projections, [slices, samples], of the patches a level and of the colours."""
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
        colours = laplacian_pyramid(picture, _COLOUR_LEVEL + 1)[-1]
        rows, columns = self._chosen(colours.shape[:2], mask, _COLOUR_LEVEL, 0)
        values.append(colours[rows, columns])
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
        """Where patches are taken: rows and columns, inside the mask if there is one."""
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
    """Unit vectors, [size, slices]."""
    directions = random.standard_normal((size, _SLICES))
    return np.asarray(directions / np.linalg.norm(directions, axis=0), np.float32)


def _pooled(pictures: list[list[_Sorted]]) -> list[_Sorted]:
    """As many values as one picture has, from all of several: their quantiles."""
    pooled = []
    for values in zip(*pictures, strict=True):
        together = np.sort(np.concatenate(values, axis=1), axis=1)
        # The middle ones of as many runs as a picture has values.
        pooled.append(together[:, len(values) // 2 :: len(values)])
    return pooled
