"""Pastes stylized faces back into their photo."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from task_bundle.errors import InvalidArgumentError
from task_bundle.faces.alignment import Face, FaceCrop
from task_bundle.faces.person import find_person_segmenter
from task_bundle.media.images import check_image
from task_bundle.media.photo import as_photo
from task_bundle.runtime.stylized_face import StylizedFace

DEFAULT_FEATHER = 0.07
REGIONS = ("head", "face")

# The points of the mesh without the irises, which stick out of it when the eyes look sideways.
_MESH_POINTS = 468
# The largest side of a drawn mask, in pixels. Masks are smooth, so this is enough for any face.
_MAX_MASK_SIDE = 256
# The mesh leaves out a part of the forehead, so it is stretched upwards above the crop's center.
# Elsewhere the soft edge is centered on the outline of the mesh; further out, the stylized
# background would show as a halo.
_FOREHEAD_STRETCH = 1.28
# How far a head may reach beyond the outline of the mesh, seen from the crop's center: sideways,
# upwards and downwards. Below the chin, the neck fades from the picture to the photo.
_HEAD_STRETCH = (1.8, 2.4, 1.0)
# What the network is less sure of than the first is background, and what it is surer of than the
# second is person: at the edge of hair, the stylized picture may already show its background.
_SURE = (0.5, 0.95)
# The side of a head's mask, that of the network that finds the person, in pixels.
_HEAD_MASK_SIDE = 256
# The soft edge of what a head may reach is so many times as wide as that of a face.
_HEAD_FEATHER = 2.0
# The largest sigma, in pixels of the stylized picture, of the blur that hides pixels and jagged
# lines in enlarged pictures. Sigma grows from 0 at the original size to this at twice the size.
_MAX_SOFTENING = 0.7
# The largest factor on the spread of colors. In styles with almost no color or contrast, a larger
# one would amplify noise.
_MAX_GAIN = 2.0


def face_mask(
    face: Face, height: int, width: int, feather: float = DEFAULT_FEATHER
) -> npt.NDArray[np.float32]:
    """Returns the alpha mask with which a face is pasted into the photo.

    The mask follows the outline of the face mesh. For a frontal face this is MediaPipe's face oval,
    FACE_LANDMARKS_FACE_OVAL; for a turned head it includes the nose and the cheek outside the oval.
    The mesh leaves out a part of the forehead, so the mask is stretched towards the hair.

    Args:
      face: the face.
      height: the height of the photo, in pixels.
      width: the width of the photo, in pixels.
      feather: the width of the soft edge relative to the side of the crop, in [0, 0.5]. With 0 the
        edge is as sharp as the mask's resolution, 256 pixels a side.

    Returns:
      [height, width] float32 in [0, 1]: 1 in the middle of the face, exactly 0 outside the crop.

    Raises:
      InvalidArgumentError: `feather` is out of range, or the size is not positive.
    """
    if height < 1 or width < 1:
        raise InvalidArgumentError(f"a photo's size must be positive, not {width} x {height}")
    mask = np.zeros((height, width), np.float32)
    drawn = _draw_mask(face, feather)
    window = _window(face.crop, drawn, height, width)
    if not window.empty:
        mask[window.slices] = _mask_in(window, face.crop, drawn)
    return mask


def head_mask(
    photo: npt.NDArray[np.uint8], face: Face, feather: float = DEFAULT_FEATHER
) -> npt.NDArray[np.float32]:
    """Returns the alpha mask with which a head and its hair are pasted into the photo.

    The mask is where MediaPipe's selfie segmentation sees a person, as far as a head reaches around
    the face. mediapipe 0.10 has that network; with 1.x, which has none, this is `face_mask`.

    Args:
      photo: the photo, [height, width, 3] uint8 RGB.
      face: the face.
      feather: as in `face_mask`, for the edge towards neck, neighbors and the border of the crop.
        The edge of hair is as soft as the network sees it.

    Returns:
      [height, width] float32 in [0, 1], exactly 0 outside the crop.

    Raises:
      InvalidArgumentError: `feather` is out of range.
    """
    height, width = photo.shape[:2]
    mask = np.zeros((height, width), np.float32)
    drawn = _draw_region("head", photo, face, feather)
    window = _window(face.crop, drawn, height, width)
    if not window.empty:
        mask[window.slices] = _mask_in(window, face.crop, drawn)
    return mask


def composite(
    photo: Any,
    results: StylizedFace | Sequence[StylizedFace],
    *,
    color_match: bool = False,
    feather: float = DEFAULT_FEATHER,
    region: str = "head",
) -> npt.NDArray[np.uint8]:
    """Pastes stylized faces into the photo, at the resolution of the photo.

    Smaller faces are pasted first: where two faces overlap, the larger one is usually closer to the
    camera and hides the other.

    ```python
    from task_bundle import FaceStylizer, composite, save_png

    with FaceStylizer.create_from_model_path("ink.task") as stylizer:
        faces = stylizer.stylize_all("photo.jpg")
    picture = composite("photo.jpg", faces, color_match=True)
    save_png("composite.png", picture)
    ```

    Args:
      photo: the photo that was stylized, in any form that `photo.as_photo` accepts: a uint8 array,
        a Pillow image, a `mediapipe.Image`, or a path.
      results: the stylized faces, in any order; the sequence may be empty.
      color_match: whether each stylized face is given the mean and the spread of the colors of the
        face that it replaces.
      feather: the width of the soft edge relative to the side of the crop, in [0, 0.5]; see
        `face_mask`.
      region: what is pasted: 'head', with the hair (see `head_mask`), or 'face' (see `face_mask`).

    Returns:
      [height, width, 3] uint8 RGB, a new array. Where the masks of all faces are 0, pixels are the
      same as in the photo. Gray photos become RGB, transparent ones are laid over white.

    Raises:
      ImageError: `photo` is none of these or cannot be read, or a face's picture is not
        [height, width, 3] uint8.
      InvalidArgumentError: `feather` is out of range, or `region` is unknown.
    """
    pixels = as_photo(photo)
    pasted = pixels.copy()
    for layer in _layers(pixels, results, color_match, feather, region):
        below = pasted[layer.window.slices]
        alpha = layer.alpha[..., None]
        blended = below + alpha * (layer.colors - below)
        below[...] = np.where(alpha > 0, _bytes(np.asarray(blended, np.float32)), below)
    return pasted


def cutout(
    photo: Any,
    results: StylizedFace | Sequence[StylizedFace],
    *,
    color_match: bool = False,
    feather: float = DEFAULT_FEATHER,
    region: str = "head",
) -> npt.NDArray[np.uint8]:
    """Pastes stylized faces into a transparent picture of the size of the photo.

    With Pillow's `alpha_composite`, the result over the photo is the same as from `composite`.

    ```python
    from task_bundle import FaceStylizer, cutout, save_png

    with FaceStylizer.create_from_model_path("ink.task") as stylizer:
        faces = stylizer.stylize_all("photo.jpg")
    save_png("cutout.png", cutout("photo.jpg", faces))
    ```

    Args:
      photo: the photo that was stylized, in any form that `photo.as_photo` accepts: a uint8 array,
        a Pillow image, a `mediapipe.Image`, or a path.
      results: the stylized faces, in any order; the sequence may be empty.
      color_match: as in `composite`.
      feather: as in `composite`.
      region: as in `composite`.

    Returns:
      [height, width, 4] uint8 RGBA with straight alpha; transparent black outside the masks.

    Raises:
      ImageError: `photo` is none of these or cannot be read, or a face's picture is not
        [height, width, 3] uint8.
      InvalidArgumentError: `feather` is out of range, or `region` is unknown.
    """
    pixels = as_photo(photo)
    cut = np.zeros((*pixels.shape[:2], 4), np.uint8)
    for layer in _layers(pixels, results, color_match, feather, region):
        below = cut[layer.window.slices]
        alpha = layer.alpha[..., None]
        remaining = below[..., 3:] / np.float32(255) * (1 - alpha)
        opacity = alpha + remaining
        colors = alpha * layer.colors + remaining * below[..., :3]
        colors /= np.maximum(opacity, np.float32(1e-6))
        over = _bytes(np.concatenate([colors, 255 * opacity], axis=2))
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
    """A face in a window of the photo.

    Attributes:
      window: the rectangle.
      colors: [height, width, 3] in [0, 255].
      alpha: [height, width] in [0, 1].
    """

    window: _Window
    colors: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.float32]


def _layers(
    photo: npt.NDArray[np.uint8],
    results: StylizedFace | Sequence[StylizedFace],
    color_match: bool,
    feather: float,
    region: str,
) -> Iterator[_Layer]:
    """Yields the faces in the order in which they are pasted, in ascending order of size."""
    if region not in REGIONS:
        raise InvalidArgumentError(f"region must be one of {', '.join(REGIONS)}, not {region!r}")
    height, width = photo.shape[:2]
    faces = [results] if isinstance(results, StylizedFace) else results
    for result in sorted(faces, key=lambda face: face.crop.side):
        check_image(result.image)
        drawn = _draw_region(region, photo, result.face, feather)
        window = _window(result.crop, drawn, height, width)
        if window.empty:
            continue
        picture = result.image.astype(np.float32)
        if color_match:
            # Skin decides in either region: hair and what is behind it differ too much.
            face = _draw_mask(result.face, feather)
            picture = _match_colors(picture, photo, result.crop, face)
        yield _Layer(
            window,
            _colors_in(window, result.crop, picture),
            _mask_in(window, result.crop, drawn),
        )


def _draw_region(
    region: str, photo: npt.NDArray[np.uint8], face: Face, feather: float
) -> npt.NDArray[np.float32]:
    """Draws the mask of a region in the face's crop: [side, side] in [0, 1], 0 along the border."""
    segmenter = find_person_segmenter() if region == "head" else None
    if segmenter is None:
        return _draw_mask(face, feather)
    import cv2

    side = _HEAD_MASK_SIDE
    person = segmenter.run(np.asarray(face.crop.crop(photo, side), np.uint8))
    if person.shape != (side, side):
        person = np.asarray(cv2.resize(person, (side, side)), np.float32)
    low, high = _SURE
    person = np.clip((person - low) / (high - low), 0, 1)
    oval = _draw_outline(face, feather, side, (1.0, _FOREHEAD_STRETCH, 1.0))
    wide = min(_HEAD_FEATHER * feather, 0.5)
    # The network may miss a part of a face that is painted or half hidden.
    reach = _draw_outline(face, wide, side, _HEAD_STRETCH)
    # A blurred one can be the least bit more than 1.
    return np.minimum(np.maximum(person, oval) * reach, np.float32(1))


