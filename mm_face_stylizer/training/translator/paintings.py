"""Paintings of the photos in the style, the targets of a translator's warm start."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib

import numpy as np

from mm_face_stylizer.errors import DataError
from mm_face_stylizer.painting.choices import PAINTERS
from mm_face_stylizer.painting.colors import lab_of
from mm_face_stylizer.painting.flat_painter import FlatPainter
from mm_face_stylizer.painting.painter import Painter
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.pixels import shrunk
from mm_face_stylizer.training.translator.domains import Domains
from mm_face_stylizer.training.translator.pairs import (
    Pairs,
    feature_mask,
    make_pairs,
    save_pairs,
)
from task_bundle.errors import NoFaceError
from task_bundle.faces.face_models import FaceModels

# The painter works with multiples of this side in pixels.
_MULTIPLE = 8
# Is raised when photos get other paintings than before, so that older caches are not read.
_CHOICE = 6
# Style pictures that are looked at for each that is painted after, and those with mouths alike
# among which colors decide.
_CANDIDATES, _ALIKE = 12, 1.5
_LEAST_PAINTINGS = 8
# Points of the face mesh: upper and lower lid, and both corners of each eye.
_EYES = ((159, 145, 33, 133), (386, 374, 362, 263))
# How much the differences of traits count when a style picture is chosen. A person's colors come
# first: photos of one complexion painted in several would teach the network their mean.
_TRAIT_WEIGHTS = np.array(
    [
        *(4.0, 1.0, 1.0),  # Color of the skin: lightness, green to red, blue to yellow.
        *(2.5, 1.5, 1.5),  # Color of the hair.
        *(1.0, 0.3),  # Shares of hair and of clothes in the picture.
        *(0.15, 1.2, 0.3),  # How open the mouth and the eyes are, and the turn of the head.
    ]
)
_EYES_TRAIT = 9
# Stands for the color of a part that is not in the picture.
_GRAY = np.array([0.5, 0.0, 0.0])
# How open eyes of photos are, height by width, from which on they count as open; and how many of a
# style's eyes are less open than those that do.
_OPEN_EYES, _OPEN_QUANTILE = 0.28, 0.8
# Open eyes of a style are at least this open, against its most open ones.
_LEAST_OPEN = 0.7
# The first traits are colors.
_COLOR_TRAITS = 6
# Where an aligned picture has the mouth, rows and columns as shares of its side, and the width and
# height in pixels at which mouths are compared.
_MOUTH, _MOUTH_SIZE = ((0.60, 0.78), (0.34, 0.66)), (16, 9)


class Paintings(Pairs):
    """Training photos, each painted after the style picture that suits it best."""

    def __init__(
        self,
        domains: Domains,
        cache: str | os.PathLike,
        people: int = 600,
        style_pictures: int = 24,
        seed: int = 0,
        face_models: FaceModels | None = None,
        workers: int = 2,
        painter: str = PAINTERS[0],
    ):
        """Paints photos; those that the cache has are loaded instead.

        Args:
          domains: Photos and style pictures.
          cache: Folder of the paintings; made if it is missing. A killed run goes on from there.
          people: Maximum number of photos that are painted.
          style_pictures: Number of style pictures to choose from. They have open eyes, mouths that
            are drawn alike, and skin and hair as different as can be. Fewer make paintings that are
            more alike.
          seed: Seed of the choice of photos, and of the painter.
          face_models: The models that find faces; `find_face_models()` if None.
          workers: Number of processes that paint.
          painter: `patches` copies patches of style pictures; `flat` draws the parts of a face in
            the style's colors, for styles without texture, see `FlatPainter`.

        Raises:
          DataError: Faces are found in too few photos, or in no style picture.
        """
        photos, styles = domains.photos.training(), domains.styles.training()
        chosen = np.sort(np.random.default_rng(seed).permutation(len(photos))[:people])
        looked_at = min(_CANDIDATES * style_pictures, len(styles))
        kept = np.linspace(0, len(styles) - 1, looked_at).astype(int)
        styles = np.asarray(styles[np.unique(kept)])
        made = (_CHOICE, seed, people, style_pictures, painter)
        origin = styles.tobytes() + repr(made).encode()
        prepared = (styles, style_pictures, seed, face_models, painter)
        paths = make_pairs(
            cache, origin, photos, chosen, _paint, _prepare, prepared, workers, "Painting"
        )
        super().__init__(domains, paths)
        if len(self.pictures) < _LEAST_PAINTINGS:
            raise DataError(
                f"a face was found in only {len(self.pictures)} of {len(chosen)} photos, so that "
                "there is too little to paint; leave out --paintings"
            )


# What a painting process paints with; `_prepare` sets the arguments once per process, and the first
# painting makes painter and portrait finder of them. Errors of an initializer would get lost.
_process: dict = {}


def _prepare(*arguments) -> None:
    """Initializes a painting process."""
    _process["arguments"] = arguments


def _tools() -> tuple[_Painters | FlatPainter, PortraitFinder]:
    """Returns the process's painter and portrait finder."""
    if "tools" not in _process:
        import cv2

        # With several painting processes, OpenCV's own threads would compete for the same cores.
        cv2.setNumThreads(1)
        styles, style_pictures, seed, face_models, painter = _process["arguments"]
        finder = PortraitFinder(face_models)
        portraits = []
        for style in styles:
            with contextlib.suppress(NoFaceError):
                portraits.append(finder.find_aligned(_at_multiple(style)))
        if not portraits:
            raise DataError(
                f"no face was found in any of {len(styles)} style pictures, so that none can be "
                "painted after; leave out --paintings"
            )
        if painter == "flat":
            _process["tools"] = FlatPainter(portraits), finder
        else:
            _process["tools"] = _Painters(portraits, style_pictures, seed), finder
    return _process["tools"]


