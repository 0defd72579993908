"""A parametric face: the outlines of its features, as curves and closed shapes.

All lengths are in units of the picture, which are 1/512 of its side. Points of the picture are
(x, y), x to the right and y down. Head points are (u, v) before the head is turned and tilted: u is
the distance to the right from the vertical axis of the head, and v is measured down the picture.

In this module, "closed" means that a shape's last point is joined to its first, and left and right
are those of the picture. The argument `side` is -1 for the left and 1 for the right. Methods of
`Portrait` that describe a feature return points of the picture, float64 [N, 2], unless they say
otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

UNITS = 512
HAIR_STYLES = ("long", "swept", "bob")
# Amplitude of the waves in the locks of each hair style, relative to the thickness of the hair.
_WAVES = {"long": 0.22, "swept": 0.05, "bob": 0.05}
_LOCK_POINTS = 90

# A function that gives a coordinate of a curve for a position along it, from -1 to 1.
_Curve = Callable[[np.ndarray], np.ndarray]

_MIDDLE = 256.0
_PIVOT_V = 360.0
# Half the width, in u, within which turning the head moves features; the silhouette does not move.
_TURN_RADIUS = 104.0
_EYE_U, _EYE_V, _EYE_HALF_WIDTH = 41.0, 229.0, 25.0
_MOUTH_V = 323.0

# Right half of the silhouette from crown to chin, as head points.
_OUTLINE = (
    (0, 84), (45, 92), (78, 118), (95, 155), (101, 195), (102, 228), (99, 258), (93, 287),
    (84, 312), (69, 336), (49, 356), (26, 369), (0, 374),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _HairGuide:
    """A group of locks between two lines that run from root to tip; `inner` is next to the face."""

    inner: tuple[tuple[float, float], ...]
    outer: tuple[tuple[float, float], ...]
    locks: int
    width: float
    tip: float


_HAIR_GUIDES = {
    "long": (
        _HairGuide(
            inner=(
                (-22, 92), (-60, 118), (-92, 165), (-104, 220), (-106, 285), (-102, 350),
                (-92, 425), (-104, 530), (-104, 640),
            ),
            outer=(
                (-22, 68), (-82, 62), (-132, 118), (-150, 205), (-154, 300), (-162, 385),
                (-168, 460), (-166, 550), (-160, 640),
            ),
            locks=8, width=34.0, tip=7.0,
        ),
        _HairGuide(
            inner=(
                (-26, 92), (20, 104), (72, 138), (100, 200), (106, 270), (102, 345), (92, 425),
                (104, 530), (104, 640),
            ),
            outer=(
                (-26, 68), (52, 50), (124, 98), (152, 195), (156, 300), (162, 390), (168, 460),
                (166, 550), (160, 640),
            ),
            locks=8, width=34.0, tip=7.0,
        ),
    ),
    "bob": (
        _HairGuide(
            inner=(
                (34, 88), (-14, 104), (-66, 138), (-97, 196), (-103, 258), (-95, 315),
                (-76, 352),
            ),
            outer=(
                (34, 62), (-52, 46), (-124, 98), (-153, 190), (-154, 270), (-140, 335),
                (-92, 372),
            ),
            locks=9, width=34.0, tip=8.0,
        ),
        _HairGuide(
            inner=(
                (30, 88), (62, 112), (92, 160), (104, 215), (104, 270), (95, 318), (76, 352),
            ),
            outer=(
                (30, 62), (86, 60), (134, 116), (153, 200), (153, 275), (140, 335), (92, 372),
            ),
            locks=8, width=32.0, tip=8.0,
        ),
    ),
    "swept": (
        _HairGuide(
            inner=(
                (-70, 120), (-88, 140), (-97, 165), (-101, 195), (-102, 225),
            ),
            outer=(
                (-76, 96), (-102, 118), (-112, 150), (-114, 188), (-108, 226),
            ),
            locks=5, width=13.0, tip=4.0,
        ),
        _HairGuide(
            inner=(
                (60, 112), (84, 136), (96, 163), (101, 195), (102, 225),
            ),
            outer=(
                (74, 92), (100, 116), (112, 148), (114, 188), (108, 226),
            ),
            locks=5, width=13.0, tip=4.0,
        ),
        _HairGuide(
            inner=(
                (-82, 142), (-50, 128), (-8, 124), (40, 128), (80, 140), (99, 168),
            ),
            outer=(
                (-102, 138), (-92, 94), (-34, 66), (44, 58), (98, 92), (110, 152),
            ),
            locks=8, width=28.0, tip=6.0,
        ),
    ),
}  # fmt: skip


def smooth(points: npt.ArrayLike, samples: int = 64, closed: bool = False) -> np.ndarray:
    """Interpolates points with a uniform Catmull-Rom spline.

    Args:
      points: The points to interpolate, [N, 2].
      samples: Number of points to return.
      closed: Whether the curve ends at its first point.

    Returns:
      float64 [samples, 2].
    """
    p = np.asarray(points, np.float64)
    n = len(p)
    t = np.linspace(0, n if closed else n - 1, samples, endpoint=not closed)
    i = np.minimum(t.astype(int), n - 1 if closed else n - 2)
    f = (t - i)[:, None]
    if closed:
        a, b, c, d = (p[(i + k) % n] for k in (-1, 0, 1, 2))
    else:
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
        a, b, c, d = (p[i + k] for k in (0, 1, 2, 3))
    return 0.5 * (
        2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3
    )


def across(line: np.ndarray) -> np.ndarray:
    """Returns the unit normals of a line at its points [N, 2], float64 [N, 2]."""
    along = np.gradient(np.asarray(line, np.float64), axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    return np.stack([-along[:, 1], along[:, 0]], 1)


@dataclasses.dataclass(frozen=True)
class Lock:
    """A lock of hair.

    Attributes:
      spine: Center line from root to tip, points of the picture, float64 [N, 2].
      width: Width of the lock at each point, in units of the picture, float64 [N].
    """

    spine: np.ndarray
    width: np.ndarray

    def rim(self, side: float) -> np.ndarray:
        """Returns a line parallel to the spine; `side` is 0 at the spine, -1 and 1 at the edges."""
        return self.spine + 0.5 * side * self.width[:, None] * across(self.spine)


@dataclasses.dataclass(frozen=True)
class Portrait:
    """A face, head and shoulders.

    Attributes:
      turn: Amount by which the head is turned to the picture's right; 0 is frontal, 0.2 is strong.
      tilt: Clockwise tilt of the head in radians.
      smile: Strength of the smile, from 0 for a neutral mouth to 1.
      brow_lift: Height by which the brows are raised, in units of the picture.
      jaw: Width of the lower face relative to the average, 1.
      hair: One of HAIR_STYLES.
      hair_seed: Seed of the locks of hair.
    """

    turn: float = 0.0
    tilt: float = 0.0
    smile: float = 0.4
    brow_lift: float = 0.0
    jaw: float = 1.0
    hair: str = "long"
    hair_seed: int = 0

    @classmethod
    def sample(cls, rng: np.random.Generator, hair: str) -> Portrait:
        """Samples a random face.

        Args:
          rng: Random generator.
          hair: One of HAIR_STYLES.

        Returns:
          The portrait.
        """
        side = rng.choice([-1.0, 1.0])
        return cls(
            turn=side * rng.uniform(0.03, 0.12),
            tilt=side * rng.uniform(0.0, 0.05),
            smile=rng.uniform(0.5, 1.0),
            brow_lift=rng.uniform(-1.0, 3.0),
            jaw=rng.uniform(0.95, 1.05) * (1.05 if hair == "swept" else 0.98),
            hair=hair,
            hair_seed=int(rng.integers(2**31)),
        )

    def to_picture(self, points: npt.ArrayLike, lift: float = 0.0) -> np.ndarray:
        """Converts head points to points of the picture.

        Args:
          points: Head points, [N, 2].
          lift: Height of the points above the face, in units of the picture; when the head turns,
            higher points move further.

        Returns:
          Points of the picture, float64 [N, 2].
        """
        u, v = np.asarray(points, np.float64).T
        target = u + self.turn * lift
        moved = target
        for _ in range(8):
            moved = target + self.turn * self._bulge(moved)
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        v = v - _PIVOT_V
        return np.stack([_MIDDLE + c * moved - s * v, _PIVOT_V + s * moved + c * v], 1)

    def to_head(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Converts points of the picture to head points; the inverse of `to_picture`.

        Args:
          x: Horizontal positions in the picture, of any shape.
          y: Vertical positions, of the same shape.

        Returns:
          u and v of the head points, and u with only the tilt removed, not the turn, for which the
          silhouette is symmetric; each of the shape of `x`.
        """
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        dx, dy = x - _MIDDLE, y - _PIVOT_V
        u, v = c * dx + s * dy, _PIVOT_V - s * dx + c * dy
        return u - self.turn * self._bulge(u), v, u

    @staticmethod
    def _bulge(u: np.ndarray) -> np.ndarray:
        return _TURN_RADIUS * np.maximum(0, 1 - (u / _TURN_RADIUS) ** 2)

    def outline(self) -> np.ndarray:
        """Returns the right half of the silhouette, from crown to chin, as head points."""
        half = smooth(_OUTLINE, 200)
        lower = np.clip((half[:, 1] - 230) / 100, 0, 1)
        half[:, 0] *= 1 + (self.jaw - 1) * lower
        return half

    def silhouette(self) -> np.ndarray:
        """Returns the closed outline of skull and face."""
        half = self.outline()
        whole = np.concatenate([half, half[::-1] * [-1, 1]])
        still = dataclasses.replace(self, turn=0.0)
        return still.to_picture(whole)

    def jaw_line(self) -> np.ndarray:
        """Returns the silhouette from the left temple over the chin to the right temple."""
        half = self.outline()
        half = half[half[:, 1] > 200]
        whole = np.concatenate([half * [-1, 1], half[::-1]])
        return dataclasses.replace(self, turn=0.0).to_picture(whole)

    # Eyes. The position `e` along a lid runs from the inner corner (-1) to the outer corner (1).

    def _eye_curve(
        self, side: int, rise: _Curve, margin: float = 0.0, samples: int = 41
    ) -> np.ndarray:
        e = np.linspace(-1 - margin, 1 + margin, samples)
        corners = _EYE_V + 1.2 - 2.6 * (e + 1) / 2
        return self.to_picture(
            np.stack([side * (_EYE_U + _EYE_HALF_WIDTH * e), corners + rise(e)], 1)
        )

    def upper_lid(self, side: int) -> np.ndarray:
        """Returns the edge of the upper lid."""
        return self._eye_curve(
            side, lambda e: -12.8 * np.maximum(0, 1 - e**2) ** 0.72 * (1 - 0.14 * e)
        )

    def lower_lid(self, side: int) -> np.ndarray:
        """Returns the edge of the lower lid."""
        height = 8.4 - 1.4 * self.smile
        return self._eye_curve(
            side, lambda e: height * np.maximum(0, 1 - e**2) ** 0.8 * (1 + 0.22 * e)
        )

    def lid_crease(self, side: int) -> np.ndarray:
        """Returns the fold above the upper lid."""
        return self._eye_curve(
            side, lambda e: -5.0 - 14.0 * np.maximum(0, 1 - (e / 1.12) ** 2) ** 0.7, 0.06
        )

    def eye(self, side: int) -> np.ndarray:
        """Returns the outline of the visible eyeball, a closed shape."""
        return np.concatenate([self.upper_lid(side), self.lower_lid(side)[::-1]])

    def iris(self, side: int) -> tuple[np.ndarray, float]:
        """Returns the center of the iris, float64 [2], and its radius in units of the picture."""
        # The eyes keep looking at the viewer when the head turns away.
        gaze = -2 * np.clip(10 * self.turn, -1, 1)
        return self.to_picture([(side * _EYE_U + gaze, _EYE_V - 2.2)])[0], 12.0

    def brow(self, side: int) -> np.ndarray:
        """Returns the outline of the eyebrow, a closed shape."""
        thick = 1.25 if self.hair == "swept" else 1.0
        spine = smooth([(17, 203), (34, 198.5), (54, 195), (68, 199), (77, 206)], 40)
        spine[:, 1] -= self.brow_lift + (2 if self.hair != "swept" else 0)
        t = np.linspace(0, 1, 40)
        half = thick * 4.2 * np.minimum(1, 0.3 + 3 * t) * np.clip(1.25 - 1.15 * t, 0.06, 1)
        top, bottom = spine - half[:, None] * [0.15, 1], spine + half[:, None] * [0.15, 1]
        return self.to_picture(np.concatenate([top, bottom[::-1]]) * [side, 1], lift=6)

    # Nose and mouth.

    def nose_wing(self, side: int) -> np.ndarray:
        """Returns the curve of the wing of the nose."""
        points = [(18, 277), (21.5, 282), (22, 288.5), (19, 293.5)]
        return self.to_picture(smooth(points, 40) * [side, 1], lift=14)

    def nose_base(self) -> np.ndarray:
        """Returns the line under the tip of the nose, from nostril to nostril."""
        points = [(-8, 295.5), (-4, 298), (0, 299), (4, 298), (8, 295.5)]
        return self.to_picture(smooth(points, 60), lift=22)

    def nostril(self, side: int) -> np.ndarray:
        """Returns the outline of the nostril, a closed shape."""
        points = [(6, 294.5), (9, 291), (13, 290.5), (15.5, 293), (12, 295.5), (8.5, 296)]
        return self.to_picture(smooth(points, 32, closed=True) * [side, 1], lift=18)

    def _mouth_curve(self, rise: _Curve) -> np.ndarray:
        e = np.linspace(-1, 1, 61)
        width = 31.5 + 7 * self.smile
        corner = -(1.0 + 9.5 * self.smile) * np.abs(e) ** 1.8
        seam = corner + 2.2 * np.exp(-((e / 0.2) ** 2)) + self.smile * 1.5
        return self.to_picture(np.stack([width * e, _MOUTH_V + seam + rise(e)], 1), lift=9)

    def lash(self, side: int) -> np.ndarray:
        """Returns the outline of the upper lashes with a pointed outer end, a closed shape."""
        lid = self.upper_lid(side)
        thick = 2.0 if self.hair == "swept" else 3.4
        wing = lid[-1] + (lid[-1] - lid[0]) * [0.09, 0] + [0, -3.0]
        lid = smooth(np.concatenate([lid[:-2], [wing]]), 80)
        t = np.linspace(0, 1, 80)
        top = lid - np.stack([0 * t, 0.6 + thick * t**0.7 * (1 - t**8)], 1)
        return np.concatenate([lid, top[::-1]])

    def lip_seam(self) -> np.ndarray:
        """Returns the line between the lips."""
        return self._mouth_curve(lambda e: 0 * e)

    def upper_lip(self) -> np.ndarray:
        """Returns the upper edge of the upper lip."""
        return self._mouth_curve(
            lambda e: (
                -self._lip_fullness()
                * (10.0 - 1.8 * self.smile)
                * (1 - np.abs(e) ** 1.45)
                * (1 - 0.05 * np.exp(-((e / 0.1) ** 2)))
            )
        )

    def lower_lip(self) -> np.ndarray:
        """Returns the lower edge of the lower lip."""
        return self._mouth_curve(
            lambda e: (
                self._lip_fullness()
                * (13.5 - 1.5 * self.smile)
                * np.maximum(0, 1 - np.abs(e) ** 2.1) ** 0.85
            )
        )

    def _lip_fullness(self) -> float:
        return 0.74 if self.hair == "swept" else 1.0

    # The rest of the figure.

    def ear(self, side: int) -> np.ndarray:
        """Returns the outline of the ear, a closed shape."""
        points = [(97, 222), (106, 212), (115, 216), (117, 232), (112, 250), (108, 268),
                  (101, 276), (95, 268)]  # fmt: skip
        still = dataclasses.replace(self, turn=0.0)
        return still.to_picture(smooth(points, 60, closed=True) * [side, 1])

    def body(self) -> np.ndarray:
        """Returns the outline of neck and shoulders, a closed shape."""
        points = [(53, 300), (52, 370), (56, 394), (76, 412), (122, 428), (174, 446), (212, 474),
                  (230, 540)]  # fmt: skip
        half = smooth(points, 80) * [1.08 if self.hair == "swept" else 1.0, 1]
        return np.concatenate([half, half[::-1] * [-1, 1]]) + [_MIDDLE, 0]

    def collar(self) -> np.ndarray:
        """Returns the neckline of the clothes, from left to right."""
        points = [(-90, 412), (-72, 430), (-40, 448), (0, 455), (40, 448), (72, 430), (90, 412)]
        return smooth(points, 80) + [_MIDDLE, 0]

    def back_hair(self) -> np.ndarray | None:
        """Returns the closed outline of the hair behind the neck, or None for the style `swept`."""
        if self.hair == "swept":
            return None
        left, right = (np.asarray(guide.outer) for guide in _HAIR_GUIDES[self.hair])
        if left[-1, 0] > right[-1, 0]:
            left, right = right, left
        still = dataclasses.replace(self, turn=0.0)
        return still.to_picture(np.concatenate([smooth(left), smooth(right)[::-1]]) * [0.93, 0.97])

    def locks(self) -> list[Lock]:
        """Returns the locks of hair in drawing order: later locks cover earlier ones."""
        rng = np.random.default_rng(self.hair_seed)
        result = []
        for guide in _HAIR_GUIDES[self.hair]:
            phase = rng.uniform(0, 2 * np.pi)
            for depth in np.linspace(1, 0, guide.locks):
                result.append(self._lock(guide, depth, phase, rng))
            # Loose locks with pointed ends cover the regular ones and break up their pattern.
            for depth in np.sort(rng.uniform(0.06, 0.94, guide.locks))[::-1]:
                result.append(self._loose_lock(guide, depth, phase, rng))
        return result

    def _spine(
        self, guide: _HairGuide, shift: np.ndarray, phase: float, rng: np.random.Generator
    ) -> np.ndarray:
        inner, outer = smooth(guide.inner, _LOCK_POINTS), smooth(guide.outer, _LOCK_POINTS)
        t = np.linspace(0, 1, _LOCK_POINTS)
        waves = _WAVES[self.hair] * rng.uniform(0.7, 1.3) * t**0.7
        sway = waves * np.sin(9 * t + phase + 1.2 * shift[0] + rng.uniform(-0.4, 0.4))
        spine = inner + (shift + sway)[:, None] * (outer - inner)
        return dataclasses.replace(self, turn=0.35 * self.turn).to_picture(spine)

    def _lock(
        self, guide: _HairGuide, depth: float, phase: float, rng: np.random.Generator
    ) -> Lock:
        t = np.linspace(0, 1, _LOCK_POINTS)
        shift = depth + rng.uniform(-0.05, 0.05) * np.sin(np.pi * t)
        taper = np.minimum(1, 0.45 + 2.4 * t) * np.minimum(1, 2.6 * (1 - t) ** 0.8)
        tip = 0.4 * guide.tip
        width = tip + (guide.width * rng.uniform(0.85, 1.25) - tip) * taper
        return Lock(self._spine(guide, shift, phase, rng), width)

    def _loose_lock(
        self, guide: _HairGuide, depth: float, phase: float, rng: np.random.Generator
    ) -> Lock:
        t = np.linspace(0, 1, _LOCK_POINTS)
        spine = self._spine(guide, depth + rng.uniform(-0.16, 0.16) * t**1.5, phase, rng)
        first = int(_LOCK_POINTS * rng.uniform(0, 0.3))
        last = int(_LOCK_POINTS * rng.uniform(0.7, 1.0))
        bulge = np.sin(np.pi * np.linspace(0, 1, last - first) ** 0.8) ** 0.8
        return Lock(spine[first:last], 0.8 + guide.width * rng.uniform(0.36, 0.86) * bulge)

    def feature_lines(self) -> dict[str, np.ndarray]:
        """Returns the lines to draw inside the face, keyed by name."""
        lines = {"lip_seam": self.lip_seam(), "nose_base": self.nose_base()}
        for side, name in ((-1, "left"), (1, "right")):
            lines[f"upper_lid_{name}"] = self.upper_lid(side)
            lines[f"lower_lid_{name}"] = self.lower_lid(side)
            lines[f"lid_crease_{name}"] = self.lid_crease(side)
            lines[f"nose_wing_{name}"] = self.nose_wing(side)
        return lines
