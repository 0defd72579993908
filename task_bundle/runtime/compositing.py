"""Pasting stylized faces back into the photo that they come from."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from task_bundle.errors import InvalidArgumentError
from task_bundle.faces.alignment import Face, FaceCrop
from task_bundle.media.images import check_image
from task_bundle.media.photo import as_photo
from task_bundle.runtime.stylized_face import StylizedFace

DEFAULT_FEATHER = 0.07

# The points of the mesh without the irises, which stick out of it where the eyes look sideways.
_MESH_POINTS = 468
# Masks are smooth: drawn with at most so many pixels a side, they do for a face of any size.
_MAX_MASK_SIDE = 256
# The mesh leaves out a part of the forehead: above the crop's centre it is stretched upwards.
# Elsewhere its outline is the middle of the soft edge; farther out, what the style makes of the
# background would show as a halo.
_FOREHEAD_STRETCH = 1.28
# Far enlarged, a picture's single pixels and the stairs of its slanted lines would show. This
# smoothing, sigma in the picture's pixels, hides them; it sets in gradually up to twice the size.
_MAX_SOFTENING = 0.7
# Where a style has next to no colour or contrast, more gain than this would show its noise.
_MAX_GAIN = 2.0


def face_mask(
    face: Face, height: int, width: int, feather: float = DEFAULT_FEATHER
) -> npt.NDArray[np.float32]:
    """Returns how much of each pixel of the photo a pasted face covers.

    The mask follows the outline of the face's mesh: seen from the front that is MediaPipe's face
    oval, FACE_LANDMARKS_FACE_OVAL; on a turned head the nose and the cheek that stick out of the
    oval belong to it as well. The forehead, of which the mesh leaves out a part, is stretched
    towards the hair.

    Args:
      face: the face.
      height: of the photo, in pixels.
      width: of the photo, in pixels.
      feather: how wide the soft edge is, in sides of the crop; from 0, no softer than a pixel of
        the mask, which has 256 a side, to 0.5.

    Returns:
      [height, width] float32 in [0, 1]: 1 in the middle of the face, exactly 0 outside the crop.

    Raises:
      ValueError: `feather` is out of range, or the size is not positive.
    """
    if height < 1 or width < 1:
        raise InvalidArgumentError(f"a photo's size must be positive, not {width} x {height}")
    mask = np.zeros((height, width), np.float32)
    drawn = _draw_mask(face, feather)
    window = _window(face.crop, drawn, height, width)
    if not window.empty:
        mask[window.slices] = _mask_in(window, face.crop, drawn)
    return mask


def composite(
    photo: Any,
    results: StylizedFace | Sequence[StylizedFace],
    *,
    colour_match: bool = False,
    feather: float = DEFAULT_FEATHER,
) -> npt.NDArray[np.uint8]:
    """Pastes stylized faces into the photo, at the photo's own resolution.

    Of several faces the smaller ones are pasted first: where two overlap, the bigger one is as a
    rule nearer to the camera, and hides the other in the photo too.

    Args:
      photo: the picture that was stylized, in any form that `photo.as_photo` takes: a uint8 array,
        a Pillow image, a `mediapipe.Image`, or a path.
      results: what the stylizer made of it, in any order; none is allowed.
      colour_match: whether each face first gets the mean and the spread of the colours of the face
        that it replaces.
      feather: how wide the soft edge is, in sides of the crop, in [0, 0.5]; see `face_mask`.

    Returns:
      [height, width, 3] uint8 RGB, a new array. Where the masks of all faces are 0 it has the bytes
      of the photo, or what these are as RGB: grey is repeated, transparency laid over white.

    Raises:
      ImageError: `photo` is none of these or cannot be read, or a face's picture is not
        [height, width, 3] uint8.
      ValueError: `feather` is out of range.
    """
    pixels = as_photo(photo)
    pasted = pixels.copy()
    for layer in _layers(pixels, results, colour_match, feather):
        below = pasted[layer.window.slices]
        alpha = layer.alpha[..., None]
        blended = below + alpha * (layer.colours - below)
        below[...] = np.where(alpha > 0, _bytes(np.asarray(blended, np.float32)), below)
    return pasted


def cutout(
    photo: Any,
    results: StylizedFace | Sequence[StylizedFace],
    *,
    colour_match: bool = False,
    feather: float = DEFAULT_FEATHER,
) -> npt.NDArray[np.uint8]:
    """Cuts stylized faces out along their masks, each at its place in the photo.

    Laid over the photo, as Pillow's `alpha_composite` does it, this gives what `composite` gives.

    Args:
      photo: the picture that was stylized, in any form that `photo.as_photo` takes: a uint8 array,
        a Pillow image, a `mediapipe.Image`, or a path.
      results: what the stylizer made of it, in any order; none is allowed.
      colour_match: as in `composite`.
      feather: as in `composite`.

    Returns:
      [height, width, 4] uint8 RGBA, alpha not premultiplied; transparent black outside the masks.

    Raises:
      ImageError: `photo` is none of these or cannot be read, or a face's picture is not
        [height, width, 3] uint8.
      ValueError: `feather` is out of range.
    """
    pixels = as_photo(photo)
    cut = np.zeros((*pixels.shape[:2], 4), np.uint8)
    for layer in _layers(pixels, results, colour_match, feather):
        below = cut[layer.window.slices]
        alpha = layer.alpha[..., None]
        shine = below[..., 3:] / np.float32(255) * (1 - alpha)
        opacity = alpha + shine
        colours = alpha * layer.colours + shine * below[..., :3]
        colours /= np.maximum(opacity, np.float32(1e-6))
        over = _bytes(np.concatenate([colours, 255 * opacity], axis=2))
        below[...] = np.where(over[..., 3:] > 0, over, below)
    return cut


@dataclass(frozen=True)
class _Window:
    """A rectangle of the photo, in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def empty(self) -> bool:
        return not self.width or not self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A face as it goes into a window: [h, w, 3] colours in [0, 255] and [h, w] alpha."""

    window: _Window
    colours: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.float32]


def _layers(
    photo: npt.NDArray[np.uint8],
    results: StylizedFace | Sequence[StylizedFace],
    colour_match: bool,
    feather: float,
) -> Iterator[_Layer]:
    """Yields the faces as they are to be laid over the photo, the one on top last."""
    height, width = photo.shape[:2]
    faces = [results] if isinstance(results, StylizedFace) else results
    for result in sorted(faces, key=lambda face: face.crop.side):
        check_image(result.image)
        drawn = _draw_mask(result.face, feather)
        window = _window(result.crop, drawn, height, width)
        if window.empty:
            continue
        picture = result.image.astype(np.float32)
        if colour_match:
            picture = _matched(picture, photo, result.crop, drawn)
        yield _Layer(
            window,
            _colours_in(window, result.crop, picture),
            _mask_in(window, result.crop, drawn),
        )


def _draw_mask(face: Face, feather: float) -> npt.NDArray[np.float32]:
    """Draws a mask in the crop: [side, side] in [0, 1], 0 along the border."""
    import cv2

    if not 0 <= feather <= 0.5:
        raise InvalidArgumentError(f"feather must be in [0, 0.5], not {feather}")
    # No finer than the photo, so that it is never sampled with gaps.
    side = round(min(max(face.crop.side, 1), _MAX_MASK_SIDE))
    matrix = face.crop.matrix(side)
    points = face.landmarks[:_MESH_POINTS, :2] @ matrix[:2, :2].T + matrix[:2, 2] - side / 2
    points[:, 1] *= np.where(points[:, 1] < 0, _FOREHEAD_STRETCH, 1)
    outline = cv2.convexHull((points + side / 2).astype(np.float32))
    # In eight bits, since OpenCV draws stairs in others; corners in sixteenths of a pixel.
    filled, shift = np.zeros((side, side), np.uint8), 4
    corners = np.rint(outline * 2**shift).astype(np.int32)
    cv2.fillConvexPoly(filled, corners, (255,), cv2.LINE_AA, shift)
    mask = filled.astype(np.float32) / np.float32(255)
    # A Gaussian cut off at two sigma: the edge has an end, and is as wide as asked for.
    sigma = feather * side / 4
    reach = math.ceil(2 * sigma)
    border = reach + 1
    mask[:border] = mask[-border:] = mask[:, :border] = mask[:, -border:] = 0
    if reach:
        mask = np.asarray(cv2.GaussianBlur(mask, (2 * reach + 1, 2 * reach + 1), sigma), np.float32)
    return mask


def _window(crop: FaceCrop, drawn: npt.NDArray[np.float32], height: int, width: int) -> _Window:
    """Returns the part of the photo outside of which a mask is 0; empty if there is none."""
    import cv2

    left, top, across, down = cv2.boundingRect((drawn > 0).astype(np.uint8))
    # Interpolation reaches a pixel beyond those that are not 0.
    u, v = np.meshgrid([left - 1, left + across], [top - 1, top + down])
    corners = crop.inverse(len(drawn)) @ np.stack([u.ravel(), v.ravel(), np.ones(4)])
    x0, y0 = np.clip(np.floor(corners[:2].min(axis=1)), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(corners[:2].max(axis=1)) + 1, 0, (width, height)).astype(int)
    return _Window(int(x0), int(y0), int(x1 - x0), int(y1 - y0))


def _mask_in(
    window: _Window, crop: FaceCrop, drawn: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    import cv2

    return _warp(window, crop.matrix(len(drawn)), drawn, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)


def _colours_in(
    window: _Window, crop: FaceCrop, picture: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Brings a stylized picture into the photo, smoothed first as the change of size needs it."""
    import cv2

    height, width = picture.shape[:2]
    matrix = crop.matrix((width, height))
    enlargement = crop.side / min(width, height)
    if enlargement > 1:
        sigma = _MAX_SOFTENING * min(enlargement - 1, 1)
        picture = np.asarray(cv2.GaussianBlur(picture, (5, 5), sigma), np.float32)
    elif enlargement < 1:
        size = (max(round(enlargement * width), 1), max(round(enlargement * height), 1))
        # OpenCV's resize names the middles of pixels x + 1/2, the crop's matrix whole numbers.
        x, y = size[0] / width, size[1] / height
        matrix = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]) @ matrix
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        picture = np.asarray(resized, np.float32)
    # Cubic interpolation overshoots, matched colours may be too bright.
    colours = _warp(window, matrix, picture, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    return np.clip(colours, 0, 255)


def _warp(
    window: _Window,
    matrix: npt.NDArray[np.float64],
    picture: npt.NDArray[np.float32],
    interpolation: int,
    border: int,
) -> npt.NDArray[np.float32]:
    """Samples `picture` at matrix @ (x, y, 1) for each pixel of the window."""
    import cv2

    shifted = matrix @ np.array([[1, 0, window.x], [0, 1, window.y], [0, 0, 1]])
    flags = interpolation | cv2.WARP_INVERSE_MAP
    size = (window.width, window.height)
    warped = cv2.warpAffine(picture, shifted[:2], size, flags=flags, borderMode=border)
    return np.asarray(warped, np.float32)


def _matched(
    picture: npt.NDArray[np.float32],
    photo: npt.NDArray[np.uint8],
    crop: FaceCrop,
    drawn: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Gives the face in a picture the mean and spread, in CIE Lab, of the one in the photo.

    Source: Reinhard et al., Color Transfer between Images, 2001, with bounded gains.
    """
    import cv2

    height, width = picture.shape[:2]
    side = min(height, width)
    # Not what the crop has outside of the photo.
    inside = crop.crop(np.full_like(photo, 255), side)[..., 0] == 255
    face = (cv2.resize(drawn, (side, side)) > 0.5) & inside
    if not face.any():
        return picture
    original = crop.crop(photo, side).astype(np.float32)
    wanted_mean, wanted_spread = _statistics(_lab(original), face)
    lab = _lab(picture)
    top, left = (height - side) // 2, (width - side) // 2
    mean, spread = _statistics(lab[top : top + side, left : left + side], face)
    gain = np.clip(wanted_spread / np.maximum(spread, 1e-3), 1 / _MAX_GAIN, _MAX_GAIN)
    matched = ((lab - mean) * gain + wanted_mean).astype(np.float32)
    return np.asarray(cv2.cvtColor(matched, cv2.COLOR_LAB2RGB), np.float32) * 255


def _lab(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.cvtColor(picture / 255, cv2.COLOR_RGB2LAB), np.float32)


def _statistics(
    picture: npt.NDArray[np.float32], where: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    import cv2

    mean, spread = cv2.meanStdDev(picture, mask=where.astype(np.uint8))
    return np.ravel(mean), np.ravel(spread)


def _bytes(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(values).astype(np.uint8)