class _Painters:
    """A painter for each style picture, of which the one that suits a photo paints it.

    A `Painter` of all of them would compare every photo with every style picture patch by patch.
    """

    def __init__(self, styles: list[Portrait], style_pictures: int, seed: int):
        traits = np.stack([_traits(style) for style in styles])
        # Eyes are drawn larger or smaller than they are: a style's open ones count as open.
        open_eyes = np.quantile(traits[:, _EYES_TRAIT], _OPEN_QUANTILE)
        traits[:, _EYES_TRAIT] = np.minimum(1.0, traits[:, _EYES_TRAIT] / open_eyes)
        mouths = np.stack([_mouth(style) for style in styles])
        usable = _alike(mouths, traits[:, _EYES_TRAIT], math.ceil(_ALIKE * style_pictures))
        colors = (traits * _TRAIT_WEIGHTS)[usable, :_COLOR_TRAITS]
        kept = usable[_spread(colors, style_pictures)]
        self._styles, self._traits = [styles[index] for index in kept], traits[kept]
        self._seed = seed
        self._painters: dict[int, Painter] = {}

    def paint(self, photo: Portrait) -> np.ndarray:
        """Paints a portrait, uint8 [side, side, 3]."""
        traits = _traits(photo)
        traits[_EYES_TRAIT] = min(1.0, traits[_EYES_TRAIT] / _OPEN_EYES)
        distances = np.abs(self._traits - traits) @ _TRAIT_WEIGHTS
        chosen = int(np.argmin(distances))
        if chosen not in self._painters:
            self._painters[chosen] = Painter([self._styles[chosen]], seed=self._seed)
        return self._painters[chosen].paint(photo).picture


def _alike(mouths: np.ndarray, eyes: np.ndarray, count: int) -> np.ndarray:
    """Chooses style pictures with open eyes, and with mouths that are drawn alike.

    Paintings that disagree about the eyes and mouths of similar people would teach the network to
    draw none.

    Args:
      mouths: See `_mouth`, [N, values].
      eyes: How open the eyes are, [N].
      count: Maximum number to choose.

    Returns:
      Indices of the chosen, in ascending order.
    """
    usable = np.flatnonzero(eyes >= min(_LEAST_OPEN, eyes.max()))
    distances = np.stack([np.abs(mouths[usable] - mouth).mean(axis=1) for mouth in mouths[usable]])
    # The mouth that has so many others nearest to it.
    middle = np.argmin(np.sort(distances, axis=1)[:, :count].sum(axis=1))
    return np.sort(usable[np.argsort(distances[middle], kind="stable")[:count]])


def _spread(colors: np.ndarray, count: int) -> list[int]:
    """Chooses colors, [N, values], each as far from the others as can be; returns their indices."""
    middle = np.abs(colors - np.median(colors, axis=0)).sum(axis=1)
    chosen = [int(np.argmin(middle))]
    while len(chosen) < min(count, len(colors)):
        distances = np.abs(colors[:, np.newaxis] - colors[chosen]).sum(axis=2)
        chosen.append(int(np.argmax(distances.min(axis=1))))
    return chosen


def _mouth(portrait: Portrait) -> np.ndarray:
    """Describes how the mouth of an aligned face is drawn: brightness against the skin around."""
    import cv2

    rows, columns = ([int(share * portrait.side) for share in part] for part in _MOUTH)
    luma = portrait.luma[slice(*rows), slice(*columns)]
    luma = cv2.resize(luma, _MOUTH_SIZE, interpolation=cv2.INTER_AREA).ravel()
    skin = np.median(luma)
    return (luma - skin) / (skin + 0.1)


def _traits(portrait: Portrait) -> np.ndarray:
    """Describes what a style picture must share with a photo to suit it.

    It is the color of skin and hair in hundredths of L*a*b*, the share of hair and of clothes in
    the picture, how open mouth and eyes are, and which way the face is turned.
    """
    colors = lab_of(portrait.picture) / 100.0
    values: list[float] = []
    for name in ("skin", "hair"):
        mask = portrait.parts[name] * portrait.valid
        area = float(mask.sum())
        mean = (mask[..., np.newaxis] * colors).sum(axis=(0, 1)) / area if area > 1.0 else _GRAY
        values += [float(value) for value in mean]
    values += [float(portrait.parts[name].mean()) for name in ("hair", "clothes")]
    points = portrait.landmarks
    eyes = [
        np.linalg.norm(points[top] - points[bottom]) / np.linalg.norm(points[left] - points[right])
        for top, bottom, left, right in _EYES
    ]
    values += [float(portrait.has_open_mouth), float(np.mean(eyes)), portrait.turn]
    return np.array(values)


def _paint(path: pathlib.Path, photos: np.ndarray, rows: np.ndarray) -> None:
    """Paints photos, and writes the paintings and the rows of their photos to an NPZ file."""
    painter, finder = _tools()
    side = photos.shape[1]
    painted, masks, found = [], [], []
    for photo, row in zip(photos, rows, strict=True):
        with contextlib.suppress(NoFaceError):
            portrait = finder.find_aligned(_at_multiple(photo))
            painted.append(shrunk(painter.paint(portrait), side))
            masks.append(feature_mask(portrait.landmarks, portrait.side, side))
            found.append(row)
    save_pairs(path, side, painted, masks, found)


def _at_multiple(picture: np.ndarray) -> np.ndarray:
    """Enlarges a picture to the next side that the painter can work at."""
    import cv2

    side = -(-len(picture) // _MULTIPLE) * _MULTIPLE
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR)
