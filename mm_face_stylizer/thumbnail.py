"""A small picture that a bundle carries, of what it does."""

from __future__ import annotations

import io

import numpy as np

from task_bundle.media.source_type import xmp_packet

_SIDE, _QUALITY = 128, 85


def thumbnail(picture: np.ndarray) -> bytes:
    """Returns a picture, uint8 [side, side, 3], as a small JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    small = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    small.save(buffer, "JPEG", quality=_QUALITY, xmp=xmp_packet().encode())
    return buffer.getvalue()
