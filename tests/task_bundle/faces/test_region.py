"""Tests of task_bundle.faces.region."""

from types import SimpleNamespace

import numpy as np
import pytest

from task_bundle.faces.region import Region
from task_bundle.mediapipe_import import import_mediapipe


def _options(left=None, top=0.0, right=1.0, bottom=1.0, rotation=0) -> SimpleNamespace:
    roi = None
    if left is not None:
        roi = SimpleNamespace(left=left, top=top, right=right, bottom=bottom)
    return SimpleNamespace(region_of_interest=roi, rotation_degrees=rotation)


def _region(left: int, top: int, right: int, bottom: int, rotation: int = 0) -> Region:
    """A region of a photo of 200 x 100 pixels."""
    return Region(left / 200, top / 100, right / 200, bottom / 100, rotation)


def test_no_options_are_all_of_the_photo() -> None:
    assert Region.from_options(None, 600, 512) == Region(0, 0, 1, 1, 0)
    assert Region.from_options(_options(), 600, 512) == Region()
    turned = Region.from_options(_options(0, 0, 1, 1, 90), 600, 512)
    assert turned == Region(rotation_degrees=90) and turned.is_all
    assert not Region(right=0.999).is_all


def test_edges_are_what_was_given() -> None:
    region = Region.from_options(_options(0.1, 0.2, 0.504, 0.9996, -90), height=100, width=200)
    assert region == Region(0.1, 0.2, 0.504, 0.9996, -90)
    again = Region.from_options(region.mediapipe_options(import_mediapipe()), 100, 200)
    assert again == region
    assert Region().mediapipe_options(import_mediapipe()).region_of_interest is None


@pytest.mark.parametrize(
    "edges",
    [(0.5, 0, 0.5, 1), (0.6, 0, 0.5, 1), (0, 0.9, 1, 0.1), (-0.1, 0, 1, 1), (0, 0, 1, 1.01)],
)
def test_edges_out_of_order(edges) -> None:
    with pytest.raises(ValueError, match="left < right"):
        Region.from_options(_options(*edges), 100, 100)
    with pytest.raises(ValueError, match="left < right"):
        Region.from_options(_options(float("nan")), 100, 100)


def test_less_than_a_pixel() -> None:
    with pytest.raises(ValueError, match="not a pixel of a 100 x 100 photo"):
        Region.from_options(_options(0.501, 0, 0.502, 1), 100, 100)
    assert Region.from_options(_options(0, 0, 0.5, 1), 1, 2) == Region(right=0.5)


def test_rotation_by_quarters_only() -> None:
    with pytest.raises(ValueError, match="multiple of 90, not 45"):
        Region.from_options(_options(rotation=45), 100, 100)


def test_the_cut_is_a_square_of_the_photos_own_pixels() -> None:
    photo = np.random.default_rng(0).integers(1, 256, (100, 200, 3), np.uint8)
    cut, matrix = _region(80, 10, 100, 70).cut(photo)
    np.testing.assert_array_equal(cut, photo[10:70, 60:120])
    np.testing.assert_array_equal(matrix, [[1, 0, 60], [0, 1, 10]])


def test_the_cut_has_whole_pixels() -> None:
    photo = np.random.default_rng(0).integers(1, 256, (100, 200, 3), np.uint8)
    wanted, _ = _region(80, 10, 140, 70).cut(photo)
    cut, _ = Region(0.4012, 0.096, 0.6988, 0.704).cut(photo)
    np.testing.assert_array_equal(cut, wanted)
    for edge in (0.0, 0.5, 0.99999):
        cut, _ = Region(edge, 0.5, edge + 1e-6, 0.505).cut(photo)
        assert cut.shape == (1, 1, 3) and cut.min() > 0


@pytest.mark.parametrize("rotation", [-90, 0, 90, 180, 270, 360, -450])
def test_the_matrix_leads_back_to_the_photo(rotation: int) -> None:
    photo = np.random.default_rng(0).integers(1, 256, (100, 200, 3), np.uint8)
    cut, matrix = _region(80, 10, 100, 70, rotation).cut(photo)
    assert cut.shape == (60, 60, 3)
    for x, y in ((1, 1), (1, 58), (58, 1), (30, 20)):
        photo_x, photo_y = (matrix @ [x, y, 1]).astype(int)
        np.testing.assert_array_equal(cut[y, x], photo[photo_y, photo_x])
    # After a clockwise rotation, the left side is at the top.
    toward_top = matrix[:, :2] @ [0, -1]
    angle = np.radians(rotation)
    np.testing.assert_allclose(toward_top, [-np.sin(angle), -np.cos(angle)], atol=1e-9)


def test_the_cut_is_black_outside_the_photo() -> None:
    photo = np.full((100, 200, 3), 7, np.uint8)
    cut, matrix = _region(0, 0, 10, 100).cut(photo)
    assert cut.shape == (100, 100, 3) and matrix[:, 2].tolist() == [-45, 0]
    assert cut[:, :45].max() == 0 and cut[:, 45:].min() == 7
    cut, matrix = _region(150, 90, 200, 100).cut(photo)
    assert cut.shape == (50, 50, 3) and matrix[:, 2].tolist() == [150, 70]
    assert cut[:30].min() == 7 and cut[30:].max() == 0
