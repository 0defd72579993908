"""Pen and ink: hatching that follows the shape of the face, as in engravings, on warm paper."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer.style_pictures.portrait import Portrait
from mm_face_stylizer.style_pictures.relief import CANVAS, Relief, blur, fill, noise, stroke

_PAPERS = ((244, 232, 208), (241, 233, 216), (238, 226, 200))
_INKS = ((38, 30, 34), (30, 36, 56), (58, 34, 24))
# Distance between hatching lines, in units of the picture. It is large enough for the lines to
# remain visible in a crop of the face of 256 x 256 pixels.
_PITCH = 4.6

# Darkness that is added to each region's shading. Negative values keep the paper bare in the shade.
_LOCAL = dict(
    back_hair=0.75, body=0, cloth=0.34, ear=0, face=0, lips=0.2, eye=-0.06, iris=0.62, pupil=1.2,
    glint=-2, lash=1.5, brow=0.75, hair=0.36,
)  # fmt: skip

# Opacity of the hatching per region, 1 by default. A face detector samples one pixel in four of the
# picture, so black hatching would turn into noise that hides the face; diluted ink does not.
_WEIGHTS = dict(backdrop=0.55, body=0.55, ear=0.55, face=0.55)


def draw(portrait: Portrait, rng: np.random.Generator) -> np.ndarray:
    """Draws a portrait in the pen and ink style.

    Args:
      portrait: The portrait to draw.
      rng: Random generator; chooses ink and paper, and varies the lines.

    Returns:
      float32 [CANVAS, CANVAS, 3], RGB in [0, 1].
    """
    relief = Relief.of(portrait)
    wobble = 0.35 * noise(rng, 22) + 0.12 * noise(rng, 6)
    dark = _darkness(relief) * (1 + 0.05 * noise(rng, 10))
    ink = np.maximum(_hatching(relief, dark, wobble), _outlines(relief, rng))
    ink = blur(np.clip(ink, 0, 1), 0.3)
    paper = np.float32(_PAPERS[rng.integers(len(_PAPERS))]) / 255
    color = np.float32(_INKS[rng.integers(len(_INKS))]) / 255
    grain = 1 + 0.012 * noise(rng, 1.5) + 0.012 * noise(rng, 60)
    # Paper absorbs ink unevenly.
    ink = np.clip(ink * (0.93 + 0.05 * noise(rng, 3)), 0, 1)[..., None]
    return paper * grain[..., None] * (1 - ink) + color * ink


def _darkness(relief: Relief) -> np.ndarray:
    """Returns the fraction of the paper that the lines should cover, mostly in [0, 1]."""
    r = relief.regions
    dark = 1.12 * np.clip(0.93 - relief.tone, 0, 1) ** 1.1
    local = relief.paint({name: (value,) * 3 for name, value in _LOCAL.items()})[..., 0]
    dark = np.where(r["hair"] > 0.5, 1.5 * np.clip(1.0 - relief.tone, 0, 1), dark) + local
    # The backdrop gets darker toward the side away from the light, which is the lower right.
    fall = np.clip((relief.x - 150) / 420 + (relief.y - 256) / 900, 0, 1)
    figure = np.clip(sum(r.values()) - 1, 0, 1)
    return np.where(figure > 0.5, dark, 0.1 + 0.5 * fall)


def _lines(phase: np.ndarray, coverage: np.ndarray, pitch: float = _PITCH) -> np.ndarray:
    """Draws lines where `phase` is a multiple of `pitch`; `coverage` is the fraction they fill."""
    gy, gx = np.gradient(phase)
    soft = np.clip(2 * np.hypot(gx, gy) / pitch, 0.08, 1.0)
    triangle = np.abs(2 * np.mod(phase / pitch, 1) - 1)
    return np.clip((coverage - triangle) / soft + 0.5, 0, 1) * (coverage > 0.02)


def _hatching(relief: Relief, dark: np.ndarray, wobble: np.ndarray) -> np.ndarray:
    r = relief.regions
    form = blur(relief.height, 2.2)
    x, y = relief.x, relief.y + wobble
    # Intersecting the head with parallel planes gives lines that follow its shape.
    first = 0.92 * y + 0.3 * x - 0.42 * form
    second = 0.88 * x - 0.42 * y - 0.30 * form + wobble
    skin = np.maximum(
        _lines(first, np.clip(0.86 * dark, 0, 0.8)),
        _lines(second, np.clip(1.25 * (dark - 0.38), 0, 0.62)),
    )
    cloth = np.maximum(
        _lines(0.8 * x + 0.6 * y - 0.25 * form, np.clip(dark, 0, 0.8)),
        _lines(0.75 * x - 0.66 * y + 0.2 * form, np.clip(dark - 0.25, 0, 0.7)),
    )
    strands = _lines(relief.strand + 0.012 * wobble, np.clip(dark, 0.04, 0.93), 0.34)
    back = np.maximum(_lines(0.25 * y + x + wobble, np.clip(dark, 0, 0.6)),
                      _lines(0.97 * y - 0.25 * x, np.clip(dark - 0.2, 0, 0.6)))  # fmt: skip
    ink = _WEIGHTS["backdrop"] * _lines(y + 0.06 * wobble, np.clip(dark, 0, 0.8))
    for name, hatch in (("back_hair", back), ("body", skin), ("cloth", cloth), ("ear", skin),
                        ("face", skin), ("hair", strands)):  # fmt: skip
        ink += r[name] * (_WEIGHTS.get(name, 1.0) * hatch - ink)
        if name == "face":
            solid = np.clip(r["pupil"] + r["lash"] + 0.9 * r["brow"], 0, 1) * (1 - r["glint"])
            clear = np.clip(r["eye"] - r["iris"], 0, 1) + r["glint"]
            ink = np.maximum(ink * (1 - 0.85 * np.clip(clear, 0, 1)), solid * (dark > 0.3))
    return ink


def _outlines(relief: Relief, rng: np.random.Generator) -> np.ndarray:
    p, r = relief.portrait, relief.regions
    covered = 1 - r["hair"]
    ink = np.zeros((CANVAS, CANVAS), np.float32)

    def pen(points: np.ndarray, width: float, visible: np.ndarray | float = 1.0) -> None:
        t = np.linspace(0, 1, len(points))
        pressure = 0.25 + 0.75 * np.sin(np.pi * t) ** 0.6
        pressure *= 1 + 0.15 * np.sin(9 * t + rng.uniform(0, 6))
        np.maximum(ink, fill(stroke(points, width * pressure)) * visible, out=ink)

    body = p.body()
    head = 1 - np.clip(r["face"] + r["hair"], 0, 1)
    pen(body[: len(body) // 2], 2.2, head)
    pen(body[len(body) // 2 :], 2.6, head)
    pen(p.collar(), 1.8, head * r["body"])
    pen(p.jaw_line(), 2.6, covered)
    for side in (-1, 1):
        pen(p.ear(side), 1.6, covered * (1 - r["face"]))
        center, radius = p.iris(side)
        angle = np.linspace(0, 2 * np.pi, 60)
        pen(center + radius * np.stack([np.cos(angle), np.sin(angle)], 1), 1.6, r["eye"])
    pen(p.upper_lip(), 1.2, covered)
    pen(p.lower_lip(), 1.4, covered)
    widths = dict(lip=2.6, nose=2.0, upper=2.4, lower=1.3, lid=1.3)
    for name, line in p.feature_lines().items():
        pen(line, widths[name.split("_")[0]], covered)
    for side in (-1, 1):
        np.maximum(ink, fill(p.nostril(side)) * covered, out=ink)
    edge = r["hair"] * (1 - blur(r["hair"], 1.0)) * 2.2
    seams = np.clip((np.abs(relief.across) - 0.9) / 0.06, 0, 1) * r["hair"]
    np.maximum(ink, np.clip(np.maximum(edge, 0.9 * seams), 0, 1), out=ink)
    return ink
