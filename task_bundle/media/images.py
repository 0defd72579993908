"""Reading pictures in whatever form people have them, and writing PNG."""

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from task_bundle.errors import ImageError
from task_bundle.files import atomic_write

if TYPE_CHECKING:
    import PIL.Image

# Pillow's modes of more than eight bits a pixel, all one grey channel.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
_ORIENTATION_TAG = 0x0112

# What Pillow decodes in C and without other programs, and how much longer a pixel takes than a
# JPEG's. Of the others, EPS runs Ghostscript, and some are decoded in Python.
_FORMATS = {
    "JPEG": 1,
    "MPO": 1,
    "PNG": 1,
    "BMP": 1,
    "GIF": 1,
    "TIFF": 1,
    "WEBP": 1.5,
    "JPEG2000": 3,
    "AVIF": 3,
}
# 50 megapixels of 16 bits a channel without compression have 300 MB.
_MAX_FILE_BYTES = 320 * 2**20
# Pillow walks through what stands before the pixels in Python, piece by piece, and some pieces say
# how much they are: a header can have millions of them, or all be the whole file.
_MAX_READS = 500_000
_MAX_HEADER_READS = 50_000
# A longer one is no camera's. Its orientation is ignored.
_MAX_EXIF_BYTES = 128 * 2**10
_MAX_EXIF_PARTS = 16
_RUN_LENGTH_CODES = (1, 2)
# Each scan of a progressive JPEG goes over all pixels; ordinary ones have ten.
_MAX_SCANNED_MEGAPIXELS = 1000
# Conversions in bands need no further copies of the whole picture.
_BAND_PIXELS = 2**20


def load_image(path: str | os.PathLike[str], max_megapixels: float = 50.0) -> npt.NDArray[np.uint8]:
    """Reads a picture.

    The orientation that cameras note in EXIF is applied, transparency is laid over white, and any
    colour mode becomes RGB. Grey of 16 bits is scaled by its whole range, [0, 65535]; floating
    point grey likewise, unless it lies within [0, 1]. Of several frames the first is taken.

    Args:
      path: the file: JPEG, PNG, WebP, TIFF, GIF, BMP, JPEG 2000, or AVIF if Pillow has it.
      max_megapixels: a bigger picture is refused before it is decoded. Formats that take longer to
        decode are allowed fewer: WebP two thirds, JPEG 2000 and AVIF one third.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      ImageError: naming the file: missing, a folder, empty, not a picture, truncated, too big, or
        made to keep its reader busy.
    """
    from PIL import Image, UnidentifiedImageError

    file = Path(path)
    if not file.exists():
        raise ImageError(f"{file} does not exist")
    if file.is_dir():
        raise ImageError(f"{file} is a folder, not a picture")
    if not file.is_file():
        raise ImageError(f"{file} is not a file")
    try:
        with warnings.catch_warnings():
            # Pillow warns of big pictures at a limit of its own; ours follows.
            warnings.simplefilter("ignore")
            size = file.stat().st_size
            if size == 0:
                raise ImageError(f"{file} is empty")
            if size > _MAX_FILE_BYTES:
                raise ImageError(f"{file} is larger than {_MAX_FILE_BYTES // 2**20} MiB")
            content = file.read_bytes()
            # Pillow joins them one by one, each time copying all before.
            if content.startswith(b"\xff\xd8") and content.count(b"Exif\0\0") > _MAX_EXIF_PARTS:
                raise ImageError(f"{file} has EXIF in more than {_MAX_EXIF_PARTS} parts")
            stream = _Patience(content, str(file))
            Image.init()
            with Image.open(stream, formats=[f for f in _FORMATS if f in Image.OPEN]) as image:
                _check_effort(image, content, str(file), max_megapixels)
                stream.reads_left = _MAX_READS
                image.load()
                return _to_rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{file} is not a picture in a known format") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{file} is too big: {error}") from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files.
        raise ImageError(f"{file} cannot be read, it may be truncated: {error}") from error


def from_pillow(image: "PIL.Image.Image") -> npt.NDArray[np.uint8]:
    """Converts a Pillow image, as `load_image` does.

    Args:
      image: of any mode and size, read from a file or not.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      ImageError: it has no pixels, or its file cannot be read.
    """
    try:
        pixels = _to_rgb(image)
    except Exception as error:  # As in `load_image`: Pillow reads the file when it must.
        raise ImageError(f"the picture cannot be read, it may be truncated: {error}") from error
    check_image(pixels)
    return pixels


