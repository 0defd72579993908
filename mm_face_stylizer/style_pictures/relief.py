"""Rasterizes a portrait to fields that all styles use: height, shading and regions."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np

from mm_face_stylizer.style_pictures.portrait import UNITS, Portrait
from mm_face_stylizer.style_pictures.portrait import across as across_line

# Side of the canvas in pixels, and pixels per unit of the picture.
CANVAS = 1024
SCALE = CANVAS / UNITS

# Direction toward the light: x to the right, y down, z toward the viewer.
_LIGHT = np.array([-0.46, -0.50, 0.73])
# Direction toward the light reflected by clothes and walls, which keeps chin and cheek from going
# black.
_BOUNCE = np.array([0.55, 0.65, 0.35])
_SUBPIXEL_BITS = 4


def fill(points: np.ndarray) -> np.ndarray:
    """Rasterizes a closed shape.

    Args:
      points: Points of the picture, [N, 2].

    Returns:
      The fraction of each pixel that is covered, float32 [CANVAS, CANVAS] in [0, 1].
    """
    mask = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.fillPoly(mask, [fixed(points)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask.astype(np.float32) / 255


def fixed(points: np.ndarray) -> np.ndarray:
    """Converts points of the picture to canvas pixels in OpenCV's fixed-point format, int32."""
    return np.round(np.asarray(points) * SCALE * 2**_SUBPIXEL_BITS).astype(np.int32)


