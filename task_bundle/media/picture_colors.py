"""Reads in which color space the pixels of a picture are, where the file says so in numbers."""

import struct

# The chunk of a PNG, and the box of an AVIF file, with numbers of ITU-T H.273 for the primaries and
# the transfer function.
_PNG_CHUNK = b"\0\0\0\x04cICP"
_PNG_PIXELS = b"IDAT"
_AVIF_BOX = b"colrnclx"
_AVIF_PROFILES = (b"colrprof", b"colrrICC")


def coded_colors(content: bytes) -> tuple[int, int] | None:
    """Reads the color space of a PNG or AVIF file.

    Args:
      content: the content of the file.

    Returns:
      The numbers of the primaries and of the transfer function in ITU-T H.273; None if the file
      states none, or if an ICC profile counts in their place.
    """
    if content.startswith(b"\x89PNG"):
        place = content.find(_PNG_CHUNK, 0, max(0, content.find(_PNG_PIXELS)))
        numbers = content[place + 8 : place + 10]
        return (numbers[0], numbers[1]) if place >= 0 and len(numbers) == 2 else None
    if content[4:8] == b"ftyp":
        # The first are those of the picture; others belong to maps that go with it.
        place = content.find(_AVIF_BOX)
        if place < 0 or any(box in content[: place + 2**12] for box in _AVIF_PROFILES):
            return None
        return struct.unpack_from(">HH", content[place + 8 : place + 12].ljust(4, b"\0"))
    return None
