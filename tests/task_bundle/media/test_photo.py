"""Tests of task_bundle.media.photo."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from task_bundle.errors import ImageError
from task_bundle.media.photo import as_photo
from task_bundle.mediapipe_import import import_mediapipe


def test_files_are_read(grace_hopper_file: Path, grace_hopper: np.ndarray) -> None:
    np.testing.assert_array_equal(as_photo(grace_hopper_file), grace_hopper)
    np.testing.assert_array_equal(as_photo(str(grace_hopper_file)), grace_hopper)
    with pytest.raises(ImageError, match="nothing.jpg does not exist"):
        as_photo("nothing.jpg")


def test_arrays_are_checked_and_converted() -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    wanted = np.stack([gray] * 3, axis=2)
    np.testing.assert_array_equal(as_photo(gray), wanted)
    np.testing.assert_array_equal(as_photo(gray[..., None]), wanted)
    assert as_photo(wanted) is wanted
    opaque = np.dstack([wanted, np.full((3, 4), 255, np.uint8)])
    np.testing.assert_array_equal(as_photo(opaque), wanted)
    transparent = np.dstack([wanted, np.zeros((3, 4), np.uint8)])
    assert as_photo(transparent).min() == 255


def test_pillow_images(grace_hopper_file: Path, grace_hopper: np.ndarray) -> None:
    with PIL.Image.open(grace_hopper_file) as image:
        np.testing.assert_array_equal(as_photo(image), grace_hopper)
    turned = PIL.Image.fromarray(grace_hopper)
    turned.getexif()[0x0112] = 3  # Upside down.
    np.testing.assert_array_equal(as_photo(turned), grace_hopper[::-1, ::-1])
    palette = PIL.Image.new("P", (2, 2))
    assert as_photo(palette).shape == (2, 2, 3)
    with pytest.raises(ImageError):
        as_photo(PIL.Image.new("RGB", (0, 3)))


def test_a_pillow_image_of_a_damaged_file(tmp_path: Path, grace_hopper_file: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(grace_hopper_file.read_bytes()[:20000])
    with PIL.Image.open(tmp_path / "cut.jpg") as image, pytest.raises(ImageError, match="truncat"):
        as_photo(image)


def test_mediapipe_images(grace_hopper: np.ndarray) -> None:
    mediapipe = import_mediapipe()
    formats = mediapipe.ImageFormat
    image = mediapipe.Image(image_format=formats.SRGB, data=np.array(grace_hopper))
    np.testing.assert_array_equal(as_photo(image), grace_hopper)
    alpha = np.full(grace_hopper.shape[:2], 255, np.uint8)
    image = mediapipe.Image(image_format=formats.SRGBA, data=np.dstack([grace_hopper, alpha]))
    np.testing.assert_array_equal(as_photo(image), grace_hopper)
    gray = np.ascontiguousarray(grace_hopper[..., 1])
    image = mediapipe.Image(image_format=formats.GRAY8, data=gray)
    np.testing.assert_array_equal(as_photo(image)[..., 2], gray)
    deep = mediapipe.Image(image_format=formats.GRAY16, data=gray.astype(np.uint16))
    with pytest.raises(ImageError, match="one of the formats SRGB"):
        as_photo(deep)


def test_bgr_arrays_are_converted_to_rgb() -> None:
    pixels = np.array([[[1, 2, 3, 255]]], np.uint8)
    formats = import_mediapipe().ImageFormat
    if not hasattr(formats, "SBGRA"):
        pytest.skip("this mediapipe has no BGRA images; 0.10.21 has")
    image = SimpleNamespace(image_format=formats.SBGRA, numpy_view=lambda: pixels)
    assert as_photo(image).ravel().tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    "bad, message",
    [
        (np.zeros((4, 4, 3)), "float64"),
        (np.zeros((4, 4, 2), np.uint8), r"\[4, 4, 2\]"),
        (np.zeros((0, 4, 3), np.uint8), r"\[0, 4, 3\]"),
        (np.zeros(4, np.uint8), r"\[4\]"),
        (None, "not NoneType"),
        ([[1]], "not list"),
    ],
)
def test_other_objects_are_refused(bad, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        as_photo(bad)
