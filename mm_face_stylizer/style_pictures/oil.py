"""Oil: visible brush strokes that follow the shape of the face, in teal and orange."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mm_face_stylizer.style_pictures.portrait import Portrait
from mm_face_stylizer.style_pictures.relief import CANVAS, SCALE, Relief, blur, fill, noise, stroke

_Ramp = tuple[tuple[int, int, int], ...]

# Each material has a color ramp from shade to light: one RGB color in 0..255 per tone in _STOPS.
_STOPS = (0.0, 0.35, 0.62, 0.85, 1.05)
_SKIN = ((18, 52, 62), (122, 72, 58), (214, 124, 72), (246, 182, 122), (255, 232, 190))
_HAIRS = (
    ((8, 22, 32), (18, 54, 66), (30, 92, 102), (84, 146, 140), (236, 170, 100)),
    ((10, 24, 34), (58, 34, 30), (140, 66, 28), (216, 112, 40), (255, 190, 96)),
    ((16, 26, 32), (84, 46, 30), (178, 100, 44), (236, 164, 80), (255, 222, 150)),
)
_CLOTH = ((34, 22, 30), (92, 38, 32), (160, 66, 36), (216, 110, 52), (248, 172, 106))
_BACKDROP = ((6, 40, 52), (14, 76, 88), (34, 116, 122), (104, 164, 156), (176, 196, 170))
_ACCENT = (226, 142, 82)
# Width, length and spacing of the strokes of each layer, in units of the picture.
_LAYERS = ((30, 80, 13), (14, 46, 6.5), (6.5, 26, 3.4), (2.4, 11, 1.7))


def draw(portrait: Portrait, rng: np.random.Generator) -> np.ndarray:
    """Draws a portrait in the oil style.

    Args:
      portrait: The portrait to draw.
      rng: Random generator; chooses the color of the hair, and varies the strokes.

    Returns:
      float32 [CANVAS, CANVAS, 3], RGB in [0, 1].
    """
    relief = Relief.of(portrait)
    target = _target(relief, rng)
    angle = _directions(relief, target, rng)
    canvas = np.zeros((CANVAS, CANVAS, 4), np.uint8)
    canvas[..., :3] = (58, 74, 70)
    backdrop = 1 - np.clip(sum(relief.regions.values()) - 1, 0, 1)
    accents = backdrop * np.clip(0.5 + 0.5 * noise(rng, 80), 0, 1)
    for index, layer in enumerate(_LAYERS):
        wanted = _wanted(relief, target, canvas, index)
        _paint_layer(canvas, target, angle, wanted, layer, accents, rng)
    return _varnish(canvas, angle, rng)


def _ramp(tone: np.ndarray, stops: _Ramp) -> np.ndarray:
    steps = np.linspace(0, _STOPS[-1], 256)
    table = np.stack([np.interp(steps, _STOPS, channel) for channel in np.transpose(stops)], -1)
    index = np.clip(tone * (255 / _STOPS[-1]), 0, 255).astype(np.uint8)
    return table.astype(np.float32)[index]


def _target(relief: Relief, rng: np.random.Generator) -> np.ndarray:
    """Returns the picture to paint, float32 [CANVAS, CANVAS, 3], RGB in [0, 255]."""
    r, tone = relief.regions, relief.tone
    # The backdrop is light behind the shaded cheek and dark behind the lit one.
    depth = 0.42 + 0.42 * (relief.x - 256) / 512 - 0.3 * (relief.y - 256) / 512
    image = _ramp(depth + 0.09 * noise(rng, 60), _BACKDROP)
    hair = _HAIRS[rng.integers(len(_HAIRS))]
    lit = np.clip(tone * 1.06, 0, 1.05)

    def lay(mask: np.ndarray, color: npt.ArrayLike) -> None:
        image[:] += mask[..., None].astype(np.float32) * (np.float32(color) - image)

    lay(r["back_hair"], _ramp(0.5 * lit, hair))
    skin = _ramp(1.08 * lit, _SKIN)
    lay(r["body"], _ramp(0.92 * lit, _SKIN))
    lay(r["cloth"], _ramp(lit * 0.86, _CLOTH))
    lay(np.clip(r["ear"] + r["face"], 0, 1), skin)
    u, v, _ = relief.portrait.to_head(relief.x, relief.y)
    flush = np.exp(-(((np.abs(u) - 58) / 24) ** 2) - ((v - 274) / 20) ** 2)
    flush += 0.8 * np.exp(-((u / 16) ** 2) - ((v - 284) / 12) ** 2)
    lay(0.42 * flush * r["face"], skin * np.float32([1.0, 0.72, 0.62]))
    lay(
        0.85 * r["lips"],
        _ramp(lit, ((60, 20, 24), (120, 34, 34), (190, 62, 50), (226, 104, 78), (250, 170, 140))),
    )
    lay(
        r["eye"],
        _ramp(
            np.clip(lit + 0.12, 0, 1),
            ((40, 70, 80), (96, 116, 118), (160, 170, 164), (210, 208, 194), (236, 230, 214)),
        ),
    )
    lay(r["iris"], (22, 104, 112))
    lay(r["pupil"], (10, 16, 20))
    lines = sum(
        _line(line, 2.0)
        for line in (
            relief.portrait.lip_seam(),
            relief.portrait.nose_base(),
            relief.portrait.lid_crease(-1),
            relief.portrait.lid_crease(1),
        )
    )
    nostrils = fill(relief.portrait.nostril(-1)) + fill(relief.portrait.nostril(1))
    lay(np.clip(0.75 * lines + 0.8 * nostrils, 0, 1) * r["face"], (74, 28, 30))
    lay(r["lash"], (24, 20, 22))
    lay(0.9 * r["brow"], _ramp(0.25 * lit, hair))
    lay(r["glint"], (255, 250, 236))
    lay(r["hair"], _ramp(np.clip(1.2 * (0.7 * lit + 0.3 * blur(lit, 4)) - 0.22, 0, 1.05), hair))
    return np.clip(image, 0, 255).astype(np.float32)


def _line(points: np.ndarray, width: float) -> np.ndarray:
    t = np.linspace(0.05, 0.95, len(points))
    return fill(stroke(points, width * np.sin(np.pi * t) ** 0.6))


def _directions(relief: Relief, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the angle of strokes at each pixel in radians, along edges, strands and contours."""
    figure = np.clip(sum(relief.regions.values()) - 1, 0, 1)
    field = blur(target.mean(-1) / 3 + 1.2 * relief.height * figure, 1.5)
    gx = cv2.Sobel(field, cv2.CV_32F, 1, 0)
    gy = cv2.Sobel(field, cv2.CV_32F, 0, 1)
    # Averaging doubled angles keeps opposite gradients from canceling each other.
    xx, yy, xy = (blur(product, 5) for product in (gx * gx, gy * gy, gx * gy))
    swirl = 2.4 + 0.8 * noise(rng, 130)
    weak = 0.6 * (1 - figure) + 0.01
    return (
        0.5 * np.arctan2(2 * xy + weak * np.sin(swirl), xx - yy + weak * np.cos(swirl)) + np.pi / 2
    )


