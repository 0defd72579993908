"""Comic: flat saturated colors, thick outlines and halftone dots."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt

from mm_face_stylizer.style_pictures.portrait import Portrait, smooth
from mm_face_stylizer.style_pictures.relief import CANVAS, SCALE, Relief, blur, fill, stroke

_BLACK = np.float32([0.06, 0.04, 0.09])
# Distance between halftone dots, in units of the picture.
_DOT_PITCH = 6.4


@dataclasses.dataclass(frozen=True)
class _Palette:
    skin: tuple[int, int, int]
    blush: tuple[int, int, int]
    hair: tuple[int, int, int]
    hair_shadow: tuple[int, int, int]
    lips: tuple[int, int, int]
    iris: tuple[int, int, int]
    cloth: tuple[int, int, int]
    cloth_shadow: tuple[int, int, int]
    backdrop: tuple[int, int, int]
    rays: tuple[int, int, int]


_PALETTES = (
    _Palette((255, 214, 178), (250, 132, 104), (255, 205, 40), (240, 140, 20), (230, 30, 52),
             (30, 130, 220), (226, 36, 60), (150, 12, 50), (40, 186, 232), (96, 214, 244)),
    _Palette((255, 206, 170), (246, 120, 98), (52, 92, 214), (28, 42, 132), (222, 28, 70),
             (40, 160, 110), (255, 208, 44), (244, 140, 28), (250, 84, 108), (255, 128, 136)),
    _Palette((255, 216, 184), (248, 138, 110), (236, 76, 42), (164, 28, 36), (214, 24, 60),
             (40, 150, 90), (60, 70, 200), (34, 34, 120), (255, 212, 54), (255, 230, 120)),
)  # fmt: skip


def draw(portrait: Portrait, rng: np.random.Generator) -> np.ndarray:
    """Draws a portrait in the comic style.

    Args:
      portrait: The portrait to draw.
      rng: Random generator; chooses the color palette and the rotation of the rays.

    Returns:
      float32 [CANVAS, CANVAS, 3], RGB in [0, 1].
    """
    relief = Relief.of(portrait)
    palette = _PALETTES[rng.integers(len(_PALETTES))]
    image = _colors(relief, palette, rng)
    ink = np.clip(_outlines(relief), 0, 1)[..., None]
    image = image * (1 - ink) + _BLACK * ink
    glint = relief.regions["glint"][..., None]
    return image * (1 - glint) + glint


def _rgb(color: tuple[int, int, int]) -> np.ndarray:
    return np.float32(color) / 255


def _below(field: np.ndarray, level: float, softness: float = 0.012) -> np.ndarray:
    return np.clip((level - field) / softness + 0.5, 0, 1)


def _dots(relief: Relief, coverage: np.ndarray) -> np.ndarray:
    """Draws halftone dots on a grid at 45 degrees that cover a given fraction of the area."""
    a = (relief.x + relief.y) / np.sqrt(2) / _DOT_PITCH
    b = (relief.x - relief.y) / np.sqrt(2) / _DOT_PITCH
    distance = np.hypot(a - np.round(a), b - np.round(b))
    radius = np.sqrt(np.clip(coverage, 0, 1) / np.pi)
    return np.clip((radius - distance) * _DOT_PITCH * SCALE + 0.5, 0, 1) * (coverage > 0.02)


def _colors(relief: Relief, palette: _Palette, rng: np.random.Generator) -> np.ndarray:
    r = relief.regions
    tone = blur(relief.tone, 2.5)
    fine = blur(relief.tone, 1.2)
    image = _backdrop(relief, palette, rng)

    def lay(mask: np.ndarray, color: npt.ArrayLike) -> None:
        nonlocal image
        image = image + mask[..., None] * (np.float32(color) - image)

    lay(r["back_hair"], _rgb(palette.hair_shadow))
    skin, blush = _rgb(palette.skin), _rgb(palette.blush)
    shade = _dots(relief, np.clip(1.9 * (0.84 - tone), 0, 0.62) * _below(tone, 0.80, 0.02))
    solid = _below(tone, 0.36)
    for name in ("body", "ear", "face"):
        lay(r[name], skin)
        lay(r[name] * shade, blush)
        lay(r[name] * solid, 0.93 * blush)
        if name == "body":
            lay(r["cloth"], _rgb(palette.cloth))
            fold = np.clip((relief.x - 190) / 380 + (relief.y - 470) / 260, 0, 0.7)
            lay(r["cloth"] * _dots(relief, fold), _rgb(palette.cloth_shadow))
    cheeks = sum(
        np.exp(-(((relief.x - cx) / 20) ** 2) - ((relief.y - cy) / 15) ** 2)
        for cx, cy in relief.portrait.to_picture([(-60, 272), (60, 272)])
    )
    lay(r["face"] * _dots(relief, 0.42 * cheeks.astype(np.float32) * (tone > 0.55)), blush)
    lips = _rgb(palette.lips)
    if relief.portrait.hair == "swept":
        lips = 0.45 * lips + 0.55 * blush
    lay(r["lips"], lips)
    seam = fill(np.concatenate([relief.portrait.upper_lip(), relief.portrait.lip_seam()[::-1]]))
    lay(r["lips"] * seam, 0.68 * lips)
    shine = relief.portrait.to_picture([(-12, 331), (-3, 332.5)], lift=9)
    lay(fill(stroke(np.linspace(*shine, 20), 3.2 * np.sin(np.linspace(0.1, 3.04, 20)))), (1, 1, 1))
    lay(r["eye"], (1, 1, 1))
    lay(r["eye"] * _below(np.abs(relief.y - _lid_y(relief)), 4.5, 0.5), (0.80, 0.86, 0.95))
    lay(r["iris"], _rgb(palette.iris))
    lay(r["pupil"], _BLACK)
    lay(r["hair"], _rgb(palette.hair))
    lay(r["hair"] * _below(fine, 0.60, 0.03), _rgb(palette.hair_shadow))
    light = np.exp(-(((relief.across + 0.25) / 0.2) ** 2)) * np.exp(
        -(((relief.along - 0.3) / 0.13) ** 2)
    )
    lay(r["hair"] * _below(-light, -0.42, 0.1), 0.35 * _rgb(palette.hair) + 0.65)
    return image


def _lid_y(relief: Relief) -> np.ndarray:
    """Returns the vertical position of the upper lids in each column, float32 [1, CANVAS]."""
    lids = np.concatenate([relief.portrait.upper_lid(side) for side in (-1, 1)])
    lids = lids[np.argsort(lids[:, 0])]
    return np.interp(relief.x[0], lids[:, 0], lids[:, 1])[None].astype(np.float32)


def _backdrop(relief: Relief, palette: _Palette, rng: np.random.Generator) -> np.ndarray:
    dx, dy = relief.x - 256, relief.y - 250
    turns = np.arctan2(dy, dx) / (2 * np.pi) * 14 + rng.uniform()
    wedge = np.abs(2 * np.mod(turns, 1) - 1) - 0.5
    radius = np.hypot(dx, dy)
    rays = np.clip(wedge * radius * SCALE * np.pi / 14 + 0.5, 0, 1)[..., None]
    image = _rgb(palette.backdrop) * (1 - rays) + _rgb(palette.rays) * rays
    dots = _dots(relief, np.clip((radius - 190) / 330, 0, 0.6))[..., None]
    return image * (1 - dots) + (0.72 * _rgb(palette.backdrop)) * dots


def _edge(mask: np.ndarray, width: float) -> np.ndarray:
    side = int(round(width * SCALE)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.GaussianBlur(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel), (0, 0), 0.8)


def _outlines(relief: Relief) -> np.ndarray:
    p, r = relief.portrait, relief.regions
    hair = (r["hair"] > 0.5).astype(np.float32)
    covered = 1 - hair
    ink = np.zeros((CANVAS, CANVAS), np.float32)

    def pen(
        points: np.ndarray, width: float, visible: np.ndarray | float = 1.0, taper: float = 0.6
    ) -> None:
        t = np.linspace(0, 1, len(points))
        pressure = 0.2 + 0.8 * np.sin(np.pi * t) ** taper
        np.maximum(ink, fill(stroke(points, width * pressure)) * visible, out=ink)

    front = 1 - np.clip(r["face"] + hair, 0, 1)
    np.maximum(ink, _edge(r["body"], 3.4) * front, out=ink)
    np.maximum(ink, _edge(r["back_hair"], 3.4) * (1 - r["body"]) * front, out=ink)
    pen(p.collar(), 4.2, front * r["body"])
    np.maximum(ink, _edge(r["ear"], 3.2) * covered * (1 - r["face"]), out=ink)
    for side in (-1, 1):
        pen(smooth([(118, 530), (113, 496), (120, 470)], 30) * [side, 1] + [256, 0], 4.0, front)
    pen(p.jaw_line(), 5.0, covered, 0.3)
    for side in (-1, 1):
        center, radius = p.iris(side)
        angle = np.linspace(0, 2 * np.pi, 60)
        ring = center + radius * np.stack([np.cos(angle), np.sin(angle)], 1)
        np.maximum(ink, fill(stroke(ring, 2.6)) * r["eye"], out=ink)
        np.maximum(ink, fill(p.nostril(side)) * covered, out=ink)
    pen(p.upper_lip(), 2.2, covered)
    pen(p.lower_lip(), 3.0, covered)
    widths = dict(lip=3.2, nose=2.8, upper=3.4, lower=2.2, lid=2.2)
    for name, line in p.feature_lines().items():
        pen(line, widths[name.split("_")[0]], covered)
    for name in ("lash", "brow"):
        np.maximum(ink, r[name] * covered, out=ink)
    np.maximum(ink, _edge(hair, 3.6), out=ink)
    swell = 0.10 + 0.16 * np.sin(np.pi * np.clip(relief.along, 0, 1)) ** 2
    seams = np.clip((np.abs(relief.across) - 1 + swell) / 0.05, 0, 1) * hair
    # Blurring and sharpening removes the specks where locks overlap.
    return np.maximum(ink, np.clip(4 * (blur(seams, 0.9) - 0.45) + 0.5, 0, 1))
