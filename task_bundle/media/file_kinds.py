"""Tells what is wrong with a file that is no picture or no video, and what to do about it."""

import re
import struct
from pathlib import Path

_HEIF = "HEIF; convert it to JPEG or PNG"
_RAW = "a camera's raw file; export it as JPEG or PNG"
_VIDEO = "a video; `stylize` takes videos, with the suffix of their format, such as .mp4"

# The brands of files of the ISO base media format: in `ftyp`, the first box.
_BRANDS = {
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), _HEIF
    ),
    **dict.fromkeys((b"avif", b"avis"), "AVIF, which needs a newer Pillow"),
    b"crx ": _RAW,
}
# What a file begins with. TIFF is also what most raw files are.
_BEGINNINGS = (
    (rb"\x1aE\xdf\xa3|RIFF....AVI |OggS|FLV\x01", _VIDEO),
    (
        rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
        "TIFF with pixels of an unusual type, or a camera's raw file; export it as PNG",
    ),
    (rb"FUJIFILMCCD-RAW|IIU\0|IIR[OS]|MMOR", _RAW),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL; convert it to JPEG or PNG"),
    (rb"8BPS", "a Photoshop file; export it as PNG"),
    (rb"%PDF-", "a PDF; export its picture as PNG"),
    (rb"PK\x03\x04", "a ZIP archive; unpack it first"),
    (rb"\x1f\x8b", "a gzip archive; unpack it first"),
    (rb"P[1-7]\s", "a Netpbm file; convert it to PNG"),
    (rb"version https://git-lfs", "a pointer of Git LFS; `git lfs pull` brings the file"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", "SVG; export it as PNG"),
    (
        rb"\s*(<!doctype html|<html)",
        "a web page, such as a server sends in place of a missing file",
    ),
)
_KINDS = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), kind) for pattern, kind in _BEGINNINGS
)
# How much of a file is looked at.
_START = 1024
_MAX_BOXES = 1000


def kind_of_file(content: bytes) -> str | None:
    """Tells what a file is that cannot be read as a picture.

    Args:
      content: the content of the file.

    Returns:
      The kind, and what to do about it if anything, to be read after "is"; None if it is unknown.
    """
    start = content[:_START]
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12], _VIDEO)
    return next((kind for pattern, kind in _KINDS if pattern.match(start)), None)


def problem_of_video(path: Path) -> str:
    """Tells why FFmpeg does not open a file.

    Args:
      path: the file.

    Returns:
      The rest of a sentence that begins with the name of the file.
    """
    with open(path, "rb") as file:
        start = file.read(_START)
    if not start:
        return "is empty"
    if start[4:8] == b"ftyp" and not _has_index(path):
        return "was cut off: the list of its frames, which is written last, is missing"
    kind = kind_of_file(start)
    but = f": it is {kind}" if kind not in (None, _VIDEO) else ""
    return f"is not a video in a known format, or is damaged{but}"


def _has_index(path: Path) -> bool:
    """Returns whether a file of the ISO base media format has the box `moov`."""
    with open(path, "rb") as file:
        place = 0
        for _ in range(_MAX_BOXES):
            file.seek(place)
            header = file.read(16)
            if len(header) < 8:
                return False
            size, name = struct.unpack_from(">I4s", header)
            if name == b"moov":
                return True
            if size == 1 and len(header) == 16:
                (size,) = struct.unpack_from(">Q", header, 8)
            if size < 8:
                return False
            place += size
    return True
