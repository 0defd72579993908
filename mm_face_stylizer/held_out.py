"""Which pictures no training sees."""

from __future__ import annotations

import pathlib
import zlib

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

_HELD_OUT_EVERY = 10


def is_held_out(name: str) -> bool:
    """Whether a file belongs to the tenth that no training ever sees.

    Decided by the name alone, so that every run and every evaluation agrees: a number divisible by
    ten, or a checksum divisible by ten where the name is no number.

    Args:
      name: File name, with or without folders.
    """
    stem = pathlib.Path(name).stem
    number = int(stem) if stem.isdecimal() else zlib.crc32(stem.encode())
    return number % _HELD_OUT_EVERY == 0
