"""The painter: portraits in the manner of a few style pictures."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.painting.choices import COLORS
from mm_face_stylizer.painting.colors import Palette, recolored
from mm_face_stylizer.painting.guides import GuideWeights, photo_guides, style_guides
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.painting.spectacles import spectacles
from mm_face_stylizer.painting.synthesis import PatchSource
from task_bundle.faces.alignment import FaceCrop

# A part of fewer pixels, as a share of the picture, has no tone of its own.
_LEAST_SHARE = 0.01
# A picture of flat areas has little between its lines for a photo's shading to hold on to.
_FLAT_STEP = 0.012
_FLATTEST, _LEAST_LIKENESS, _MOST_LIKENESS = 0.85, 0.15, 0.8
# Likeness up to which a style is one of flat areas, whose colors can be exchanged.
_FLAT_LIKENESS = 0.4
# How much each counts, beside parts that do not fit, when a style picture is chosen for a photo.
_TURN_WEIGHT, _MOUTH_WEIGHT, _TONE_WEIGHT, _BLUR_WEIGHT = 0.25, 0.1, 0.25, 0.1
# People without spectacles are not given those of a style picture, if that can be helped.
_FRAME_WEIGHT = 0.1
# Style pictures that are tried, and photos that each is tried on, when paintings must show a face.
_MOST_TRIED, _TRIED_PHOTOS = 4, 4
# A picture may have this many octaves less detail than the others before it counts as soft: flat
# drawings differ as much without being enlarged.
_BLUR_MARGIN = 0.7
# Mean brightness of photographed skin and hair, of 100 portraits.
_TYPICAL_TONES = {"skin": 0.5, "hair": 0.3}


@dataclasses.dataclass(frozen=True, eq=False)
class Painting:
    """A painted portrait.

    Attributes:
      picture: uint8 [side, side, 3].
      style: Index of the style picture that it was painted with.
      likeness: From 0, the style's own features, to 1, the photo's light and shade.
      crop: The square of the photo that it shows; None if the portrait came aligned.
    """

    picture: np.ndarray
    style: int
    likeness: float
    crop: FaceCrop | None = None


class Painter:
    """Paints portraits in one style.

    Attributes:
      likeness: See `Painting`.
    """

    def __init__(
        self,
        styles: Sequence[Portrait],
        likeness: float | None = None,
        colors: str = "style",
        seed: int = 0,
    ):
        """Prepares the style pictures.

        Args:
          styles: Pictures of one style, all of one side: 256 or 512 px, or any multiple of 8.
          likeness: From 0, the style's own features at the photo's landmarks, to 1, the photo's
            light and shade; chosen from the style pictures if None.
          colors: `style`, or `photo` for the photo's own skin, hair and clothes.
          seed: Seed of the search for patches: the same seed gives the same painting.

        Raises:
          ValueError: An option is out of range, there is no style picture, or their sides differ.
        """
        if not styles:
            raise InvalidArgumentError("there is no style picture")
        sides = sorted({style.side for style in styles})
        if len(sides) > 1 or sides[0] % 8:
            raise InvalidArgumentError(
                f"style pictures have the sides {sides}; they must have one, of 8 n px"
            )
        if likeness is not None and not 0.0 <= likeness <= 1.0:
            raise InvalidArgumentError(f"likeness is {likeness!r}; it must be a number from 0 to 1")
        if colors not in COLORS:
            raise InvalidArgumentError(
                f"colors is {colors!r}; it must be one of {', '.join(COLORS)}"
            )
        natural = likeness_of(styles)
        self.likeness = natural if likeness is None else float(likeness)
        self._colors = colors
        self._seed = seed
        self._styles = list(styles)
        self._weights = GuideWeights.of_likeness(self.likeness)
        self._sources: dict[int, PatchSource] = {}
        detail = np.array([_detail(style) for style in self._styles])
        # Of several pictures of a style, those that are soft were enlarged.
        self._blur = np.maximum(0.0, np.log2(np.median(detail) / detail) - _BLUR_MARGIN)
        tones = np.array([_tones(style) for style in self._styles])
        # The fairest of a dark style's faces is fair: tones are compared with the style's mean.
        self._tones = tones - tones.mean(axis=0)
        # Flat drawings of several people show that the style has skin and hair of several colors.
        is_flat = natural <= _FLAT_LIKENESS
        self._palette = Palette(styles) if is_flat and len(styles) > 1 else None
        none = np.zeros((styles[0].side, styles[0].side), bool)
        self._frames = [spectacles(style) if is_flat else none for style in styles]

    def only(self, index: int) -> Painter:
        """Returns a painter of one of the style pictures, with the colors of all.

        Args:
          index: Of the picture whose patches are used.
        """
        painter = copy.copy(self)
        painter._styles = [self._styles[index]]
        painter._sources = {0: self._source(index)}
        painter._frames = [self._frames[index]]
        painter._blur, painter._tones = self._blur[[index]], self._tones[[index]]
        return painter

    def paint(self, photo: Portrait) -> Painting:
        """Paints a portrait.

        Args:
          photo: A portrait of the style pictures' side.

        Raises:
          ValueError: It has another side.
        """
        if photo.side != self._styles[0].side:
            raise InvalidArgumentError(
                f"the portrait has {photo.side} px; the style pictures have {self._styles[0].side}"
            )
        guides = [self._guides(photo, index) for index in range(len(self._styles))]
        chosen = int(np.argmin([self._mismatch(i, photo, guides[i]) for i in range(len(guides))]))
        style = self._styles[chosen]
        picture = self._source(chosen).paint(guides[chosen], np.random.default_rng(self._seed))
        if photo.has_open_mouth and not style.has_open_mouth:
            picture = _with_open_mouth(picture, photo, style)
        if self._colors == "photo":
            picture = recolored(picture, photo)
        elif self._palette is not None:
            picture = self._palette.applied(picture, photo)
        return Painting(_pixels(picture), chosen, self.likeness, photo.crop)

    def most_suitable(
        self,
        photos: Sequence[Portrait],
        finds_face: Callable[[npt.NDArray[np.uint8]], bool] | None = None,
    ) -> int:
        """The index of the style picture that suits several portraits best, all with that one.

        Args:
          photos: Portraits of the style pictures' side.
          finds_face: Says whether a painting shows a face; of pictures whose paintings do, the one
            that suits best is chosen. None to do without.
        """
        totals = [
            sum(self._mismatch(index, photo, self._guides(photo, index)) for photo in photos)
            for index in range(len(self._styles))
        ]
        order = np.argsort(totals, kind="stable")
        if finds_face is None:
            return int(order[0])
        found = []
        for index in order[:_MOST_TRIED]:
            pictures = (self._painted(int(index), photo) for photo in photos[:_TRIED_PHOTOS])
            found.append(sum(finds_face(_pixels(picture)) for picture in pictures))
        return int(order[int(np.argmax(found))])

    def _painted(self, index: int, photo: Portrait) -> np.ndarray:
        """Paints a portrait from one of the style pictures, float32 [side, side, 3]."""
        guides = self._guides(photo, index)
        return self._source(index).paint(guides, np.random.default_rng(self._seed))

    def _mismatch(self, index: int, photo: Portrait, guides: np.ndarray) -> float:
        """How badly a style picture suits a photo: its parts, pose, mouth, skin and hair.

        What a person looks like decides as much as what fits best: similar people are painted from
        the same picture, so that a network can learn which.
        """
        style = self._styles[index]
        tones = _tones(photo) - np.array(list(_TYPICAL_TONES.values()))
        return (
            self._source(index).mismatch(guides)
            + _TURN_WEIGHT * abs(photo.turn - style.turn)
            + _MOUTH_WEIGHT * (photo.has_open_mouth != style.has_open_mouth)
            + _TONE_WEIGHT * float(np.abs(tones - self._tones[index]).sum())
            + _BLUR_WEIGHT * self._blur[index]
            + _FRAME_WEIGHT * self._frames[index].any()
        )

    def _source(self, index: int) -> PatchSource:
        if index not in self._sources:
            style = self._styles[index]
            guides = style_guides(style, self._weights, self._frames[index])
            self._sources[index] = PatchSource(style.picture, guides, style.valid)
        return self._sources[index]

    def _guides(self, photo: Portrait, index: int) -> np.ndarray:
        return photo_guides(photo, self._styles[index], self._weights, self._frames[index])


def likeness_of(styles: Sequence[Portrait]) -> float:
    """The likeness that suits a style: little where its faces are flat, much where they are shaded.

    Args:
      styles: Pictures of the style.
    """
    import cv2

    flat = []
    for style in styles:
        scale = style.side / 256
        luma = cv2.GaussianBlur(style.luma, (0, 0), 0.7 * scale)
        rows, columns = np.gradient(luma)
        steps = np.hypot(rows, columns) * scale
        face = (style.parts["skin"] > 0.8) & style.valid
        flat.append(float((steps[face] < _FLAT_STEP).mean()) if face.any() else 0.0)
    shaded = 1.0 - min(1.0, float(np.mean(flat)) / _FLATTEST)
    return round(_LEAST_LIKENESS + (_MOST_LIKENESS - _LEAST_LIKENESS) * min(1.0, 2.0 * shaded), 2)


def _pixels(picture: np.ndarray) -> npt.NDArray[np.uint8]:
    return (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _tones(portrait: Portrait) -> np.ndarray:
    """Mean brightness of skin and hair; a typical one where there is none, as on bald heads."""
    tones = []
    for name, typical in _TYPICAL_TONES.items():
        mask = portrait.parts[name] * portrait.valid
        shown = mask.mean() > _LEAST_SHARE
        tones.append(float((mask * portrait.luma).sum() / mask.sum()) if shown else typical)
    return np.array(tones)


def _detail(style: Portrait) -> float:
    """Root mean square of a picture's finest detail, against its contrast."""
    import cv2

    luma = style.luma
    fine = (luma - cv2.GaussianBlur(luma, (0, 0), style.side / 256))[style.valid]
    return float(fine.std() / (luma[style.valid].std() + 1e-3) + 1e-3)


def _with_open_mouth(picture: np.ndarray, photo: Portrait, style: Portrait) -> np.ndarray:
    """Paints teeth and the dark between lips in the style's lightest and darkest colors of a face.

    No patch of a style picture with a closed mouth shows them.
    """
    import cv2

    scale = photo.side / 256
    mouth = cv2.GaussianBlur(photo.parts["mouth"], (0, 0), 0.8 * scale)[..., np.newaxis]
    face = sum(style.parts[name] for name in ("skin", "eyes", "brows", "lips")) > 0.5
    colors = style.picture[face & style.valid]
    if len(colors) < 64:
        return picture
    order = np.argsort(colors.mean(axis=1), kind="stable")
    shades = np.array([part.mean(axis=0) for part in np.array_split(colors[order], 24)])
    luma = cv2.GaussianBlur(photo.luma, (0, 0), 0.7 * scale)
    own = luma[(sum(photo.parts[n] for n in ("skin", "eyes", "lips", "mouth")) > 0.5) & photo.valid]
    levels = np.quantile(own, np.linspace(0.0, 1.0, 24))
    inside = np.stack([np.interp(luma, levels, shades[:, c]) for c in range(3)], axis=-1)
    return (1.0 - mouth) * picture + mouth * inside
