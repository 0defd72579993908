"""Small pictures with unusual formats and metadata, for `fuzz_bundles` to damage."""

import io
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

    damaged_exif = b"Exif\0\0II*\0\xff\xff\xff\x7f"

    def frames() -> dict[str, Any]:
        # New images, because Pillow leaves settings of one format in them, which others refuse.
        return {"save_all": True, "append_images": [color.rotate(90)]}

    wanted: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (color, "PNG", {"exif": exif}),
        (color, "PNG", {"pnginfo": texts}),
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
    pictures = []
    for image, kind, options in wanted:
        buffer = io.BytesIO()
        image.copy().save(buffer, kind, **options)
        pictures.append(buffer.getvalue())
    # A motion photo is a JPEG that a film follows.
    film = 100 * b"\xff\xda\0\0\xff\xe1\0\x08Exif\0\0"
    return [*pictures, pictures[3] + film]
