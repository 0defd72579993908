"""Looks through the segments of JPEG and the chunks of PNG files before Pillow does.

A malicious file may have millions of them, and sound pictures have some that Pillow refuses.
"""

import re
import zlib

from task_bundle.errors import ImageError

MAX_SEGMENTS = 500_000
_MAX_EXIF_PARTS = 16
PNG_START = b"\x89PNG\r\n\x1a\n"
# Texts of a PNG in which the orientation may be; Pillow refuses pictures with other texts that are
# longer than most, such as the workflows of picture generators.
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PNG_TEXTS_WITH_ORIENTATION = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
# A marker of a JPEG but those without a length: stuffed and fill bytes, TEM, RST0 to RST7 and SOI.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_JPEG_SCAN, _JPEG_END, _JPEG_EXIF = 0xDA, 0xD9, 0xE1


def count_scans(content: bytes, name: str) -> int:
    """Counts the scans of a JPEG, up to its end: a film or other pictures may follow.

    Args:
      content: the content of the file.
      name: how error messages call it.

    Raises:
      ImageError: the JPEG has too many segments, or too many of them are EXIF.
    """
    scans = exif_parts = segments = place = 0
    while (marker := _JPEG_MARKER.search(content, place)) is not None:
        code, place = marker[1][0], marker.end()
        if code == _JPEG_END:
            # Before the first scan, Pillow's parser of the header ignores this marker and goes on.
            if scans:
                break
            continue
        segments += 1
        if segments > MAX_SEGMENTS:
            raise ImageError(f"{name} takes too many reads to decode; it may be malicious")
        scans += code == _JPEG_SCAN
        # Pillow concatenates EXIF segments one by one, and copies all previous ones each time.
        exif_parts += code == _JPEG_EXIF and not scans and content.startswith(b"Exif", place + 2)
        if exif_parts > _MAX_EXIF_PARTS:
            raise ImageError(f"{name} has more than {_MAX_EXIF_PARTS} EXIF segments")
        place += int.from_bytes(content[place : place + 2], "big")
    return scans


def without_idle_chunks(content: bytes, name: str) -> bytes:
    """Removes those chunks of a PNG that do not matter, but may keep Pillow from reading it.

    These are texts, and chunks with a wrong checksum that do not change the pixels.

    Args:
      content: the content of the file.
      name: how error messages call it.

    Raises:
      ImageError: the PNG has too many chunks.
    """
    kept, start, place, chunks = [], 0, len(PNG_START), 0
    while place + 12 <= len(content):
        chunks += 1
        if chunks > MAX_SEGMENTS:
            raise ImageError(f"{name} takes too many reads to decode; it may be malicious")
        kind = content[place + 4 : place + 8]
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        # The case of the first letter says whether the chunk is needed.
        if kind[:1].islower() and end <= len(content):
            data = memoryview(content)[place + 4 : end - 4]
            is_text = kind in _PNG_TEXTS and not content.startswith(
                _PNG_TEXTS_WITH_ORIENTATION, place + 8
            )
            is_damaged = zlib.crc32(data) != int.from_bytes(content[end - 4 : end], "big")
            if is_text or (is_damaged and kind != b"tRNS"):
                kept.append(content[start:place])
                start = end
        place = end
    return b"".join([*kept, content[start:]]) if kept else content
