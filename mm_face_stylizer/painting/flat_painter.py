"""The painter of flat cartoons: parts filled with one color each, features drawn along landmarks.

Patches of a flat cartoon say little about where an eye ends, so that patch synthesis loses eyes and
mouths. Here each part of a face has the color that it has in pictures of the style, and eyes,
brows, nose and mouth are drawn where the photo has them, so that people who look alike are drawn
alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mm_face_stylizer.painting.colors import lab_of
from mm_face_stylizer.painting.portrait import BROWS, EYES, LIPS, MOUTH, OVAL, Portrait
from mm_face_stylizer.pixels import shrunk

# Everything is drawn at this factor on the side, and shrunk.
_FACTOR = 2
# Widths of lines, and the smoothing of outlines, as shares of the side.
_LINE, _THIN, _SMOOTHING = 0.011, 0.006, 0.014
# How much farther than the nearest a color of the style may be, in hundredths of L*a*b*, before it
# counts less; and how far the nearest, before the photo's own color counts more.
_REACH = 0.04
_TRUST = {"skin": 0.25, "hair": 0.12, "clothes": 0.12}
# Cartoons show skin brighter than photos do, light skin most of all: the lightness from which on it
# is raised, and by what factor.
_DARK, _RAISE = 0.36, 1.45
# A photo's skin is what light falls on, not what lies in shadow: these shares of it by brightness.
_LIT, _ALL = (0.55, 0.92), (0.0, 1.0)
# Height by width at which eyes are closed, and at which they are as open as they are drawn.
_CLOSED, _OPEN, _ROUND = 0.13, 0.33, 0.78
_EYE_WIDTH, _IRIS = 0.60, 0.60
_WHITE = np.array([0.99, 0.98, 0.95], np.float32)
# Pixels by which outlines go on beyond the border.
_BORDER = 8
_FILLED = ("background", "clothes", "skin", "hair")
# Points of the face mesh: corners and lids of each eye, the line below the nose, and where the
# upper row of teeth ends.
_EYE_POINTS = ((33, 133, 159, 145), (263, 362, 386, 374))
_NOSE = (64, 98, 97, 2, 326, 327, 294)
_UPPER, _LOWER = MOUTH[:11], (MOUTH[10], *MOUTH[11:], MOUTH[0])
_JAW = OVAL[11:26]
_CHIN, _NOSE_BASE = 152, 2
# Share of hair on each half of the lower face from which on it is a beard, and how far below the
# chin its shadow reaches, as a share of the side.
_BEARD, _SHADOW = 0.35, 0.055
_TEETH = 0.45


@dataclasses.dataclass(frozen=True)
class _Palette:
    """Colors that a part has in pictures of the style.

    Attributes:
      colors: RGB in [0, 1], [count, 3].
      lab: The same in hundredths of L*a*b*.
    """

    colors: np.ndarray
    lab: np.ndarray

    @classmethod
    def of(cls, colors: Sequence[np.ndarray]) -> _Palette:
        values = np.asarray(colors, np.float32).reshape(-1, 3)
        return cls(values, _lab(values))

    def near(self, color: np.ndarray, trust: float) -> np.ndarray:
        """Returns the color of the style that is nearest to a photo's, or between the nearest.

        If the style has none like it, it is a mixture with the photo's.

        Args:
          color: The photo's color.
          trust: Distance from the nearest color at which the photo's begins to count.
        """
        distances = np.linalg.norm(self.lab - _lab(color[np.newaxis]), axis=1)
        weights = np.exp(-((distances - distances.min()) / _REACH))
        nearest = (weights / weights.sum()) @ self.colors
        share = np.exp(-((distances.min() / trust) ** 2))
        return share * nearest + (1.0 - share) * color


class FlatPainter:
    """Paints portraits in the colors of several pictures of a flat style."""

    def __init__(self, styles: Sequence[Portrait]):
        """Collects the colors of the style.

        Args:
          styles: Pictures of the style; at least one.
        """
        seen = {
            name: [c for c in (_color(style, name) for style in styles) if c is not None]
            for name in _FILLED
        }
        gray = np.full(3, 0.5, np.float32)
        self._palettes = {name: _Palette.of(colors or [gray]) for name, colors in seen.items()}
        # A background is no part of a person: all get the one that is nearest to all others.
        self._background = np.median(self._palettes["background"].colors, axis=0)
        features = np.concatenate([s.picture[s.parts["eyes"] > 0.5] for s in styles])
        darkest = features[np.argsort(features.sum(axis=1))[: max(1, len(features) // 10)]]
        self._ink = darkest.mean(axis=0) if len(darkest) else 0.2 * gray

    def paint(self, photo: Portrait) -> np.ndarray:
        """Paints a portrait.

        Args:
          photo: The portrait.

        Returns:
          uint8 [side, side, 3].
        """
        colors = {name: self._near(photo, name) for name in _TRUST}
        colors["background"] = self._background
        drawing = _Drawing(photo, colors, self._ink)
        drawing.fill_parts()
        drawing.draw_features()
        picture = shrunk(drawing.canvas, photo.side)
        return np.uint8(np.clip(picture, 0.0, 1.0) * 255.0 + 0.5)

    def _near(self, photo: Portrait, name: str) -> np.ndarray:
        lit = _LIT if name == "skin" else _ALL
        own = _color(photo, name, lit)
        palette = self._palettes[name]
        if own is not None and name == "skin":
            own = _raised(own)
        return np.median(palette.colors, axis=0) if own is None else palette.near(own, _TRUST[name])


class _Drawing:
    """A cartoon in the making.

    Attributes:
      canvas: float32 [height, width, 3] in [0, 1].
    """

    def __init__(self, photo: Portrait, colors: dict[str, np.ndarray], ink: np.ndarray):
        self._photo, self._colors, self._ink = photo, colors, ink
        self._side = photo.side * _FACTOR
        self._points = photo.landmarks * _FACTOR
        self.canvas = np.empty((self._side, self._side, 3), np.float32)
        self.canvas[:] = colors["background"]
        self._shade = colors["skin"] * np.array([0.80, 0.74, 0.72], np.float32)

    def fill_parts(self) -> None:
        """Fills the parts, each with a smooth outline."""
        import cv2

        masks = np.stack([self._smooth(self._photo.parts[name]) for name in _FILLED])
        # Inside a face, below its brows, nothing but hair can hide the skin.
        oval = self._polygon([OVAL])
        masks[0] *= 1.0 - oval
        masks[1] *= 1.0 - oval
        if not self._has_beard(masks[3] - masks[2], oval):
            rows = np.arange(self._side)[:, np.newaxis]
            brows = self._points[[index for brow in BROWS for index in brow], 1].max()
            masks[3] *= 1.0 - oval * (rows > brows)
        labels = np.argmax(masks, axis=0)
        for index in range(1, len(_FILLED)):
            self.canvas[labels == index] = self._colors[_FILLED[index]]
        lower = self._polygon_of(self._points[list(OVAL)] + [0.0, _SHADOW * self._side])
        self.canvas[(labels == 2) & (oval < 0.5) & (lower > 0.5)] = self._shade
        for index in (1, 2, 3):
            # Outlines along the border are no lines of the drawing.
            part = cv2.copyMakeBorder(
                np.uint8(labels == index), *[_BORDER] * 4, cv2.BORDER_REPLICATE
            )
            outlines, _ = cv2.findContours(
                part, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=(-_BORDER, -_BORDER)
            )
            dark = self._colors[_FILLED[index]] * 0.45 + self._ink * 0.15
            for outline in outlines:
                if len(outline) > 0.15 * self._side:
                    self._line(_smoothed(outline[:, 0].astype(np.float32)), dark, _THIN, True)
        jaw = self._points[list(_JAW)]
        self._line(jaw, self._shade * 0.72, _THIN)

    def _has_beard(self, hair: np.ndarray, oval: np.ndarray) -> bool:
        """Says whether hair covers both halves of the lower face: one alone is in shadow."""
        nose, chin = self._points[_NOSE_BASE], self._points[_CHIN]
        rows, columns = np.mgrid[: self._side, : self._side]
        face = (oval > 0.5) & (rows > nose[1])
        middle = 0.5 * (nose[0] + chin[0])
        halves = (face & (columns < middle), face & (columns >= middle))
        return all(half.any() and np.mean(hair[half] > 0.0) > _BEARD for half in halves)

    def draw_features(self) -> None:
        """Draws brows, eyes, nose and mouth."""
        brow = self._colors["hair"] * 0.8 + self._ink * 0.05
        for contour in BROWS:
            self._fill(_grown(self._points[list(contour)], 1.05), brow)
        for contour, points in zip(EYES, _EYE_POINTS, strict=True):
            self._draw_eye(self._points[list(contour)], points)
        self._line(self._points[list(_NOSE[1:-1])], self._shade * 0.68, _LINE)
        self._draw_mouth()

    def _draw_eye(self, contour: np.ndarray, points: tuple[int, int, int, int]) -> None:
        outer, inner, top, bottom = self._points[list(points)]
        across = outer - inner
        width = float(np.linalg.norm(across))
        opening = float(np.linalg.norm(top - bottom)) / max(1.0, width)
        middle, along = contour.mean(axis=0), across / max(1.0, width)
        down = np.array([-along[1], along[0]], np.float32)
        down *= 1.0 if down[1] > 0 else -1.0
        angles = np.linspace(0.0, 2.0 * np.pi, 64, endpoint=False)
        radius = _EYE_WIDTH * width
        share = np.clip((opening - _CLOSED) / (_OPEN - _CLOSED), 0.0, 1.0)
        height = radius * _ROUND * (0.35 + 0.65 * share)
        if opening < _CLOSED:
            arc = np.linspace(0.1 * np.pi, 0.9 * np.pi, 24)
            lid = middle + np.outer(np.cos(arc) * radius, along)
            self._line(lid + np.outer(np.sin(arc) * 0.3 * radius, down), self._ink, _LINE * 1.4)
            return
        ellipse = middle + np.outer(np.cos(angles) * radius, along)
        ellipse = ellipse + np.outer(np.sin(angles) * height, down)
        white = self._polygon_of(ellipse)
        self._blend(white, _WHITE)
        middle = middle - 0.08 * height * down
        iris = middle + _IRIS * radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self._blend(white * self._polygon_of(iris), self._ink)
        spot = middle + radius * np.array([-0.22, -0.22])
        light = spot + 0.16 * radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self._blend(white * self._polygon_of(light), _WHITE)
        lid = ellipse[32:]
        # The outer corner is where the angle is 0: the lid ends in a lash.
        lash = ellipse[0] + along * 0.22 * radius - down * 0.28 * height
        self._line(np.concatenate([lid, ellipse[:1], lash[np.newaxis]]), self._ink, _LINE * 1.2)
        self._line(ellipse[:33], self._shade * 0.7, _THIN * 0.8)

    def _draw_mouth(self) -> None:
        lips = self._colors["skin"] * np.array([0.86, 0.60, 0.58], np.float32)
        self._fill(self._points[list(LIPS)], lips)
        upper, lower = self._points[list(_UPPER)], self._points[list(_LOWER)][::-1]
        line = self._ink * 0.6 + lips * 0.2
        if self._photo.has_open_mouth:
            mouth = self._points[list(MOUTH)]
            self._fill(mouth, np.array([0.36, 0.12, 0.12], np.float32))
            teeth = upper + _TEETH * (lower - upper)
            self._fill(np.concatenate([upper, teeth[::-1]]), _WHITE)
            self._line(mouth, line, _THIN, True)
        else:
            self._line(0.5 * (upper + lower), line, _LINE)

    def _smooth(self, mask: np.ndarray) -> np.ndarray:
        import cv2

        size = (self._side, self._side)
        mask = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _SMOOTHING * len(mask))
        return cv2.resize(mask, size, interpolation=cv2.INTER_CUBIC)

    def _polygon(self, contours: Sequence[Sequence[int]]) -> np.ndarray:
        return np.maximum.reduce([self._polygon_of(self._points[list(c)]) for c in contours])

    def _polygon_of(self, points: np.ndarray) -> np.ndarray:
        import cv2

        mask = np.zeros((self._side, self._side), np.float32)
        cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
        return mask

    def _fill(self, points: np.ndarray, color: np.ndarray) -> None:
        self._blend(self._polygon_of(points), color)

    def _blend(self, mask: np.ndarray, color: np.ndarray) -> None:
        self.canvas += mask[..., np.newaxis] * (color - self.canvas)

    def _line(
        self, points: np.ndarray, color: np.ndarray, width: float, closed: bool = False
    ) -> None:
        import cv2

        line = [np.round(points * 16).astype(np.int32)]
        thickness = max(1, round(width * self._side))
        values = tuple(float(x) for x in color)
        cv2.polylines(self.canvas, line, closed, values, thickness, cv2.LINE_AA, 4)


def _color(portrait: Portrait, name: str, shares: tuple[float, float] = _ALL) -> np.ndarray | None:
    """Returns the middle color of a part, RGB in [0, 1]; None if the part is hardly there.

    `shares` are those of the part's pixels, by brightness, that count.
    """
    mask = (portrait.parts[name] > 0.5) & portrait.valid
    if mask.sum() < 0.002 * mask.size:
        return None
    luma = portrait.luma[mask]
    low, high = np.quantile(luma, shares)
    return np.median(portrait.picture[mask][(luma >= low) & (luma <= high)], axis=0)


def _lab(colors: np.ndarray) -> np.ndarray:
    """Converts colors, [count, 3] in [0, 1], to hundredths of L*a*b*."""
    return lab_of(colors[np.newaxis])[0] / 100.0


def _raised(skin: np.ndarray) -> np.ndarray:
    """Returns the color of skin, RGB in [0, 1], as bright as cartoons show it."""
    import cv2

    lab = _lab(skin[np.newaxis]) * 100.0
    lightness = lab[0, 0] / 100.0
    lab[0, 0] = 100.0 * min(0.9, lightness + (_RAISE - 1.0) * max(0.0, lightness - _DARK))
    return cv2.cvtColor(lab[np.newaxis], cv2.COLOR_LAB2RGB)[0, 0].clip(0.0, 1.0)


def _grown(points: np.ndarray, factor: float) -> np.ndarray:
    middle = points.mean(axis=0)
    return middle + factor * (points - middle)


def _smoothed(outline: np.ndarray, reach: int = 9) -> np.ndarray:
    """Averages the neighbors of a closed outline's points."""
    wrapped = np.concatenate([outline[-(reach // 2) :], outline, outline[: reach // 2]])
    kernel = np.full(reach, 1.0 / reach)
    return np.stack([np.convolve(wrapped[:, i], kernel, "valid") for i in (0, 1)], axis=1)
