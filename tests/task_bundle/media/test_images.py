"""Tests of task_bundle.media.images."""

import io
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin, features

from task_bundle.errors import ImageError
from task_bundle.media import images
from task_bundle.media.images import (
    MAX_SIDE,
    PICTURE_SUFFIXES,
    check_image,
    from_pillow,
    load_color_profile,
    load_image,
    save_png,
)


def _png_header(width: int, height: int, extra: bytes = b"") -> bytes:
    """A PNG that promises a size and has no pixels."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size) + extra + _chunk(b"IDAT", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def _jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _chunk_flood() -> bytes:
    """Pieces that Pillow goes through one by one in Python."""
    return _png_header(8, 8, 300_000 * _chunk(b"aaAa", b""))


def _exif_flood() -> bytes:
    """Pieces that Pillow joins, each time copying all before."""
    small = _jpeg(Image.new("RGB", (8, 8)))
    return small[:2] + 1000 * (b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)) + small[2:]


def _scan_flood() -> bytes:
    """Scans that are nearly empty and cost a pass over all pixels each."""
    large = _jpeg(Image.new("L", (4000, 4000)), progressive=True)
    start = large.rindex(b"\xff\xda")
    (length,) = struct.unpack_from(">H", large, start + 2)
    return large[:-2] + 1000 * large[start : start + 2 + length] + large[-2:]


def _tag_flood() -> bytes:
    """A TIFF with tags that are all the whole file each."""
    size = 2_000_000
    numbers = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64}
    tags = {**{tag: None for tag in range(60_000)}, **numbers}
    entries = b"".join(
        struct.pack("<HHII", tag, 1, size - 16, 8)
        if tags[tag] is None
        else struct.pack("<HHII", tag, 4, 1, tags[tag])
        for tag in sorted(tags)
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head + bytes(size - len(head))


def _run_length_bmp() -> bytes:
    """Its pixels would be decoded in Python."""
    header = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 8, 1, 8, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1086, 0, 0, 1078) + header + bytes(1024) + b"\0\1" * 4


def test_the_portrait_is_read(grace_hopper: np.ndarray) -> None:
    assert grace_hopper.shape == (600, 512, 3)
    assert grace_hopper.dtype == np.uint8
    assert 20 < grace_hopper.mean() < 235


def test_png_round_trip(tmp_path: Path, grace_hopper: np.ndarray) -> None:
    path = tmp_path / "a.png"
    save_png(path, grace_hopper)
    np.testing.assert_array_equal(load_image(path), grace_hopper)
    with pytest.raises(FileExistsError, match=r"a\.png"):
        save_png(path, grace_hopper)
    save_png(path, grace_hopper[:10], overwrite=True)
    assert load_image(path).shape == (10, 512, 3)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), [1]]
)
def test_save_refuses_what_is_no_picture(tmp_path: Path, bad: np.ndarray) -> None:
    with pytest.raises(ImageError):
        save_png(tmp_path / "a.png", bad)
    assert not list(tmp_path.iterdir())


def test_unusable_files_are_named(tmp_path: Path, grace_hopper_file: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("I am not a picture")
    (tmp_path / "cut.jpg").write_bytes(grace_hopper_file.read_bytes()[:20_000])
    (tmp_path / "pixelless.png").write_bytes(_png_header(8, 8))
    cases = {
        "missing.jpg": "does not exist",
        "empty.jpg": "is empty",
        "text.jpg": "not a picture",
        "cut.jpg": "truncated",
        "pixelless.png": "cannot be read",
    }
    for name, message in cases.items():
        with pytest.raises(ImageError, match=f"{name}.*{message}"):
            load_image(tmp_path / name)
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)


@pytest.mark.parametrize("tags", [{50706: b"\x01\x04\0\0"}, {254: 1}], ids=["a DNG", "a preview"])
def test_the_preview_in_a_raw_file_is_not_the_picture(
    tmp_path: Path, tags: dict[int, object]
) -> None:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.update(tags)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.tif", tiffinfo=directory)
    with pytest.raises(ImageError, match=r"a\.tif is a camera's raw file, .* export it as JPEG"):
        load_image(tmp_path / "a.tif")


def test_size_is_checked_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    for side in (8_000, 12_000, 60_000):  # Within Pillow's limits, in its warnings, beyond.
        path.write_bytes(_png_header(side, side))
        with pytest.raises(ImageError, match=r"huge\.png .*(megapixels|too big)"):
            load_image(path)
    small = tmp_path / "small.png"
    save_png(small, np.zeros((10, 11, 3), np.uint8))
    assert load_image(small, max_megapixels=0.00011).shape == (10, 11, 3)
    with pytest.raises(ImageError, match="10 x 11|11 x 10"):
        load_image(small, max_megapixels=0.0001)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_chunk_flood, "too many reads"),
        (_exif_flood, "more than 16 EXIF segments"),
        (_scan_flood, "JPEG with 10.. scans"),
        (_tag_flood, "too many reads"),
        (_run_length_bmp, "run-length encoded"),
        (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "known format"),
        (lambda: b"P3 8 8 255 " + b"0 " * 192, "known format"),
    ],
)
def test_headers_that_keep_their_reader_busy(
    tmp_path: Path, content: Callable[[], bytes], reason: str
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content())
    began = time.process_time()
    with pytest.raises(ImageError, match=rf"a\.png .*{reason}"):
        load_image(path)
    assert time.process_time() - began < 2


def test_slow_formats_are_allowed_fewer_pixels(tmp_path: Path) -> None:
    for suffix in ("jpg", "jp2"):
        Image.new("RGB", (40, 50)).save(tmp_path / f"a.{suffix}")
    assert load_image(tmp_path / "a.jpg", max_megapixels=0.002).shape == (50, 40, 3)
    with pytest.raises(ImageError, match="limit for JPEG2000"):
        load_image(tmp_path / "a.jp2", max_megapixels=0.002)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16", "F"])
def test_bands_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    values = np.arange(30 * 20, dtype=np.float32).reshape(30, 20) / 700
    image = Image.fromarray(values)
    if mode == "I;16":
        image = Image.fromarray((values * 65535).astype("<u2"))
    elif mode != "F":
        image = Image.fromarray((values * 255).astype(np.uint8)).convert(mode)
    image.save(tmp_path / "a.tif")
    whole = load_image(tmp_path / "a.tif")
    monkeypatch.setattr(images, "_BAND_PIXELS", 7 * 20)
    np.testing.assert_array_equal(load_image(tmp_path / "a.tif"), whole)
    assert len(np.unique(whole)) > 100


def test_texts_and_damaged_extras_of_a_png_do_not_matter(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "ab" * 1_000_000, zip=True)
    texts.add_itxt("workflow", "ab" * 1_000_000, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    path = tmp_path / "a.png"
    Image.new("P", (4, 8)).save(path, pnginfo=texts, transparency=0)
    content = path.read_bytes()
    damaged = _chunk(b"eXIf", b"abcd")[:-1] + b"?"
    path.write_bytes(content[:33] + damaged + content[33:-12] + damaged + content[-12:])
    assert (load_image(path) == 255).all()
    assert load_image(path).shape == (4, 8, 3)


def _exif(orientation: int, padding: int = 0) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x9286] = orientation, "x" * padding
    return exif.tobytes()


def test_of_endless_exif_the_orientation_is_read(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 8))
    for suffix in ("png", "webp", "avif"):
        for padding in (0, 200_000):
            path = tmp_path / f"{padding}.{suffix}"
            picture.save(path, exif=_exif(6, padding))
            assert load_image(path).shape == (4, 8, 3), path
    for order in "<>":
        tiff = b"II*\0" if order == "<" else b"MM\0*"
        entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, 6, 0)
        tiff += struct.pack(f"{order}IH", 8, 1) + entry + bytes(200_000)
        picture.save(tmp_path / "order.png", exif=tiff)
        assert load_image(tmp_path / "order.png").shape == (4, 8, 3)
    # The text that ImageMagick writes, and EXIF behind the pixels.
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n 200000\n" + _exif(6, 200_000).hex())
    picture.save(tmp_path / "text.png", pnginfo=text)
    picture.save(tmp_path / "late.png")
    end = (tmp_path / "late.png").read_bytes()
    late = _chunk(b"eXIf", _exif(6, 200_000).removeprefix(b"Exif\0\0"))
    (tmp_path / "late.png").write_bytes(end[:-12] + late + end[-12:])
    for name in ("text.png", "late.png"):
        assert load_image(tmp_path / name).shape == (4, 8, 3)


@pytest.mark.parametrize("suffix", ["png", "webp", "avif", "jpg"])
@pytest.mark.parametrize(
    "exif",
    [
        b"no exif",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0II",
        _exif(1)[:-9],
        b"Exif\0\0" + b"\xff" * 200_000,
    ],
)
def test_damaged_exif_does_not_matter(tmp_path: Path, suffix: str, exif: bytes) -> None:
    path = tmp_path / f"a.{suffix}"
    picture = Image.new("RGB", (4, 8), (200, 200, 200))
    if suffix == "jpg":
        small = _jpeg(picture)
        exif = exif[:60_000]
        path.write_bytes(
            small[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + small[2:]
        )
    elif suffix == "avif":
        # libavif itself refuses EXIF without a TIFF header, so a valid one is damaged afterwards.
        picture.save(path, exif=_exif(1, len(exif)))
        content = bytearray(path.read_bytes())
        start = content.index(b"MM\0*") + 4
        content[start : start + len(exif)] = exif
        path.write_bytes(content)
    else:
        picture.save(path, exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(path).shape == (8, 4, 3)
        assert load_color_profile(path) is None


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1))])
def test_exif_orientation(tmp_path: Path, orientation: int, corner: tuple[int, int]) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:16, :16] = 255
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    loaded = load_image(tmp_path / "a.jpg")
    assert loaded.shape == ((80, 40, 3) if orientation == 6 else (40, 80, 3))
    assert loaded[corner].min() > 240
    assert (loaded > 128).sum() == pytest.approx(16 * 16 * 3, rel=0.05)


def test_alpha_is_laid_over_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (200, 0, 0, 255)
    pixels[1, 1] = (0, 0, 0, 128)
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    loaded = load_image(tmp_path / "rgba.png")
    assert loaded[0, 0].tolist() == [200, 0, 0]
    assert loaded[0, 1].tolist() == [255, 255, 255]
    assert loaded[1, 1] == pytest.approx([127] * 3, abs=1)

    Image.fromarray(pixels).convert("LA").save(tmp_path / "la.png")
    assert load_image(tmp_path / "la.png")[0, 1].tolist() == [255, 255, 255]

    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=1)
    assert load_image(tmp_path / "p.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_grey_and_cmyk(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 77, 255]], np.uint8)).save(tmp_path / "l.png")
    assert load_image(tmp_path / "l.png").tolist() == [[[v] * 3 for v in (0, 77, 255)]]
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.tif")
    red = load_image(tmp_path / "c.tif")[0, 0]
    assert red[0] > 200 and red[1] < 60 and red[2] < 60
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "one.png")
    assert load_image(tmp_path / "one.png")[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(("dtype", "suffix"), [("u2", "png"), ("i4", "tif"), ("f4", "tif")])
def test_sixteen_bits_keep_their_range(tmp_path: Path, dtype: str, suffix: str) -> None:
    values = np.array([[0, 257, 32896, 65535]], f"<{dtype}")
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(values).save(path)
    assert load_image(path)[0, :, 1].tolist() == [0, 1, 128, 255]


def test_unit_range_floats(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "f.tif")
    assert load_image(tmp_path / "f.tif")[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("dtype", "white"),
    [
        *((f"u2:{bits}", 2**bits - 1) for bits in (8, 10, 12, 14, 16)),
        *((f"i4:{bits}", 2**bits - 1) for bits in (8, 12, 16, 24, 31)),
        ("u4:32", 2**32 - 1),
        *((f"f4:{white}", white) for white in (1.0, 255, 4095, 65535)),
    ],
)
def test_white_is_white_whatever_it_is_called(tmp_path: Path, dtype: str, white: float) -> None:
    kind = dtype.partition(":")[0]
    values = (np.array([[0.0, 0.25, 0.5, 1.0]]) * white).astype(f"<{kind}")
    path = tmp_path / "gray.tif"
    Image.fromarray(values.view("<i4") if kind == "u4" else values).save(path)
    if kind == "u4":
        # Pillow writes only signed numbers of 32 bits: this is the entry of the sample format.
        signed = struct.pack("<HHIHH", 339, 3, 1, 2, 0)
        content = path.read_bytes()
        assert signed in content
        path.write_bytes(content.replace(signed, struct.pack("<HHIHH", 339, 3, 1, 1, 0)))
    assert load_image(path)[0, :, 1].tolist() == pytest.approx([0, 64, 128, 255], abs=1)


def test_floats_that_exceed_white(tmp_path: Path) -> None:
    path = tmp_path / "f.tif"
    for values, wanted in (
        ([-0.05, 0.5, 1.05], [0, 128, 255]),
        ([np.nan, 0.5, 1.0], [0, 128, 255]),
        ([np.inf, 0.5, 1.0], [0, 128, 255]),
        ([-3.0, 127.5, 262.0], [0, 128, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ):
        Image.fromarray(np.array([values], np.float32)).save(path)
        assert load_image(path)[0, :, 2].tolist() == wanted


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_inverted_grey_is_turned_back(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "n.tif"
    white = np.iinfo(dtype).max
    Image.fromarray(np.array([[0, white // 4, white]], f"<{dtype}")).save(path)
    # Pillow inverts some of these when it writes them, so the tag is changed afterwards.
    content, entry = path.read_bytes(), struct.pack("<HHIH", 262, 3, 1, 1)
    assert entry in content
    path.write_bytes(content.replace(entry, struct.pack("<HHIH", 262, 3, 1, 0)))
    assert load_image(path)[0, :, 0].tolist() in ([255, 192, 0], [255, 191, 0])


@pytest.mark.parametrize("size", [(2, MAX_SIDE + 1), (MAX_SIDE + 1, 2)])
def test_sides_that_opencv_cannot_address(tmp_path: Path, size: tuple[int, int]) -> None:
    long = Image.new("RGB", size)
    long.save(tmp_path / "long.png")
    reason = rf"{size[0]} x {size[1]} pixels; a side may have 32766"
    with pytest.raises(ImageError, match=rf"long\.png has {reason}"):
        load_image(tmp_path / "long.png")
    with pytest.raises(ImageError, match=reason):
        from_pillow(long)
    with pytest.raises(ImageError, match=reason):
        check_image(np.asarray(long))
    save_png(tmp_path / "sheet.png", np.asarray(long))
    long.crop((0, 0, min(size[0], MAX_SIDE), min(size[1], MAX_SIDE))).save(tmp_path / "fits.png")
    assert max(load_image(tmp_path / "fits.png").shape) == MAX_SIDE


def test_what_follows_a_jpeg_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "motion.jpg"
    photo = Image.effect_noise((1200, 1000), 60).convert("RGB")
    film = 1000 * (b"\xff\xda\0\0" + b"\xff\xe1\0\x08Exif\0\0")
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 1}):
        small = _jpeg(photo, **options)
        path.write_bytes(small + film)
        assert load_image(path).shape == (1000, 1200, 3)
        # A thumbnail or a map in the header, and fill bytes.
        comment = b"\xff\xfe\xff\xff" + (film + bytes(65536))[:65533]
        path.write_bytes(small[:2] + comment + b"\xff\xff" + small[2:])
        assert load_image(path).shape == (1000, 1200, 3)


def test_no_end_of_image_hides_scans(tmp_path: Path) -> None:
    flood = _scan_flood()
    for content in (flood[:2] + b"\xff\xd9" + flood[2:], flood[:-2]):
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(ImageError):
            load_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(flood[:2] + 600_000 * b"\xff\xfe\0\2" + flood[2:])
    began = time.process_time()
    with pytest.raises(ImageError, match="too many reads"):
        load_image(tmp_path / "a.jpg")
    assert time.process_time() - began < 2


def test_the_suffixes_are_those_of_the_formats() -> None:
    Image.init()
    formats = Image.registered_extensions()
    assert {s for s, f in formats.items() if f in images._FORMATS} == PICTURE_SUFFIXES


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif", "tif"])
def test_only_the_first_frame_is_used_and_that_is_said(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"a.{suffix}"
    frames = [Image.new("RGB", (8, 8), color) for color in ("white", "red", "black")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert load_image(path).min() > 250
    kind = "pages" if suffix == "tif" else "frames"
    assert caplog.messages == [f"{path} has several {kind}; only the first is used"]
    frames[0].save(path)
    load_image(path)
    assert len(caplog.messages) == 1


def _pq_signal(color: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """The BT.2020 signal in [0, 1] by ITU-R BT.2100 if white paper has 203 cd/m2."""
    to_bt2020 = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    light = np.array(to_bt2020) @ (np.array(color) / 255) ** 2.4 * 203 / 10000
    power = light**0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def _png_of_16_bits(signal: npt.NDArray[np.float64], primaries: int, transfer: int) -> bytes:
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    row = b"\0" + np.tile(np.rint(signal * 65535).astype(">u2"), 8).tobytes()
    colors = bytes([primaries, transfer, 0, 1])
    chunks = (
        (b"IHDR", header),
        (b"cICP", colors),
        (b"IDAT", zlib.compress(8 * row)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize("color", [(150, 150, 150), (30, 60, 190), (190, 60, 40)])
def test_a_picture_for_hdr_screens_gets_the_colors_of_ordinary_screens(
    tmp_path: Path, color: tuple[int, int, int]
) -> None:
    path = tmp_path / "hdr.png"
    path.write_bytes(_png_of_16_bits(_pq_signal(color), 9, 16))
    assert np.abs(load_image(path)[4, 4].astype(int) - color).max() <= 8
    # The same numbers without HDR are other colors.
    path.write_bytes(_png_of_16_bits(_pq_signal(color), 1, 13))
    assert np.abs(load_image(path)[4, 4].astype(int) - color).max() > 30


def _p3_avif(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (160, 90, 80)).save(buffer, "AVIF", quality=100, **options)
    before, box, colors = buffer.getvalue().partition(b"colrnclx")
    assert box
    return before + box + struct.pack(">HH", 12, 13) + colors[4:]


@pytest.mark.skipif("AVIF" not in images._FORMATS or not features.check("avif"), reason="no AVIF")
def test_the_color_space_of_an_avif_counts_unless_there_is_a_profile(tmp_path: Path) -> None:
    path, profile = tmp_path / "p3.avif", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    path.write_bytes(_p3_avif())
    assert np.abs(load_image(path)[32, 32].astype(int) - (171, 85, 76)).max() <= 4
    path.write_bytes(_p3_avif(icc_profile=profile.tobytes()))
    assert np.abs(load_image(path)[32, 32].astype(int) - (160, 90, 80)).max() <= 4
    assert load_color_profile(path) == profile.tobytes()


def test_the_profile_of_converted_pixels_does_not_go_on(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", icc_profile=b"profile")
    content = buffer.getvalue()
    place = content.index(b"IDAT") - 4
    path = tmp_path / "a.png"
    path.write_bytes(content[:place] + _chunk(b"cICP", bytes([12, 13, 0, 1])) + content[place:])
    assert load_color_profile(path) is None


def test_signed_gray_tiff(tmp_path: Path) -> None:
    gray = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    signed = struct.pack("<HHIHH", 339, 3, 1, 2, 0)
    unsigned = struct.pack("<HHIHH", 339, 3, 1, 1, 0)
    path = tmp_path / "a.tif"
    for bits, levels in ((16, np.rint(gray / 255.0 * 32767).astype(np.uint16)), (8, gray // 2)):
        tags = {339: 1}
        Image.fromarray(levels).save(path, tiffinfo=tags)
        content = path.read_bytes()
        assert unsigned in content
        path.write_bytes(content.replace(unsigned, signed))
        if bits == 16:
            read = load_image(path).astype(int)
            np.testing.assert_allclose(read, gray[..., None].repeat(3, 2), atol=1)
        else:
            with pytest.raises(ImageError, match="a.tif is a TIFF of signed numbers of 8 bits"):
                load_image(path)


def test_dark_compressed_planes_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.tif"
    twelve = np.full((8, 16, 3), 4095, np.uint16)
    path.write_bytes(_tiff_of_16_bits(twelve, "<", has_planes=True, is_compressed=True))
    assert load_image(path).max() == 15
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} is dark: if its colors have fewer than 16 bits, save it uncompressed"
    ]


def _tiff_of_16_bits(
    pixels: npt.NDArray[np.uint16], order: str, has_planes: bool, is_compressed: bool
) -> bytes:
    """Has [height, width, 3] pixels, behind each other or in planes; tags in 512 bytes."""
    height, width = pixels.shape[:2]
    planes = pixels.transpose(2, 0, 1) if has_planes else pixels[None]
    strips = [plane.astype(f"{order}u2").tobytes() for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if is_compressed else strips
    compression = (8,) if is_compressed else (1,)
    tags = {256: (width,), 257: (height,), 258: (16,) * 3, 259: compression, 262: (2,), 277: (3,)}
    tags |= {278: (height,), 279: tuple(map(len, strips)), 284: (1 + has_planes,)}
    tags |= {273: tuple(512 + len(b"".join(strips[:number])) for number in range(len(strips)))}
    entries = extra = b""
    for tag, values in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}H", *values).ljust(4, b"\0")
        if len(data) > 4:
            data, extra = struct.pack(f"{order}I", 256 + len(extra)), extra + data
        entries += struct.pack(f"{order}HHI", tag, 3, len(values)) + data
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(tags))
    head = (start + entries).ljust(256, b"\0") + extra.ljust(256, b"\0")
    return head + b"".join(strips)


_FORMS = [(False, False), (False, True), (True, False)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("has_planes", "is_compressed", "bits"),
    [*((*form, bits) for form in _FORMS for bits in (8, 12, 14, 16)), (True, True, 16)],
)
def test_colors_of_16_bits(
    tmp_path: Path, order: str, has_planes: bool, is_compressed: bool, bits: int
) -> None:
    """In planes as tifffile writes arrays of shape [3, height, width]."""
    colors = np.zeros((8, 16, 3), np.uint8)
    colors[:4], colors[4:], colors[0, 0] = (200, 60, 40), (200, 60, 0), 255
    path = tmp_path / "a.tif"
    deep = np.rint(colors / 255 * (2**bits - 1)).astype(np.uint16)
    path.write_bytes(_tiff_of_16_bits(deep, order, has_planes, is_compressed))
    np.testing.assert_allclose(load_image(path).astype(int), colors, atol=1)
