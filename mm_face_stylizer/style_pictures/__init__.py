"""Style pictures for demos and tests: portraits that are drawn by code in four styles.

No picture is downloaded or stored. `portrait` computes the curves of a parametric face, `relief`
computes its height, shading and regions, and the module of each style draws a picture from them.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.style_pictures import comic, ink, neon, oil
from mm_face_stylizer.style_pictures.portrait import HAIR_STYLES, Portrait
from mm_face_stylizer.style_pictures.relief import CANVAS
from task_bundle.suggestion import did_you_mean

_Draw = Callable[[Portrait, np.random.Generator], npt.NDArray[np.float32]]

# Drawing function of each style, and its hair style at seed 0. Further seeds cycle through
# HAIR_STYLES.
_STYLES: dict[str, tuple[_Draw, str]] = {
    "ink": (ink.draw, "bob"),
    "comic": (comic.draw, "bob"),
    "oil": (oil.draw, "long"),
    "neon": (neon.draw, "swept"),
}

STYLE_NAMES: tuple[str, ...] = tuple(_STYLES)


def draw_style(name: str, size: int = 512, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Draws a portrait in a style.

    The face is drawn at 1024 x 1024 pixels and then resized, so larger sizes add no detail.

    Args:
      name: One of STYLE_NAMES.
      size: Side of the picture in pixels.
      seed: Seed of hair, colors, expression and head pose; at least 0.

    Returns:
      uint8 [size, size, 3], RGB in [0, 255]; the same arguments give the same picture.

    Raises:
      ValueError: `name` is not a style, `size` is not positive, or `seed` is negative.
    """
    if name not in _STYLES:
        raise InvalidArgumentError(
            f"no style is called {name!r}{did_you_mean(name, STYLE_NAMES)}; available styles: "
            f"{', '.join(STYLE_NAMES)}"
        )
    if size < 1:
        raise InvalidArgumentError(f"the size of a picture must be positive, not {size}")
    if seed < 0:
        raise InvalidArgumentError(f"the seed must not be negative, but it is {seed}")
    draw, first_hair = _STYLES[name]
    rng = np.random.default_rng([STYLE_NAMES.index(name), seed])
    hair = HAIR_STYLES[(HAIR_STYLES.index(first_hair) + seed) % len(HAIR_STYLES)]
    image = np.clip(draw(Portrait.sample(rng, hair), rng), 0, 1)
    shrink = size <= CANVAS
    image = cv2.resize(
        image, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    )
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