def _wanted(relief: Relief, target: np.ndarray, canvas: np.ndarray, layer: int) -> np.ndarray:
    """Returns the mask of pixels to paint in a layer: where the canvas differs from the target."""
    if layer == 0:
        return np.ones(target.shape[:2], bool)
    error = blur(np.abs(target - canvas[..., :3]).mean(-1), _LAYERS[layer][0] / 5)
    wanted = error > (0, 10, 15, 17)[layer]
    if layer >= 2:
        figure = relief.regions["face"] + relief.regions["hair"]
        wanted &= figure > 0.2
    if layer == 3:
        r = relief.regions
        features = np.clip(r["eye"] + r["lash"] + r["lips"] + r["brow"], 0, 1)
        wanted |= blur(features, 4) > 0.08
    return wanted


def _paint_layer(
    canvas: np.ndarray,
    target: np.ndarray,
    angle: np.ndarray,
    wanted: np.ndarray,
    layer: tuple[float, float, float],
    accents: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Paints the strokes of a layer onto the canvas: RGB, and thickness in the fourth channel."""
    width, length, spacing = layer
    places = np.mgrid[spacing / 2 : 512 : spacing, spacing / 2 : 512 : spacing].reshape(2, -1).T
    places = places[:, ::-1] + rng.uniform(-0.5, 0.5, places.shape) * spacing
    pixels = np.clip(places * SCALE, 0, CANVAS - 1)
    chosen = wanted[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
    pixels = rng.permutation(pixels[chosen])
    if not len(pixels):
        return
    smooth_target = blur(target, width / 6)
    start = pixels.astype(int)
    colors = smooth_target[start[:, 1], start[:, 0]]
    jitter = 1 + rng.normal(0, 0.045, (len(pixels), 1)) + rng.normal(0, 0.02, (len(pixels), 3))
    colors = np.clip(colors * jitter, 0, 255)
    heights = rng.uniform(60, 200, (len(pixels), 1))
    paths = _trace(pixels, colors, smooth_target, angle, length * SCALE)
    # Some strokes in the complementary color make the backdrop more vivid.
    chance = accents[start[:, 1], start[:, 0]] * rng.uniform(0, 1, len(start)) ** 3
    colors += np.minimum(0.8, chance)[:, None] * (np.float32(_ACCENT) - colors)
    widths = np.maximum(1, np.round(width * SCALE * rng.uniform(0.6, 1.1, len(pixels)))).astype(int)
    fixed = np.round(paths * 16).astype(np.int32)
    paint = np.concatenate([colors, heights], 1).tolist()
    for path, color, thickness in zip(fixed, paint, widths.tolist(), strict=True):
        cv2.polylines(canvas, [path], False, color, thickness, cv2.LINE_AA, 4)


def _trace(
    pixels: np.ndarray,
    colors: np.ndarray,
    target: np.ndarray,
    angle: np.ndarray,
    length: float,
    steps: int = 4,
) -> np.ndarray:
    """Traces strokes from their starts along the angle field in both directions.

    A stroke ends where the target differs too much from the stroke's color.

    Returns:
      float64 [strokes, 2 * steps + 1, 2], pixel coordinates (x, y).
    """
    halves = []
    for sign in (1, -1):
        at = pixels.copy()
        going = np.ones(len(at), bool)
        old = None
        path = [at]
        for _ in range(steps):
            x, y = np.clip(at, 0, CANVAS - 1).astype(int).T
            going &= np.abs(target[y, x] - colors).mean(1) < 34
            move = sign * np.stack([np.cos(angle[y, x]), np.sin(angle[y, x])], 1)
            if old is not None:
                move *= np.where((move * old).sum(1, keepdims=True) < 0, -1, 1)
            old = move
            at = np.where(going[:, None], at + move * length / (2 * steps), at)
            path.append(at)
        halves.append(np.stack(path, 1))
    return np.concatenate([halves[1][:, :0:-1], halves[0]], 1)


def _varnish(canvas: np.ndarray, angle: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds bristle marks, canvas weave and highlights on thick paint; RGB in about [0, 1]."""
    bristles = _smear(rng.standard_normal((CANVAS, CANVAS)).astype(np.float32), angle)
    thickness = canvas[..., 3].astype(np.float32) / 40 + 1.1 * bristles
    thickness = blur(thickness, 0.55)
    light = cv2.Sobel(thickness, cv2.CV_32F, 1, 0) + cv2.Sobel(thickness, cv2.CV_32F, 0, 1)
    weave = 0.012 * (
        np.sin(np.arange(CANVAS) * 1.05)[None] * np.sin(np.arange(CANVAS) * 1.05)[:, None]
    )
    image = canvas[..., :3].astype(np.float32) / 255
    gloss = np.tanh(light / 6).astype(np.float32)[..., None]
    image = image * (1 + 0.028 * bristles[..., None] + weave[..., None].astype(np.float32))
    return image * (1 + 0.11 * gloss) + 0.035 * np.clip(gloss, 0, 1)


def _smear(field: np.ndarray, angle: np.ndarray, reach: int = 9) -> np.ndarray:
    """Averages a field along the stroke angle (line integral convolution with straight lines)."""
    y, x = np.mgrid[:CANVAS, :CANVAS].astype(np.float32)
    dx, dy = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), 0.8)
    total = sum(
        cv2.remap(field, x + k * dx, y + k * dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        for k in range(-2 * reach, 2 * reach + 1, 3)
    )
    return total / total.std()
