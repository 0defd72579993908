"""Small pictures with unusual formats and metadata, for `fuzz_bundles` to damage."""

import io
import struct
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, features


def make_pictures() -> list[bytes]:
    """Makes small pictures of the kinds that phones, scanners and animations are made of.

    Returns:
      Contents of picture files: formats, metadata and pixels that `load_image` treats specially.
    """
    color = Image.linear_gradient("L").resize((48, 32)).convert("RGB")
    gray = np.asarray(color.convert("L"))
    exif = Image.Exif()
    exif[0x0112], exif[0x9286] = 6, "x" * 200_000
    short_exif = Image.Exif()
    short_exif[0x0112] = 6
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type exif", "\nexif\n 26\n" + short_exif.tobytes().hex())
    texts.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>', zip=True)

    hdr = PngImagePlugin.PngInfo()
    hdr.add(b"cICP", bytes((9, 16, 0, 1)))
    damaged_exif = b"Exif\0\0II*\0\xff\xff\xff\x7f"

    def frames() -> dict[str, Any]:
        # New images, because Pillow leaves settings of one format in them, which others refuse.
        return {"save_all": True, "append_images": [color.rotate(90)]}

    wanted: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (color, "PNG", {"exif": exif}),
        (color, "PNG", {"pnginfo": texts}),
        (color, "PNG", {"pnginfo": hdr}),
        (color, "WEBP", {"exif": exif, **frames()}),
        (color, "JPEG", {"exif": short_exif, "progressive": True}),
        (color, "MPO", frames()),
        (color, "GIF", frames()),
        (color, "TIFF", {"exif": short_exif, **frames()}),
        (color, "JPEG2000", {}),
        (color, "BMP", {}),
        (color, "PNG", {"exif": damaged_exif}),
        (color, "WEBP", {"exif": damaged_exif, "lossless": True}),
        (color.convert("CMYK"), "JPEG", {}),
        (color.convert("LAB"), "TIFF", {}),
        (color.quantize(16), "PNG", {"transparency": bytes(range(0, 256, 16))}),
        (color.convert("LA"), "PNG", {}),
        (color.convert("1"), "TIFF", {"compression": "group4"}),
        (Image.fromarray(gray.astype("<u2") * 257), "PNG", {}),
        (Image.fromarray(gray.astype("<u2") * 16), "TIFF", {}),
        (Image.fromarray(gray.astype("<i4") * 2**23), "TIFF", {}),
        (Image.fromarray(gray.astype("<f4") / 255), "TIFF", {"compression": "tiff_lzw"}),
    ]
    if features.check("avif"):
        wanted.append((color, "AVIF", {"exif": short_exif}))
    pictures = [_dark_planes()]
    for image, kind, options in wanted:
        buffer = io.BytesIO()
        image.copy().save(buffer, kind, **options)
        pictures.append(buffer.getvalue())
    # A motion photo is a JPEG that a film follows.
    film = 100 * b"\xff\xda\0\0\xff\xe1\0\x08Exif\0\0"
    return [*pictures, pictures[3] + film]


def _dark_planes() -> bytes:
    """A TIFF whose colors of 16 bits lie one behind the other and use 12 bits."""
    width, height = 48, 32
    size = 2 * width * height
    values = {256: (width,), 257: (height,), 258: (16,) * 3, 259: (1,), 262: (2,), 277: (3,)}
    values |= {273: (256, 256 + size, 256 + 2 * size), 278: (height,), 279: (size,) * 3, 284: (2,)}
    entries = lists = b""
    for tag, numbers in sorted(values.items()):
        data = struct.pack(f"<{len(numbers)}H", *numbers).ljust(4, b"\0")
        if len(data) > 4:
            data, lists = struct.pack("<I", 192 + len(lists)), lists + data
        entries += struct.pack("<HHI", tag, 3, len(numbers)) + data
    head = b"II*\0" + struct.pack("<IH", 8, len(values)) + entries
    ramp = np.linspace(0, 4095, 3 * width * height).astype("<u2")
    return head.ljust(192, b"\0") + lists.ljust(64, b"\0") + ramp.tobytes()
