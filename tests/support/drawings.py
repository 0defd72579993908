"""Drawings of faces, each drawn once for all tests of a process: one takes a second or two."""

import functools

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.style_pictures import draw_style


@functools.cache
def drawing(name: str, seed: int = 0) -> npt.NDArray[np.uint8]:
    """What `draw_style` draws at 512 px, not writeable."""
    picture = draw_style(name, seed=seed)
    picture.setflags(write=False)
    return picture
