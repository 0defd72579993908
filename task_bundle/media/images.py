"""Reads pictures from files and Pillow images as RGB arrays, and writes PNG files."""

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

# Pillow's modes with one gray channel of more than eight bits.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
_ORIENTATION_TAG = 0x0112

# Formats that Pillow decodes in C and without another program, with the decoding time of a pixel
# relative to JPEG. Of Pillow's other formats, EPS runs Ghostscript, and some are decoded in Python.
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
# An uncompressed picture of 50 megapixels with three channels of 16 bits has 300 MB.
_MAX_FILE_BYTES = 320 * 2**20
# Pillow parses the header in Python, segment by segment, and some segments state their own length.
# A malicious header may have millions of segments, or segments that each span the whole file.
_MAX_READS = 500_000
_MAX_HEADER_READS = 50_000
# Cameras write less EXIF than this. Longer EXIF, and the orientation in it, is ignored.
_MAX_EXIF_BYTES = 128 * 2**10
_MAX_EXIF_PARTS = 16
_RUN_LENGTH_CODES = (1, 2)
# Each scan of a progressive JPEG decodes all pixels again; ordinary files have about ten scans.
# This limits the number of scans times megapixels.
_MAX_SCANNED_MEGAPIXELS = 1000
# Number of pixels that are converted at a time, to avoid further copies of the whole picture.
_BAND_PIXELS = 2**20


def load_image(path: str | os.PathLike[str], max_megapixels: float = 50.0) -> npt.NDArray[np.uint8]:
    """Reads a picture file as RGB.

    The EXIF orientation is applied, transparent pixels are blended with white, and all color modes
    are converted to RGB. Gray values of 16 bits are scaled from [0, 65535] to [0, 255]. Floating
    point gray values are scaled from [0, 1] if all lie in that range, otherwise from [0, 65535]. Of
    a file with several frames, the first is read.

    Args:
      path: a JPEG, PNG, WebP, TIFF, GIF, BMP or JPEG 2000 file, or AVIF if Pillow supports it.
      max_megapixels: maximum size of the picture in millions of pixels, checked before decoding.
        The limit is two thirds of this for WebP, and one third for JPEG 2000 and AVIF, because
        they take longer to decode.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      ImageError: the file is missing, a folder, empty, not a picture, truncated, too big, or would
        take excessively long to decode. The message names the file.
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
            # Pillow warns of big pictures at its own limit; `_check_decoding_cost` applies ours.
            warnings.simplefilter("ignore")
            size = file.stat().st_size
            if size == 0:
                raise ImageError(f"{file} is empty")
            if size > _MAX_FILE_BYTES:
                raise ImageError(f"{file} is larger than {_MAX_FILE_BYTES // 2**20} MiB")
            content = file.read_bytes()
            # Pillow concatenates EXIF segments one by one, and copies all previous ones each time.
            if content.startswith(b"\xff\xd8") and content.count(b"Exif\0\0") > _MAX_EXIF_PARTS:
                raise ImageError(f"{file} has more than {_MAX_EXIF_PARTS} EXIF segments")
            stream = _BoundedReader(content, str(file))
            Image.init()
            with Image.open(stream, formats=[f for f in _FORMATS if f in Image.OPEN]) as image:
                _check_decoding_cost(image, content, str(file), max_megapixels)
                stream.reads_left = _MAX_READS
                image.load()
                return _to_rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{file} is not a picture in a known format") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{file} is too big: {error}") from error
    except Exception as error:  # Pillow's decoders raise many types on damaged files.
        raise ImageError(f"{file} cannot be read; it may be truncated: {error}") from error


def from_pillow(image: "PIL.Image.Image") -> npt.NDArray[np.uint8]:
    """Converts a Pillow image to RGB, with the same rules as `load_image`.

    Args:
      image: an image of any mode and size; its file is read if that has not happened yet.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      ImageError: the image has no pixels, or its file cannot be read.
    """
    try:
        pixels = _to_rgb(image)
    except Exception as error:  # Pillow may decode the file only now; see `load_image`.
        raise ImageError(f"the picture cannot be read; it may be truncated: {error}") from error
    check_image(pixels)
    return pixels


def over_white(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Blends a picture that has an alpha channel with a white background.

    Args:
      image: [height, width, 4] uint8 RGBA, not premultiplied by alpha.

    Returns:
      [height, width, 3] uint8 RGB.
    """
    from PIL import Image

    colored = Image.fromarray(image)
    white = Image.new("RGBA", colored.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, colored).convert("RGB"), np.uint8)


