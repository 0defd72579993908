"""Tests of task_bundle.images."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from task_bundle.errors import ImageError
from task_bundle.images import load_image, save_png


def _png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
        + struct.pack(">I", 0)
        + b"IDAT"
        + struct.pack(">I", zlib.crc32(b"IDAT"))
    )


def test_portrait(grace_hopper: np.ndarray) -> None:
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
