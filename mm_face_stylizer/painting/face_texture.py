"""A face on the standard mesh: its looks without its pose and expression.

The standard mesh is the mean of the package's practice faces and their mirror images, and therefore
symmetric: the texture of a mirrored picture is the mirrored texture.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.pixels import shrunk

# The mean mesh, float32 [468, 2], in units of the picture's side.
_MESH = pathlib.Path(__file__).with_name("standard_mesh.npy")
# Triangles that are squeezed or stretched in area by more are folded or torn.
_LEAST_STRETCH, _MOST_STRETCH = 0.1, 8.0


@functools.cache
def standard_mesh() -> np.ndarray:
    """Returns the face mesh points of the mean face, float32 [468, 2] as shares of the side."""
    return np.load(_MESH)


def face_texture(portrait: Portrait) -> np.ndarray:
    """Warps a face onto the standard mesh.

    Args:
      portrait: The portrait.

    Returns:
      uint8 of the portrait's shape, gray outside of the face.
    """
    import cv2

    field, _ = warp_field(standard_mesh() * portrait.side, portrait.landmarks, portrait.side)
    return cv2.remap(
        portrait.pixels,
        field[..., 0],
        field[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(127, 127, 127),
    )


def face_textures(portraits: Sequence[Portrait], side: int) -> np.ndarray:
    """Warps faces onto the standard mesh.

    Args:
      portraits: The portraits.
      side: Side of the textures in pixels.

    Returns:
      uint8 [portraits, side, side, 3], see `face_texture`.
    """
    textures = [shrunk(face_texture(portrait), side) for portrait in portraits]
    return np.array(textures, np.uint8).reshape(-1, side, side, 3)


def warp_field(target: np.ndarray, source: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of the target's face lies in the source, and where the mesh is folded.

    Args:
      target: Face mesh points of the picture that is made, [468, 2] in pixels.
      source: The same points of the picture whose pixels are taken.
      side: Side of both pictures in pixels.

    Returns:
      Columns and rows, float32 [side, side, 2], and float32 [side, side], 1 in triangles that are
      folded or torn. Outside of the mesh the field is -1.
    """
    import cv2
    from matplotlib.tri import Triangulation

    triangles = Triangulation(*target.astype(np.float64).T).triangles
    corners, wanted = target[triangles], source[triangles]
    # The affine map of each triangle, as three coefficients for each coordinate.
    homogeneous = np.concatenate([corners, np.ones((*corners.shape[:2], 1))], axis=2)
    size = np.linalg.det(homogeneous)
    homogeneous[np.abs(size) < 1e-6] = np.eye(3)
    maps = np.linalg.solve(homogeneous, wanted.astype(np.float64))
    stretch = np.linalg.det(maps[:, :2])
    bad = (stretch < _LEAST_STRETCH) | (stretch > _MOST_STRETCH) | (np.abs(size) < 1e-6)
    owner = np.full((side, side), -1, np.int32)
    for number, corner in enumerate(corners):
        cv2.fillConvexPoly(owner, np.round(corner * 16).astype(np.int32), number, 8, 4)
    rows, columns = np.mgrid[:side, :side].astype(np.float64)
    places = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    field = np.einsum("hwi,hwij->hwj", places, maps[owner]).astype(np.float32)
    outside = owner < 0
    field[outside] = -1.0
    return field, np.where(outside, 0.0, bad[owner]).astype(np.float32)
