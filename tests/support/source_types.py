"""Reads IPTC's DigitalSourceType from files, as other programs find it."""

import re
from pathlib import Path

from PIL import Image

# Part 3 of the XMP specification gives the box of MP4 this name.
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_PROPERTY = re.compile(rb'Iptc4xmpExt:DigitalSourceType="([^"]*)"')


def source_type(path: Path) -> str | None:
    """Returns the property of a picture or an MP4; None if the file has none."""
    xmp = _xmp_of_mp4(path.read_bytes()) if path.suffix == ".mp4" else _xmp_of_picture(path)
    found = _PROPERTY.search(xmp or b"")
    return found[1].decode() if found else None


def _xmp_of_picture(path: Path) -> bytes | None:
    with Image.open(path) as image:
        image.load()
        return image.info.get("xmp") or image.info.get("XML:com.adobe.xmp", "").encode()


def _xmp_of_mp4(content: bytes) -> bytes | None:
    """Goes through the boxes of a file, which must fill it exactly."""
    place, xmp = 0, None
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        assert 8 <= size <= len(content) - place, (place, size)
        if content[place + 4 : place + 24] == b"uuid" + _XMP_BOX:
            xmp = content[place + 24 : place + size]
        place += size
    return xmp