def over_white(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Lays a picture with transparency over white.

    Args:
      image: [height, width, 4] uint8 RGBA, the colours not multiplied by alpha.

    Returns:
      [height, width, 3] uint8 RGB.
    """
    from PIL import Image

    coloured = Image.fromarray(image)
    white = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, coloured).convert("RGB"), np.uint8)


def save_png(
    path: str | os.PathLike[str],
    image: npt.NDArray[np.uint8],
    overwrite: bool = False,
    icc_profile: bytes | None = None,
) -> None:
    """Writes a picture as PNG, whole or not at all.

    Args:
      path: the file. Its folder must exist.
      image: [height, width, 3] uint8 RGB or [height, width, 4] uint8 RGBA.
      overwrite: whether a file already there may be replaced.
      icc_profile: what the colours mean; sRGB if None.

    Raises:
      ImageError: `image` is not such an array.
      FileExistsError: the file exists and `overwrite` is false.
      OSError: the file cannot be written.
    """
    from PIL import Image

    has_alpha = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 4
    check_image(image[..., :3] if has_alpha else image)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", icc_profile=icc_profile)
    atomic_write(path, buffer.getvalue(), overwrite)


def check_image(image: npt.NDArray[np.uint8]) -> None:
    """Checks that an array is a picture.

    Args:
      image: anything.

    Raises:
      ImageError: it is not a uint8 array of shape [height, width, 3] with at least one pixel.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"a picture must be a uint8 array, not {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"a picture must have shape [height, width, 3], not {list(image.shape)}")


class _Patience(io.BytesIO):
    """A file that refuses to be read piecemeal for ever, or many times over."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self._name = name
        self.reads_left = _MAX_HEADER_READS
        self._bytes_left = 4 * len(content) + 2**20

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads as any file does.

        Raises:
          ImageError: that was enough.
        """
        data = super().read(size)
        self.reads_left -= 1
        self._bytes_left -= len(data)
        if self.reads_left < 0 or self._bytes_left < 0:
            raise ImageError(f"{self._name} is made to keep its reader busy")
        return data


def _check_effort(
    image: "PIL.Image.Image", content: bytes, name: str, max_megapixels: float
) -> None:
    """Checks, before anything is decoded, that decoding it ends soon."""
    width, height = image.size
    limit = max_megapixels / _FORMATS.get(image.format or "", 1)
    megapixels = width * height / 1e6
    if megapixels > limit:
        raise ImageError(
            f"{name} has {width} x {height} pixels, more than {limit:.3g} megapixels, the limit"
            f" for {image.format}"
        )
    if image.format in ("JPEG", "MPO"):
        # In compressed data a 0xff never stands before such a byte.
        scans = content.count(b"\xff\xda")
        if scans * megapixels > _MAX_SCANNED_MEGAPIXELS:
            raise ImageError(f"{name} is a JPEG of {scans} scans, far more than it needs")
    # Pillow decodes these in Python.
    if image.format == "BMP" and image.info.get("compression") in _RUN_LENGTH_CODES:
        raise ImageError(f"{name} is a run-length coded BMP; save it as PNG")
    for key in ("exif", "Raw profile type exif"):
        if len(image.info.get(key) or "") > _MAX_EXIF_BYTES:
            del image.info[key]


def _to_rgb(image: "PIL.Image.Image") -> npt.NDArray[np.uint8]:
    image = _upright(image)
    width, height = image.size
    # Floating point grey is [0, 1] or [0, 65535], and one band cannot know which.
    unit = image.mode == "F" and _is_unit(image.getextrema())
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // max(1, width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = _band_to_rgb(image.crop((0, top, width, bottom)), unit)
    return pixels


def _upright(image: "PIL.Image.Image") -> "PIL.Image.Image":
    """Turns a picture as EXIF says; as Pillow's exif_transpose, without copies and sub-directories.

    Those may each be as long as all of EXIF, and nothing here needs them.
    """
    from PIL import Image

    turns = Image.Transpose
    turn = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(image.getexif().get(_ORIENTATION_TAG, 1))
    return image if turn is None else image.transpose(turn)


def _is_unit(extrema: Any) -> bool:
    lowest, highest = extrema
    return bool(lowest >= 0.0 and highest <= 1.0)


def _band_to_rgb(image: "PIL.Image.Image", unit: bool) -> npt.NDArray[np.uint8]:
    if image.mode in _DEEP_MODES:
        grey = _to_eight_bits(np.asarray(image), unit)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        # Through LA a premultiplied or palette alpha would be lost on the way.
        return over_white(np.array(image.convert("RGBA"), np.uint8))
    return np.array(image.convert("RGB"), np.uint8)


def _to_eight_bits(values: npt.NDArray[np.generic], unit: bool) -> npt.NDArray[np.uint8]:
    deep = np.nan_to_num(np.asarray(values, np.float64))
    if unit:
        deep *= 65535.0
    return np.asarray(np.clip(np.rint(deep / 257.0), 0, 255), np.uint8)
