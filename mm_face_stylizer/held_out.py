"""Selects the images that are held out from all training."""

from __future__ import annotations

import os
import pathlib
import zlib

from task_bundle.media import images

PICTURE_SUFFIXES = tuple(sorted(images.PICTURE_SUFFIXES))

_HELD_OUT_EVERY = 10


def is_held_out(name: str) -> bool:
    """Returns whether a file is held out from training, which about one file in ten is.

    Only the file name decides, so all training runs and evaluations agree. A file is held out if
    its name without the extension is a number divisible by ten. If the name is not a number, the
    CRC-32 of the name is used instead.

    Args:
      name: File name, with or without folders.
    """
    stem = pathlib.Path(name).stem
    number = int(stem) if stem.isdecimal() else zlib.crc32(os.fsencode(stem))
    return number % _HELD_OUT_EVERY == 0
