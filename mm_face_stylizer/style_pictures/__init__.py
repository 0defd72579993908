"""Style pictures of the project's own: portraits drawn by code, for demos and tests.

Nothing is fetched or stored: `portrait` is a parametric face, `relief` gives it form and light, and
each style draws the two in its own way.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.style_pictures import comic, ink, neon, oil
from mm_face_stylizer.style_pictures.portrait import HAIR_STYLES, Portrait
from mm_face_stylizer.style_pictures.relief import CANVAS

_Draw = Callable[[Portrait, np.random.Generator], npt.NDArray[np.float32]]

# Each style with the hair of its seed 0; later seeds go through the others.
_STYLES: dict[str, tuple[_Draw, str]] = {
    "ink": (ink.draw, "bob"),
    "comic": (comic.draw, "bob"),
    "oil": (oil.draw, "long"),
    "neon": (neon.draw, "swept"),
}

STYLE_NAMES: tuple[str, ...] = tuple(_STYLES)


def draw_style(name: str, size: int = 512, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Draws a portrait in a style.

    The face is drawn at 1024 x 1024 pixels and scaled, so larger sizes gain no detail.

    Args:
      name: One of STYLE_NAMES.
      size: Side of the picture in pixels.
      seed: Chooses hair, colors, expression and the turn of the head; at least 0.

    Returns:
      uint8 [size, size, 3], RGB, the same for the same arguments.

    Raises:
      ValueError: `name` is not a style, `size` is not positive, or `seed` is negative.
    """
    if name not in _STYLES:
        raise InvalidArgumentError(
            f"no style is called {name!r}; there are: {', '.join(STYLE_NAMES)}"
        )
    if size < 1:
        raise InvalidArgumentError(f"a picture's size must be positive, not {size}")
    if seed < 0:
        raise InvalidArgumentError(f"a seed must not be negative, not {seed}")
    draw, first_hair = _STYLES[name]
    rng = np.random.default_rng([STYLE_NAMES.index(name), seed])
    hair = HAIR_STYLES[(HAIR_STYLES.index(first_hair) + seed) % len(HAIR_STYLES)]
    image = np.clip(draw(Portrait.sample(rng, hair), rng), 0, 1)
    shrink = size <= CANVAS
    image = cv2.resize(
        image, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    )
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