def save_png(
    path: str | os.PathLike[str],
    image: npt.NDArray[np.uint8],
    overwrite: bool = False,
    icc_profile: bytes | None = None,
) -> None:
    """Writes a picture as a PNG file, atomically.

    Args:
      path: the file to write. Its folder must exist.
      image: [height, width, 3] uint8 RGB or [height, width, 4] uint8 RGBA.
      overwrite: whether an existing file may be replaced.
      icc_profile: ICC profile to embed; without one the colors are taken to be sRGB.

    Raises:
      ImageError: `image` is not an array of this dtype and shape.
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
    """Checks that an object is an RGB picture.

    Args:
      image: the object to check.

    Raises:
      ImageError: the object is not a uint8 array of shape [height, width, 3] with at least one
        pixel.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"a picture must be a uint8 array, not {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"a picture must have shape [height, width, 3], not {list(image.shape)}")


class _BoundedReader(io.BytesIO):
    """A file in memory that limits the number of reads and the total number of bytes read."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self._name = name
        self.reads_left = _MAX_HEADER_READS
        self._bytes_left = 4 * len(content) + 2**20

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads up to `size` bytes, or all that are left.

        Raises:
          ImageError: a limit is exceeded.
        """
        data = super().read(size)
        self.reads_left -= 1
        self._bytes_left -= len(data)
        if self.reads_left < 0 or self._bytes_left < 0:
            raise ImageError(f"{self._name} takes too many reads to decode; it may be malicious")
        return data


def _check_decoding_cost(
    image: "PIL.Image.Image", content: bytes, name: str, max_megapixels: float
) -> None:
    """Checks before decoding that the picture is not too big or too slow to decode."""
    width, height = image.size
    limit = max_megapixels / _FORMATS.get(image.format or "", 1)
    megapixels = width * height / 1e6
    if megapixels > limit:
        raise ImageError(
            f"{name} has {width} x {height} pixels, more than {limit:.3g} megapixels, the limit"
            f" for {image.format}"
        )
    if image.format in ("JPEG", "MPO"):
        # In compressed data the byte 0xff is never followed by 0xda, the marker of a scan.
        scans = content.count(b"\xff\xda")
        if scans * megapixels > _MAX_SCANNED_MEGAPIXELS:
            raise ImageError(f"{name} is a JPEG with {scans} scans, which are too many to decode")
    # Pillow decodes run-length encoded BMP in Python, which is slow.
    if image.format == "BMP" and image.info.get("compression") in _RUN_LENGTH_CODES:
        raise ImageError(f"{name} is a run-length encoded BMP; save it as PNG")
    for key in ("exif", "Raw profile type exif"):
        if len(image.info.get(key) or "") > _MAX_EXIF_BYTES:
            del image.info[key]


def _to_rgb(image: "PIL.Image.Image") -> npt.NDArray[np.uint8]:
    image = _upright(image)
    width, height = image.size
    # Whether floating point gray is in [0, 1] or [0, 65535] depends on all pixels, not on one band.
    unit = image.mode == "F" and _is_unit(image.getextrema())
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // max(1, width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = _band_to_rgb(image.crop((0, top, width, bottom)), unit)
    return pixels


def _upright(image: "PIL.Image.Image") -> "PIL.Image.Image":
    """Applies the EXIF orientation.

    Unlike Pillow's `exif_transpose`, this neither copies an upright picture nor reads EXIF
    subdirectories: each may be as long as the whole EXIF data, and they are not needed.
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
        gray = _to_eight_bits(np.asarray(image), unit)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        # Converting by way of LA would lose premultiplied alpha or the alpha of a palette.
        return over_white(np.array(image.convert("RGBA"), np.uint8))
    return np.array(image.convert("RGB"), np.uint8)


def _to_eight_bits(values: npt.NDArray[np.generic], unit: bool) -> npt.NDArray[np.uint8]:
    deep = np.nan_to_num(np.asarray(values, np.float64))
    if unit:
        deep *= 65535.0
    return np.asarray(np.clip(np.rint(deep / 257.0), 0, 255), np.uint8)
