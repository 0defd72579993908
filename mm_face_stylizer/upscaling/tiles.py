"""Enlarges pictures of any size tile by tile, in memory that does not grow with the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from task_bundle.errors import ImageError
from task_bundle.media.images import MAX_SIDE, check_image

Picture = npt.NDArray[np.uint8]


def upscale_tiles(
    picture: Picture,
    scale: int,
    side: int,
    margin: int,
    enlarge: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
    progress: Callable[[list[tuple[int, int]]], Iterator[tuple[int, int]]] = iter,
) -> Picture:
    """Enlarges a picture.

    Tiles overlap by twice the margin, and of each the middle is kept. A margin as wide as the reach
    of the network gives what the whole picture at once would give, so that there are no seams. The
    picture is mirrored beyond its edges.

    Args:
      picture: uint8 [height, width, 3], RGB.
      scale: Factor on the side.
      side: Side of the tiles in pixels, more than twice the margin.
      margin: Pixels at each side of a tile that are not kept.
      enlarge: Maps a tile, float32 [1, side, side, 3] in [0, 1], to
        [1, scale * side, scale * side, 3] in [0, 1].
      progress: Wraps the list of the tiles' corners, to show progress.

    Returns:
      uint8 [scale * height, scale * width, 3].

    Raises:
      ImageError: The picture has another form, or a side of the result would be longer than
        `MAX_SIDE`.
    """
    check_image(picture)
    height, width = picture.shape[:2]
    if scale * max(height, width) > MAX_SIDE:
        raise ImageError(
            f"a picture of {width} x {height} pixels is too big to be enlarged {scale} x; a side "
            f"may have {MAX_SIDE // scale} at most"
        )
    step = side - 2 * margin
    large = np.empty((scale * height, scale * width, 3), np.uint8)
    corners = [(top, left) for top in range(0, height, step) for left in range(0, width, step)]
    kept = slice(scale * margin, scale * (side - margin))
    for top, left in progress(corners):
        rows = _mirrored(np.arange(top - margin, top - margin + side), height)
        columns = _mirrored(np.arange(left - margin, left - margin + side), width)
        tile = picture[np.ix_(rows, columns)].astype(np.float32) / np.float32(255.0)
        values = enlarge(tile[np.newaxis])[0, kept, kept]
        place = large[scale * top : scale * (top + step), scale * left : scale * (left + step)]
        levels = np.clip(np.rint(values * 255.0), 0.0, 255.0).astype(np.uint8)
        place[...] = levels[: place.shape[0], : place.shape[1]]
    return large


def _mirrored(indices: np.ndarray, length: int) -> np.ndarray:
    """Reflects indices at 0 and `length`, as often as it takes."""
    indices = np.mod(indices, 2 * length)
    return np.minimum(indices, 2 * length - 1 - indices)
