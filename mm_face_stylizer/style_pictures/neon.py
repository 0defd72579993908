"""Neon: a face in the dark that is lit by colored neon tubes and has glowing contours."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer.style_pictures.portrait import Portrait
from mm_face_stylizer.style_pictures.relief import CANVAS, Relief, blur, fill, noise, stroke

# RGB colors of the light from the left, the light from the right, the ring-shaped sign behind the
# head, and the dark background.
_PALETTES = (
    ((0.15, 1.0, 0.85), (0.75, 0.15, 1.0), (0.35, 0.65, 1.0), (0.015, 0.03, 0.10)),
    ((0.05, 0.85, 1.0), (1.0, 0.12, 0.62), (1.0, 0.35, 0.75), (0.035, 0.02, 0.10)),
    ((1.0, 0.20, 0.55), (0.10, 0.55, 1.0), (1.0, 0.60, 0.15), (0.045, 0.015, 0.09)),
)


# Width, in units of the picture, and brightness of the lines inside the face.
_LINES = dict(lip=(1.8, 0.7), nose=(1.6, 0.35), upper=(2.4, 0.9), lower=(1.3, 0.3), lid=(1.3, 0.3))


def draw(portrait: Portrait, rng: np.random.Generator) -> np.ndarray:
    """Draws a portrait in the neon style.

    Args:
      portrait: The portrait to draw.
      rng: Random generator; chooses the color palette, and varies haze and grain.

    Returns:
      float32 [CANVAS, CANVAS, 3], RGB in [0, 1].
    """
    relief = Relief.of(portrait)
    left, right, sign, dark = np.float32(_PALETTES[rng.integers(len(_PALETTES))])
    light = _scene(relief, left, right, sign, dark, rng) + _tubes(relief, left, right, sign)
    bloom = sum(weight * blur(np.clip(light - 0.45, 0, 1), sigma)
                for sigma, weight in ((3, 0.30), (9, 0.25), (28, 0.25)))  # fmt: skip
    light = light + bloom + 0.006 * noise(rng, 0.8)[..., None]
    # Like film, this curve saturates bright colors gradually instead of clipping them.
    return 1 - np.exp(-1.45 * np.clip(light, 0, None))


def _scene(
    relief: Relief,
    left: np.ndarray,
    right: np.ndarray,
    sign: np.ndarray,
    dark: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Renders the figure, lit by two lamps, in front of a dark wall that is lit by the sign."""
    r, n = relief.regions, relief.normal
    figure = np.clip(sum(r.values()) - 1, 0, 1)[..., None]
    albedo = relief.paint(
        dict(back_hair=(0.05,) * 3, body=(0.75,) * 3, cloth=(0.22, 0.2, 0.3), ear=(0.75,) * 3,
             face=(0.78, 0.74, 0.76), lips=(0.8, 0.3, 0.45), eye=(1.0,) * 3, iris=(0.3, 0.4, 0.5),
             pupil=(0.0,) * 3, glint=(3.0,) * 3, lash=(0.0,) * 3, brow=(0.08,) * 3,
             hair=(0.46, 0.42, 0.52))
    )  # fmt: skip

    def lamp(x: float, y: float, z: float, power: float = 1.0) -> np.ndarray:
        direction = np.float32([x, y, z]) / np.linalg.norm([x, y, z])
        return np.clip(n @ direction, 0, 1)[..., None] ** power

    hollow = np.clip(1 + (relief.height - blur(relief.height, 7)) / 30, 0.6, 1.1)[..., None]
    shade = (
        1.15 * lamp(-0.85, -0.15, 0.5, 1.3) * left
        + 1.15 * lamp(0.9, -0.1, 0.42, 1.4) * right
        + 0.22 * lamp(0.0, -0.2, 0.95) * np.float32([0.55, 0.5, 0.9])
    )
    gloss = 0.5 * lamp(-0.55, -0.35, 0.85, 40) * left + 0.5 * lamp(0.6, -0.3, 0.8, 40) * right
    rim = (1 - n[..., 2:]) ** 2 * np.where(n[..., :1] < 0, left, right)
    lit = albedo * shade * hollow + (0.3 * gloss + 0.35 * rim) * albedo.max(-1, keepdims=True)
    radius = np.hypot(relief.x - 256, relief.y - 225)[..., None]
    haze = (
        0.5 * np.exp(-((radius / 260) ** 2)) * sign + 0.10 * left * (1 - relief.x / 512)[..., None]
    )
    haze = haze + 0.10 * right * (relief.x / 512)[..., None]
    haze = haze * (1 + 0.12 * noise(rng, 70))[..., None]
    backdrop = dark + 0.35 * haze
    return backdrop + figure * (dark * 0.6 + lit - backdrop)


def _tubes(relief: Relief, left: np.ndarray, right: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Renders the light of everything that emits light: the sign and the glowing contours."""
    p, r = relief.portrait, relief.regions
    covered = 1 - r["hair"]
    figure = np.clip(sum(r.values()) - 1, 0, 1)
    angle = np.linspace(0, 2 * np.pi, 240)
    ring = np.stack([256 + 196 * np.cos(angle), 222 + 196 * np.sin(angle)], 1)
    light = _tube(fill(stroke(ring, 7)), (1 - figure), sign)
    side = np.clip((relief.x - 216) / 80, 0, 1)[..., None]
    both = left + side * (right - left)
    lines = np.zeros((CANVAS, CANVAS), np.float32)
    for name, line in p.feature_lines().items():
        width, power = _LINES[name.split("_")[0]]
        taper = np.sin(np.pi * np.linspace(0.04, 0.96, len(line))) ** 0.5
        np.maximum(lines, power * fill(stroke(line, width * taper)) * covered, out=lines)
    for line in (p.upper_lip(), p.lower_lip()):
        np.maximum(lines, 0.45 * fill(stroke(line, 1.4)) * covered, out=lines)
    light = (
        light + 0.75 * lines[..., None] * (both + 0.35) + 0.9 * blur(lines, 1.6)[..., None] * both
    )
    light = light + _tube(0.8 * fill(stroke(p.jaw_line(), 1.8)) * covered, 1.0, both)
    shine = np.exp(-(((relief.across - 0.1) / 0.16) ** 2)) * r["hair"]
    fade = 0.25 + 0.75 * np.sin(np.pi * np.clip(relief.along * 1.6, 0, 1)) ** 2
    light = light + 0.7 * (shine * fade)[..., None] * both
    body = p.body()
    hem = np.maximum(fill(stroke(body, 3.0)), fill(stroke(p.collar(), 3.0)) * r["body"])
    hem *= 1 - np.clip(r["face"] + r["hair"], 0, 1)
    return light + _tube(hem, 1.0, both)


def _tube(mask: np.ndarray, visible: np.ndarray | float, color: np.ndarray) -> np.ndarray:
    """Renders a neon tube, which has a whitish core and a colored halo."""
    core = blur(mask, 0.5) * visible
    halo = 1.1 * blur(mask, 2.2) + 1.3 * blur(mask, 8)
    halo = halo * visible
    return core[..., None] * (0.9 * color + 0.5) + halo[..., None] * color