def stroke(points: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """Returns the closed outline of a stroke.

    Args:
      points: Center line of the stroke, points of the picture, [N, 2].
      width: Width of the stroke in units of the picture, for each point [N] or for all.

    Returns:
      float64 [2 * N, 2].
    """
    p = np.asarray(points, np.float64)
    half = np.broadcast_to(np.asarray(width, np.float64) / 2, len(p))[:, None]
    side = half * across_line(p)
    return np.concatenate([p + side, (p - side)[::-1]])


def blur(field: np.ndarray, sigma: float) -> np.ndarray:
    """Applies a Gaussian blur to a field; `sigma` is in units of the picture."""
    # A wide blur leaves only low frequencies, so it is computed on a smaller copy, which is faster.
    step = max(1, int(sigma * SCALE / 6))
    if step == 1:
        return cv2.GaussianBlur(field, (0, 0), sigma * SCALE)
    small = cv2.resize(field, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma * SCALE / step)
    return cv2.resize(small, field.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def noise(rng: np.random.Generator, grain: float, size: int = CANVAS) -> np.ndarray:
    """Returns smooth noise with a mean of 0 and a standard deviation of 1.

    Args:
      rng: Random generator.
      grain: Size of the noise's structures, in units of the picture.
      size: Side of the field in pixels.

    Returns:
      float32 [size, size].
    """
    cells = max(2, int(UNITS / grain))
    field = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
    field = cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / field.std()


def _bump(u: np.ndarray, v: np.ndarray, u0: float, v0: float, su: float, sv: float) -> np.ndarray:
    return np.exp(-(((u - u0) / su) ** 2) - ((v - v0) / sv) ** 2)


@dataclasses.dataclass(frozen=True, eq=False)
class Relief:
    """Fields of a portrait, each float32 [CANVAS, CANVAS].

    Attributes:
      portrait: The portrait that the fields describe.
      x: Horizontal position of each pixel, in units of the picture.
      y: Vertical position of each pixel, downward, in units of the picture.
      height: Height of the surface toward the viewer, in units of the picture.
      tone: Brightness of the light that reaches the surface, from 0 to about 1.
      regions: Coverage of each region in [0, 1], keyed by name. Later regions are in front of
        earlier ones: backdrop, back_hair, body, cloth, ear, face, lips, eye, iris, pupil, glint,
        lash, brow, hair.
      across: Position across a lock of hair, from -1 to 1 at its edges.
      along: Position along a lock of hair, from 0 at the root to 1 at the tip.
      strand: A value that is constant along each strand of hair and differs between strands.
    """

    portrait: Portrait
    x: np.ndarray
    y: np.ndarray
    height: np.ndarray
    tone: np.ndarray
    regions: dict[str, np.ndarray]
    across: np.ndarray
    along: np.ndarray
    strand: np.ndarray

    @classmethod
    def of(cls, portrait: Portrait) -> Relief:
        """Computes all fields of a portrait."""
        y, x = np.mgrid[:CANVAS, :CANVAS].astype(np.float32) / np.float32(SCALE)
        regions = _regions(portrait)
        hair, across, along, strand = _hair_fields(portrait)
        regions["hair"] = hair
        strands = _ripple(strand, np.random.default_rng(portrait.hair_seed))
        height = _height(portrait, x, y, regions, across, strands)
        tone = _light(height, regions)
        return cls(portrait, x, y, height, tone, regions, across, along, strand)

    @functools.cached_property
    def normal(self) -> np.ndarray:
        """Unit normals of the surface, float32 [CANVAS, CANVAS, 3]; z points to the viewer."""
        return _normals(blur(self.height, 0.8))

    def paint(self, colors: dict[str, tuple[float, float, float]]) -> np.ndarray:
        """Fills regions with flat colors, from back to front, on black.

        Args:
          colors: RGB color of each region, keyed by name; other regions are not painted.

        Returns:
          float32 [CANVAS, CANVAS, 3], in the range of the colors.
        """
        image = np.zeros((CANVAS, CANVAS, 3), np.float32)
        for name, mask in self.regions.items():
            if name in colors:
                image += mask[..., None] * (np.float32(colors[name]) - image)
        return image


def _regions(portrait: Portrait) -> dict[str, np.ndarray]:
    empty = np.zeros((CANVAS, CANVAS), np.float32)
    back = portrait.back_hair()
    body = fill(portrait.body())
    collar = portrait.collar()
    below = np.concatenate([[(0, collar[0, 1] - 40)], collar, [(512, collar[-1, 1] - 40)],
                            [(512, 530), (0, 530)]])  # fmt: skip
    lips = np.concatenate([portrait.upper_lip(), portrait.lower_lip()[::-1]])
    eye = fill(portrait.eye(-1)) + fill(portrait.eye(1))
    angle = np.linspace(0, 2 * np.pi, 60)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    iris, pupil, glint = empty.copy(), empty.copy(), empty.copy()
    for side in (-1, 1):
        center, radius = portrait.iris(side)
        iris += fill(center + radius * circle)
        pupil += fill(center + 0.45 * radius * circle)
        glint += fill(center + radius * (0.24 * circle + [-0.36, -0.32]))
        glint += fill(center + radius * (0.12 * circle + [0.38, 0.40]))
    return {
        "backdrop": np.ones_like(empty),
        "back_hair": empty if back is None else fill(back),
        "body": body,
        "cloth": body * fill(below),
        "ear": fill(portrait.ear(-1)) + fill(portrait.ear(1)),
        "face": fill(portrait.silhouette()),
        "lips": fill(lips),
        "eye": eye,
        "iris": iris * eye,
        "pupil": pupil * eye,
        "glint": glint * eye,
        "lash": fill(portrait.lash(-1)) + fill(portrait.lash(1)),
        "brow": fill(portrait.brow(-1)) + fill(portrait.brow(1)),
    }


def _hair_fields(portrait: Portrait) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    hair, across, along, strand = (np.zeros((CANVAS, CANVAS), np.float32) for _ in range(4))
    for index, lock in enumerate(portrait.locks()):
        length = np.linalg.norm(np.diff(lock.spine, axis=0), axis=1).sum()
        # The samples are denser than the pixels, so that the lock has no holes.
        t = np.linspace(0, 1, int(1.6 * SCALE * length))[:, None]
        q = np.linspace(-1, 1, int(1.5 * SCALE * lock.width.max()) + 2)[None]
        n = np.linspace(0, 1, len(lock.spine))
        rims = [
            np.stack([np.interp(t, n, rim[:, k]) for k in (0, 1)], -1)
            for rim in (lock.rim(-1), lock.rim(1))
        ]
        points = 0.5 * ((1 - q)[..., None] * rims[0] + (1 + q)[..., None] * rims[1])
        pixels = np.round(points * SCALE).astype(int)
        inside = ((pixels >= 0) & (pixels < CANVAS)).all(-1)
        px, py = pixels[inside].T
        hair[py, px] = 1
        across[py, px] = np.broadcast_to(q, inside.shape)[inside]
        along[py, px] = np.broadcast_to(t, inside.shape)[inside]
        strand[py, px] = np.broadcast_to(q + 2.7 * index, inside.shape)[inside]
    return cv2.GaussianBlur(hair, (0, 0), 0.7), across, along, strand


def _ripple(strand: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns noise that is constant along each strand, so that it looks like hair."""
    table = cv2.GaussianBlur(rng.standard_normal((1, 4096)).astype(np.float32), (0, 0), 1.5)
    return 2 * table[0, (strand * 22).astype(int) % 4096]


def _height(
    portrait: Portrait,
    x: np.ndarray,
    y: np.ndarray,
    regions: dict[str, np.ndarray],
    across: np.ndarray,
    strands: np.ndarray,
) -> np.ndarray:
    u, v, still = portrait.to_head(x, y)
    half = portrait.outline()
    width = np.interp(v.ravel(), half[:, 1], half[:, 0]).reshape(v.shape).astype(np.float32) + 1
    radial = np.clip(np.abs(still) / width, 0, 1)
    profile = (
        np.interp(
            v.ravel(),
            (84, 110, 150, 190, 208, 228, 262, 290, 322, 345, 360, 374),
            (0.30, 0.66, 0.88, 0.97, 0.99, 0.96, 0.97, 0.97, 0.97, 0.93, 0.91, 0.76),
        )
        .reshape(v.shape)
        .astype(np.float32)
    )
    face = 100 * blur(profile, 5) * (1 - 0.94 * radial**2.4) ** 0.5 + _features(portrait, u, v)
    neck_u = np.clip(np.abs(x - 256) / 56, 0, 1)
    neck = 58 * (1 - neck_u**2) ** 0.5 - 12
    shoulder = 44 * np.clip(1 - (np.abs(x - 256) / 236) ** 2, 0, 1) ** 0.5 + 0.22 * (y - 424)
    body = np.maximum(neck - 0.9 * np.maximum(0, y - 418), shoulder)
    body = blur(body, 5)
    height = np.where(regions["body"] > 0.5, body, -60)
    height = np.where(regions["cloth"] > 0.5, blur(body, 4) + 5, height)
    ear = 22 + 10 * np.cos((np.abs(still) - 106) / 3.2)
    height = np.where((regions["ear"] > 0.5) & (regions["face"] < 0.5), ear, height)
    height = np.where(regions["face"] > 0.5, face, height)
    hair = regions["hair"] > 0.5
    head = (hair | (regions["face"] > 0.5) | (regions["body"] > 0.5)).astype(np.uint8)
    depth = np.clip(cv2.distanceTransform(head, cv2.DIST_L2, 5) / SCALE / 60, 0, 1)
    cap = blur(70 * np.sqrt(1 - (1 - depth) ** 2) + 25, 6)
    # The edges of the locks are not antialiased; without blurring, their steep slopes would
    # sparkle.
    locks = blur(9 * np.sqrt(np.clip(1 - across**2, 0, 1)) + 1.2 * strands, 0.7)
    return np.where(hair, cap + locks, height).astype(np.float32)


def _features(portrait: Portrait, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns the height of eyes, nose, mouth and cheeks above the smooth shape of the head."""
    a = np.abs(u)
    along = np.interp(
        v.ravel(), (200, 214, 228, 245, 262, 274, 283, 290, 297, 302),
        (0, 4, 7, 12.5, 18.5, 24, 26, 23, 9, 0),
    ).reshape(v.shape).astype(np.float32)  # fmt: skip
    girth = np.interp(v.ravel(), (205, 225, 250, 270, 283, 300), (15, 11.5, 12, 14, 15.5, 15))
    girth = girth.reshape(v.shape).astype(np.float32)
    z = blur(along, 1.5) * np.exp(-(np.abs(u / girth) ** 2.0))
    z += 11 * _bump(a, v, 16, 285, 7, 8)
    z -= 5 * _bump(a, v, 9.5, 294, 4.5, 2.6)
    z -= 12 * _bump(a, v, 36, 224, 28, 15) + 6 * _bump(a, v, 17, 226, 8, 12)
    z += 4.5 * _bump(a, v, 42, 203, 30, 9)
    z += 9 * _bump(a, v, 41, 229, 21, 14)
    z -= 2.5 * _bump(a, v, 44, 244, 20, 5)
    z += (5 + 3 * portrait.smile) * _bump(a, v, 58, 268, 26, 20)
    z -= 4.0 * _bump(a, v, 78, 312, 22, 26)
    fold = 27 + 0.42 * (v - 292)
    crease = np.exp(-(((a - fold) / 5) ** 2) - ((v - 302) / 18) ** 2)
    z -= (0.5 + 0.9 * portrait.smile) * crease
    z += 5 * _bump(u, v, 0, 324, 42, 26)
    z -= 1.5 * _bump(u, v, 0, 305, 4, 8)
    z += 4.5 * _bump(u, v, 0, 317, 24, 4.5) + 6.5 * _bump(u, v, 0, 330.5, 19, 5)
    seam = v - 323 + 0.004 * u**2 * portrait.smile
    z -= 4.5 * np.exp(-((seam / 2.0) ** 2) - (a / 30) ** 4)
    z -= 1.2 * _bump(a, v, 37, 321 - 4 * portrait.smile, 6, 6)
    z -= 5 * _bump(u, v, 0, 342, 24, 6)
    z += 8 * _bump(u, v, 0, 357, 25, 14)
    return z


def _normals(height: np.ndarray) -> np.ndarray:
    gx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3) / 8 * SCALE
    gy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3) / 8 * SCALE
    normal = np.stack([-gx, -gy, np.ones_like(gx)], -1)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def _light(height: np.ndarray, regions: dict[str, np.ndarray]) -> np.ndarray:
    normals = _normals(blur(height, 1.2))
    lambert = np.clip(normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    bounce = np.clip(normals @ (_BOUNCE / np.linalg.norm(_BOUNCE)), 0, 1)
    hollow = np.clip(1 + (height - blur(height, 9)) / 40, 0.55, 1.1)
    tone = (0.16 + 0.78 * lambert + 0.27 * bounce).astype(np.float32) * hollow
    tone *= 1 - 0.5 * _cast_shadow(height)
    # The upper lid and its lashes cast a shadow on the eyeball.
    lid_shadow = blur(np.roll(regions["lash"], int(3 * SCALE), axis=0), 1.6)
    tone *= 1 - 0.5 * np.clip(1.5 * lid_shadow, 0, 1) * regions["eye"]
    # The backdrop is far behind the figure, so no shadow falls on it.
    figure = blur(np.clip(sum(regions.values()) - 1, 0, 1), 0.4)
    return (0.85 + figure * (tone - 0.85)).astype(np.float32)


def _cast_shadow(height: np.ndarray) -> np.ndarray:
    """Computes soft shadows by marching toward the light at a quarter of the resolution."""
    small = cv2.resize(height, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    step = -_LIGHT[:2] / np.linalg.norm(_LIGHT[:2])
    rise = _LIGHT[2] / np.linalg.norm(_LIGHT[:2])
    shadow = np.zeros_like(small)
    for distance in range(2, 45, 2):
        dx, dy = step * distance * SCALE / 4
        moved = cv2.warpAffine(
            small, np.float32([[1, 0, dx], [0, 1, dy]]), small.shape[::-1],
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        shadow = np.maximum(shadow, (moved - small - rise * distance) / 8)
    shadow = cv2.GaussianBlur(np.clip(shadow, 0, 1), (0, 0), 1.2)
    return cv2.resize(shadow, height.shape[::-1], interpolation=cv2.INTER_CUBIC)