def _draw_mask(face: Face, feather: float) -> npt.NDArray[np.float32]:
    """Draws the mask of a face in its crop: [side, side] in [0, 1], 0 along the border."""
    # The resolution is not higher than that of the photo, so that sampling skips no pixels.
    side = round(min(max(face.crop.side, 1), _MAX_MASK_SIDE))
    return _draw_outline(face, feather, side, (1.0, _FOREHEAD_STRETCH, 1.0))


def _draw_outline(
    face: Face, feather: float, side: int, stretch: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    """Draws the outline of the mesh, stretched from the crop's center sideways, up and down."""
    import cv2

    if not 0 <= feather <= 0.5:
        raise InvalidArgumentError(f"feather must be in [0, 0.5], not {feather}")
    across, up, down = stretch
    matrix = face.crop.matrix(side)
    points = face.landmarks[:_MESH_POINTS, :2] @ matrix[:2, :2].T + matrix[:2, 2] - side / 2
    points[:, 0] *= across
    points[:, 1] *= np.where(points[:, 1] < 0, up, down)
    outline = cv2.convexHull((points + side / 2).astype(np.float32))
    # Drawn in uint8, the only type that OpenCV antialiases; corners are in 1/16 of a pixel.
    filled, shift = np.zeros((side, side), np.uint8), 4
    corners = np.rint(outline * 2**shift).astype(np.int32)
    cv2.fillConvexPoly(filled, corners, (255,), cv2.LINE_AA, shift)
    mask = filled.astype(np.float32) / np.float32(255)
    # The Gaussian is truncated at two sigma, so that the edge is exactly as wide as asked for.
    sigma = feather * side / 4
    reach = math.ceil(2 * sigma)
    border = reach + 1
    mask[:border] = mask[-border:] = mask[:, :border] = mask[:, -border:] = 0
    if reach:
        mask = np.asarray(cv2.GaussianBlur(mask, (2 * reach + 1, 2 * reach + 1), sigma), np.float32)
    return mask


def _window(crop: FaceCrop, drawn: npt.NDArray[np.float32], height: int, width: int) -> _Window:
    """Returns the rectangle of the photo outside of which a mask is 0; it may be empty."""
    import cv2

    left, top, across, down = cv2.boundingRect((drawn > 0).astype(np.uint8))
    # Interpolation reaches one pixel further than the pixels that are not 0.
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


def _colors_in(
    window: _Window, crop: FaceCrop, picture: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Warps a stylized picture into the photo, after the smoothing that its scaling needs."""
    import cv2

    height, width = picture.shape[:2]
    matrix = crop.matrix((width, height))
    enlargement = crop.side / min(width, height)
    if enlargement > 1:
        sigma = _MAX_SOFTENING * min(enlargement - 1, 1)
        picture = np.asarray(cv2.GaussianBlur(picture, (5, 5), sigma), np.float32)
    elif enlargement < 1:
        size = (max(round(enlargement * width), 1), max(round(enlargement * height), 1))
        # Pixel centers are x + 1/2 for OpenCV's resize, and integers for the matrix of the crop.
        x, y = size[0] / width, size[1] / height
        matrix = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]) @ matrix
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        picture = np.asarray(resized, np.float32)
    # Cubic interpolation overshoots, and matched colors may be too bright.
    colors = _warp(window, matrix, picture, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    return np.clip(colors, 0, 255)


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


def _match_colors(
    picture: npt.NDArray[np.float32],
    photo: npt.NDArray[np.uint8],
    crop: FaceCrop,
    drawn: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Transfers the colors of the face in the photo to a stylized picture.

    It gets the same mean and standard deviation in CIE Lab (Reinhard et al., Color Transfer between
    Images, 2001), with limited gains.
    """
    import cv2

    height, width = picture.shape[:2]
    side = min(height, width)
    # The pixels of the crop that are outside the photo do not count.
    inside = crop.crop(np.full_like(photo, 255), side)[..., 0] == 255
    face = (cv2.resize(drawn, (side, side)) > 0.5) & inside
    if not face.any():
        return picture
    original = crop.crop(photo, side).astype(np.float32)
    wanted_mean, wanted_spread = _mean_and_spread(_lab(original), face)
    lab = _lab(picture)
    top, left = (height - side) // 2, (width - side) // 2
    mean, spread = _mean_and_spread(lab[top : top + side, left : left + side], face)
    gain = np.clip(wanted_spread / np.maximum(spread, 1e-3), 1 / _MAX_GAIN, _MAX_GAIN)
    matched = ((lab - mean) * gain + wanted_mean).astype(np.float32)
    return np.asarray(cv2.cvtColor(matched, cv2.COLOR_LAB2RGB), np.float32) * 255


def _lab(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.cvtColor(picture / 255, cv2.COLOR_RGB2LAB), np.float32)


def _mean_and_spread(
    picture: npt.NDArray[np.float32], where: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    import cv2

    mean, spread = cv2.meanStdDev(picture, mask=where.astype(np.uint8))
    return np.ravel(mean), np.ravel(spread)


def _bytes(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(values).astype(np.uint8)
