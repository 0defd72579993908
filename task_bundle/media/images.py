"""Reads pictures from files and Pillow images as RGB arrays, and writes PNG files."""

import contextlib
import io
import logging
import os
import re
import struct
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from task_bundle.errors import ImageError
from task_bundle.files import atomic_write
from task_bundle.media.color_tables import conversion_table, convert
from task_bundle.media.file_kinds import kind_of_file
from task_bundle.media.picture_colors import coded_colors
from task_bundle.media.segments import MAX_SEGMENTS, PNG_START, count_scans, without_idle_chunks
from task_bundle.media.source_type import PNG_KEYWORD, xmp_packet
from task_bundle.media.tiff import TiffTags

if TYPE_CHECKING:
    import PIL.Image
    from PIL.ImageFilter import Color3DLUT

# The suffixes of the formats that `load_image` reads: those that Pillow registers for them.
PICTURE_SUFFIXES = frozenset(
    (
        *(".apng", ".avif", ".avifs", ".bmp", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc"),
        *(".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".png", ".tif", ".tiff", ".webp"),
    )
)
# OpenCV stores the coordinates of pixels in 16 bits, and MediaPipe aborts the process where OpenCV
# raises an exception.
MAX_SIDE = 32_766

_log = logging.getLogger(__name__)

# Pillow's modes with one gray channel of more than eight bits.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
_ORIENTATION_TAG, _EXIF_SHORT = 0x0112, 3

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
MAX_FILE_BYTES = 320 * 2**20
# Pillow parses the header in Python, segment by segment, and some segments state their own length.
# A malicious header may have segments that each span the whole file.
_MAX_HEADER_READS = 50_000
# Cameras write less EXIF than this. Of longer EXIF only the orientation is read.
_MAX_EXIF_BYTES = 128 * 2**10
_RUN_LENGTH_CODES = (1, 2)
# The entry of an AVIF file that declares an item to be EXIF: the box `infe` of version 2 or 3.
_AVIF_EXIF_ITEM = re.compile(rb"(infe(?:\x02...(?:..)|\x03...(?:....))..)Exif", re.DOTALL)
# Each scan of a progressive JPEG decodes all pixels again; ordinary files have about ten scans.
# This limits the number of scans times megapixels.
_MAX_SCANNED_MEGAPIXELS = 1000
# Formats whose further frames are an animation or further pages. Those of MPO are other views of
# the first, or maps that belong to it.
_FRAME_NAMES = {"GIF": "frame", "PNG": "frame", "WEBP": "frame", "AVIF": "frame", "TIFF": "page"}
# Color pictures of 16 bits that are not brighter than this, of 255, may be ones of 14 or 12 bits.
_DARK = 63
# White in pictures of more than eight bits is the lowest of these that is not exceeded: files
# rarely state that 12 bits are stored in 16, or bytes in floating point numbers.
_WHITES = tuple(2.0**bits - 1 for bits in (8, 10, 12, 14, 16, 24, 31, 32))
_LARGEST_OF_15_BITS = 2.0**15 - 1
# Floating point gray up to here is in [0, 1] with highlights that exceed 1, because in [0, 255] it
# would be black.
_MAX_UNIT_GRAY = 8.0
# By how much sharpened floating point gray may exceed white.
_MAX_OVERSHOOT = 1.1
# Number of pixels that are converted at a time, to avoid further copies of the whole picture.
_BAND_PIXELS = 2**20


def load_image(path: str | os.PathLike[str], max_megapixels: float = 50.0) -> npt.NDArray[np.uint8]:
    """Reads a picture file as RGB.

    The EXIF orientation is applied, transparent pixels are blended with white, and all color modes
    are converted to RGB. PNG and AVIF files that state a large color space or range in numbers
    (BT.2020, Display P3, HLG, PQ) are converted to that of ordinary screens. White in gray pictures
    of more than eight bits, and in TIFF of 16 bits per color, is the largest value of 8, 10, 12,
    14, 16, 24 or 32 bits, whichever is the first that no pixel exceeds; or 1, if no floating point
    pixel exceeds it by much. EXIF that is damaged is ignored. Of a file with several frames or
    pages, the first is read, and a warning is logged.

    Args:
      path: a JPEG, PNG, WebP, TIFF, GIF, BMP or JPEG 2000 file, or AVIF if Pillow supports it.
      max_megapixels: maximum size of the picture in millions of pixels, checked before decoding.
        The limit is two thirds of this for WebP, and one third for JPEG 2000 and AVIF, because
        they take longer to decode. Neither side may exceed `MAX_SIDE`.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      ImageError: the file is missing, a folder, empty, not a picture, truncated, too big, or would
        take excessively long to decode. The message names the file.
    """
    return decode_image(_read(Path(path)), str(path), max_megapixels)


def decode_image(content: bytes, name: str, max_megapixels: float = 50.0) -> npt.NDArray[np.uint8]:
    """Decodes the content of a picture file as `load_image` does.

    Args:
      content: the content of the file.
      name: how error messages call it.
      max_megapixels: see `load_image`.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      ImageError: as for `load_image`.
    """
    with _opened(content, name, max_megapixels) as image:
        image.load()
        # The EXIF of a PNG may follow the pixels, so it is complete only after they are decoded.
        _shorten_exif(image)
        pixels = _to_rgb(image)
        tags = TiffTags(image)
        if tags.has_colors_of_16_bits and pixels.max() <= _DARK:
            if tags.has_lower_halves:
                pixels = _stretched(pixels, _low_bytes(content, name, max_megapixels))
            else:
                _log.warning(
                    "%s is dark: if its colors have fewer than 16 bits, save it uncompressed", name
                )
        table = _table(content)
        if table is not None:
            pixels = convert(pixels, table)
        kind = _FRAME_NAMES.get(image.format or "")
        if kind is not None and _has_several_frames(image):
            _log.warning("%s has several %ss; only the first is used", name, kind)
        return pixels


def load_color_profile(path: str | os.PathLike[str]) -> bytes | None:
    """Reads the ICC profile of a picture file, whose pixels `load_image` does not convert.

    Args:
      path: a file that `load_image` reads.

    Returns:
      As for `decode_color_profile`.

    Raises:
      ImageError: as for `load_image`.
    """
    return decode_color_profile(_read(Path(path)), str(path))


def decode_color_profile(content: bytes, name: str) -> bytes | None:
    """Reads the ICC profile in the content of a picture file.

    Args:
      content: the content of the file.
      name: how error messages call it.

    Returns:
      The profile; None if there is none, or if it does not apply to the RGB pixels of `load_image`:
      because it is one for gray or CMYK, or because they were converted.

    Raises:
      ImageError: as for `load_image`.
    """
    with _opened(content, name) as image:
        is_rgb = image.mode in ("RGB", "RGBA", "P") and _table(content) is None
        profile = image.info.get("icc_profile") if is_rgb else None
    return profile if isinstance(profile, bytes) else None


def _table(content: bytes) -> "Color3DLUT | None":
    colors = coded_colors(content)
    return None if colors is None else conversion_table(*colors)


def _read(file: Path) -> bytes:
    if not file.exists():
        raise ImageError(f"{file} does not exist")
    if file.is_dir():
        raise ImageError(f"{file} is a folder, not a picture")
    if not file.is_file():
        raise ImageError(f"{file} is not a file")
    try:
        # Before reading, which would fill the memory.
        _check_bytes(file.stat().st_size, str(file))
        return file.read_bytes()
    except OSError as error:
        raise ImageError(f"{file} cannot be read: {error.strerror or error}") from error


def _check_bytes(size: int, name: str) -> None:
    if size == 0:
        raise ImageError(f"{name} is empty")
    if size > MAX_FILE_BYTES:
        raise ImageError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MiB")


@contextlib.contextmanager
def _opened(content: bytes, name: str, max_megapixels: float = 50.0) -> Iterator["PIL.Image.Image"]:
    """Opens a picture whose pixels can be decoded in a reasonable time.

    Yields:
      The picture. Errors of Pillow in the `with` block become ImageErrors that name the file.
    """
    from PIL import Image, UnidentifiedImageError

    _check_bytes(len(content), name)
    try:
        with warnings.catch_warnings():
            # Pillow warns of big pictures at its own limit, where `_check_decoding_cost` applies
            # ours, and of damaged metadata, which do not matter.
            warnings.simplefilter("ignore")
            scans = count_scans(content, name) if content.startswith(b"\xff\xd8") else 0
            if content.startswith(PNG_START):
                content = without_idle_chunks(content, name)
            if content[4:8] == b"ftyp":
                # The orientation of AVIF is not that in its EXIF, which Pillow parses in vain.
                content = _AVIF_EXIF_ITEM.sub(rb"\1none", content)
            stream = _BoundedReader(content, name)
            Image.init()
            with Image.open(stream, formats=[f for f in _FORMATS if f in Image.OPEN]) as image:
                _check_decoding_cost(image, scans, name, max_megapixels)
                tags = TiffTags(image)
                tags.check(name)
                tags.correct(image)
                stream.reads_left = MAX_SEGMENTS
                yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        kind = kind_of_file(content)
        but = f": it is {kind}" if kind else ""
        raise ImageError(f"{name} is not a picture in a known format{but}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too big: {error}") from error
    except Exception as error:  # Pillow's decoders raise many types on damaged files.
        raise ImageError(f"{name} cannot be read; it may be truncated: {error}") from error


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
    marked: bool = True,
) -> None:
    """Writes a picture as a PNG file, atomically.

    Args:
      path: the file to write. Its folder must exist.
      image: [height, width, 3] uint8 RGB or [height, width, 4] uint8 RGBA.
      overwrite: whether an existing file may be replaced.
      icc_profile: ICC profile to embed; without one the colors are taken to be sRGB.
      marked: whether metadata say that a trained network had a part in the picture, as IPTC's
        DigitalSourceType in XMP.

    Raises:
      ImageError: `image` is not an array of this dtype and shape.
      FileExistsError: the file exists and `overwrite` is false.
      OSError: the file cannot be written.
    """
    atomic_write(path, encode_png(image, icc_profile, marked), overwrite)


def encode_png(
    image: npt.NDArray[np.uint8], icc_profile: bytes | None = None, marked: bool = True
) -> bytes:
    """Returns the content of a PNG file; see `save_png`.

    Raises:
      ImageError: `image` is not an array as `save_png` takes.
    """
    from PIL import Image, PngImagePlugin

    has_alpha = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 4
    _check_form(image[..., :3] if has_alpha else image)
    buffer = io.BytesIO()
    texts = PngImagePlugin.PngInfo()
    if marked:
        texts.add_itxt(PNG_KEYWORD, xmp_packet())
    Image.fromarray(image).save(buffer, "PNG", icc_profile=icc_profile, pnginfo=texts)
    return buffer.getvalue()


def check_image(image: npt.NDArray[np.uint8]) -> None:
    """Checks that an object is an RGB picture that OpenCV and MediaPipe can process.

    Args:
      image: the object to check.

    Raises:
      ImageError: the object is not a uint8 array of shape [height, width, 3] with at least one
        pixel, or one of its sides exceeds `MAX_SIDE`.
    """
    _check_form(image)
    _check_sides("a picture", *image.shape[1::-1])


def _check_form(image: npt.NDArray[np.uint8]) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"a picture must be a uint8 array, not {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"a picture must have shape [height, width, 3], not {list(image.shape)}")


def _check_sides(name: str, width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"{name} has {width} x {height} pixels; a side may have {MAX_SIDE} at most: crop or"
            " shrink it first"
        )


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
    image: "PIL.Image.Image", scans: int, name: str, max_megapixels: float
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
    _check_sides(name, width, height)
    if TiffTags(image).is_raw:
        raise ImageError(
            f"{name} is a camera's raw file, of which only a small preview can be read; export it"
            " as JPEG or PNG"
        )
    if scans * megapixels > _MAX_SCANNED_MEGAPIXELS:
        raise ImageError(f"{name} is a JPEG with {scans} scans, which are too many to decode")
    # Pillow decodes run-length encoded BMP in Python, which is slow.
    if image.format == "BMP" and image.info.get("compression") in _RUN_LENGTH_CODES:
        raise ImageError(f"{name} is a run-length encoded BMP; save it as PNG")


def _shorten_exif(image: "PIL.Image.Image") -> None:
    """Replaces EXIF that would take long to parse by its orientation."""
    for key in ("exif", "Raw profile type exif"):
        if len(image.info.get(key) or "") > _MAX_EXIF_BYTES:
            orientation = _read_orientation(_exif(image))
            del image.info[key]
            if orientation is not None:
                image.info["exif"] = _make_exif(orientation)


def _exif(image: "PIL.Image.Image") -> bytes:
    """Returns the EXIF of a picture as it is stored, from the text of a PNG if need be."""
    exif = image.info.get("exif")
    if isinstance(exif, bytes):
        return exif
    text = image.info.get("Raw profile type exif")
    try:
        return bytes.fromhex("".join(text.split("\n")[3:])) if isinstance(text, str) else b""
    except ValueError:
        return b""


def _read_orientation(exif: bytes) -> int | None:
    """Reads the orientation, and nothing else, from EXIF of any length, which may be damaged."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    with contextlib.suppress(struct.error):
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, place)
            if tag == _ORIENTATION_TAG:
                return int(value) if kind == _EXIF_SHORT else None
    return None


def _make_exif(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", _ORIENTATION_TAG, _EXIF_SHORT, 1, orientation, 0)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


def _has_several_frames(image: "PIL.Image.Image") -> bool:
    try:
        image.seek(1)
    # EOFError means that there is no second frame. Damage to that frame, which is not used, raises
    # errors of any type.
    except Exception:
        return False
    return True


def _to_rgb(image: "PIL.Image.Image") -> npt.NDArray[np.uint8]:
    image, tags = _upright(image), TiffTags(image)
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // max(1, width))
    edges = [(top, min(top + rows, height)) for top in range(0, height, rows)]
    deep = image.mode in _DEEP_MODES
    if deep:
        # What is white depends on all pixels, not on one band.
        white = _white(
            max(_gray_band(image, *edge, tags.is_unsigned).max() for edge in edges),
            image.mode,
            tags.has_15_bits,
        )
    for top, bottom in edges:
        if deep:
            gray = _gray_band(image, top, bottom, tags.is_unsigned) * (255.0 / white)
            gray = np.clip(np.rint(gray), 0, 255).astype(np.uint8)[..., None]
            pixels[top:bottom] = 255 - gray if tags.is_negative else gray
        else:
            pixels[top:bottom] = _band_to_rgb(image.crop((0, top, width, bottom)))
    return pixels


def _gray_band(
    image: "PIL.Image.Image", top: int, bottom: int, is_unsigned: bool
) -> npt.NDArray[np.float64]:
    """Returns rows of gray values; those that are not finite become 0."""
    values = np.asarray(image.crop((0, top, image.width, bottom)))
    if image.mode == "I" and is_unsigned:
        # Pillow has no mode for unsigned numbers of 32 bits, and reads them as signed ones.
        values = values.view(np.uint32)
    return np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)


def _low_bytes(content: bytes, name: str, max_megapixels: float) -> npt.NDArray[np.uint8]:
    """Reads the lower halves of the numbers in a TIFF with 16 bits per color.

    Pillow reads only the upper halves; in the other byte order they are the lower ones.
    """
    other = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
    with _opened(content, name, max_megapixels) as opened:
        image: Any = opened
        image.tile = [
            tile._replace(args=(f"{mode[:-1]}{other[mode[-1]]}", *tile.args[1:]))
            for tile in image.tile
            for mode in tile.args[:1]
        ]
        image.load()
        return _to_rgb(image)


def _stretched(
    high_bytes: npt.NDArray[np.uint8], low_bytes: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    values = high_bytes * np.float32(256) + low_bytes
    values *= 255.0 / _white(float(values.max()), "RGB")
    return np.asarray(np.rint(values), np.uint8)


def _white(brightest: float, mode: str, has_15_bits: bool = False) -> float:
    """Returns which gray value is white, given the highest, the mode, and if 15 bits are likely."""
    if mode == "F":
        if brightest <= _MAX_UNIT_GRAY:
            return 1.0
        brightest /= _MAX_OVERSHOOT
    white = next((white for white in _WHITES if brightest <= white), _WHITES[-1])
    return min(white, _LARGEST_OF_15_BITS) if has_15_bits else white


def _upright(image: "PIL.Image.Image") -> "PIL.Image.Image":
    """Applies the EXIF orientation.

    Unlike Pillow's `exif_transpose`, this neither copies an upright picture nor reads EXIF
    subdirectories: each may be as long as the whole EXIF data, and they are not needed.
    """
    from PIL import Image

    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except ImageError:
        raise
    except Exception:  # Pillow raises many types on damaged EXIF.
        orientation = _read_orientation(_exif(image))
    turns = Image.Transpose
    turn = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)


def _band_to_rgb(image: "PIL.Image.Image") -> npt.NDArray[np.uint8]:
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        # Converting by way of LA would lose premultiplied alpha or the alpha of a palette.
        return over_white(np.array(image.convert("RGBA"), np.uint8))
    return np.array(image.convert("RGB"), np.uint8)
