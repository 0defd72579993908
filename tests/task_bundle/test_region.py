"""Tests of task_bundle.region."""

from types import SimpleNamespace

import numpy as np
import pytest

from task_bundle.region import Region


def _options(left=None, top=0.0, right=1.0, bottom=1.0, rotation=0) -> SimpleNamespace:
    roi = None
    if left is not None:
        roi = SimpleNamespace(left=left, top=top, right=right, bottom=bottom)
    return SimpleNamespace(region_of_interest=roi, rotation_degrees=rotation)


def test_no_options_are_all_of_the_photo() -> None:
    region = Region.from_options(None, height=600, width=512)
    assert region == Region(0, 0, 512, 600)
    assert region == Region.from_options(_options(), 600, 512)
    photo = np.zeros((600, 512, 3), np.uint8)
    assert region.covers(photo)


def test_edges_are_whole_pixels() -> None:
    region = Region.from_options(_options(0.1, 0.2, 0.504, 0.9996, -90), height=100, width=200)
    assert region == Region(20, 20, 100, 100, -90)
    assert Region.from_options(_options(0, 0, 1, 1), 599, 511) == Region(0, 0, 511, 599)
    assert Region.from_options(_options(0, 0, 0.5, 1), 1, 2) == Region(0, 0, 1, 1)


def test_the_square_is_on_the_detectors_grid_and_hardly_moved() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = rng.integers(40, 400, 2).tolist()
        (left, right), (top, bottom) = np.sort(rng.uniform(0, 1, (2, 2)), axis=1).tolist()
        if (right - left) * width < 8 or (bottom - top) * height < 8:
            continue
        region = Region.from_options(_options(left, top, right, bottom), height, width)
        columns, rows = region.right - region.left, region.bottom - region.top
        assert max(columns, rows) % 4 == 0 and (columns - rows) % 2 == 0
        assert 0 <= region.left < region.right <= width
        assert 0 <= region.top < region.bottom <= height
        wanted = [left * width, top * height, right * width, bottom * height]
        found = [region.left, region.top, region.right, region.bottom]
        assert np.abs(np.subtract(found, wanted)).max() <= 4
        center = [(found[0] + found[2]) / 2, (found[1] + found[3]) / 2]
        np.testing.assert_allclose(
            center, [(wanted[0] + wanted[2]) / 2, (wanted[1] + wanted[3]) / 2], atol=2
        )


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


def test_rotation_by_quarters_only() -> None:
    with pytest.raises(ValueError, match="multiple of 90, not 45"):
        Region.from_options(_options(rotation=45), 100, 100)


def test_the_cut_is_a_square_of_the_photos_own_pixels() -> None:
    photo = np.random.default_rng(0).integers(1, 256, (100, 200, 3), np.uint8)
    cut, matrix = Region(80, 10, 100, 70).cut(photo)
    np.testing.assert_array_equal(cut, photo[10:70, 60:120])
    np.testing.assert_array_equal(matrix, [[1, 0, 60], [0, 1, 10]])


@pytest.mark.parametrize("rotation", [-90, 0, 90, 180, 270, 360, -450])
def test_the_matrix_leads_back_to_the_photo(rotation: int) -> None:
    photo = np.random.default_rng(0).integers(1, 256, (100, 200, 3), np.uint8)
    cut, matrix = Region(80, 10, 100, 70, rotation).cut(photo)
    assert cut.shape == (60, 60, 3)
    for x, y in ((1, 1), (1, 58), (58, 1), (30, 20)):
        photo_x, photo_y = (matrix @ [x, y, 1]).astype(int)
        np.testing.assert_array_equal(cut[y, x], photo[photo_y, photo_x])
    # Turned clockwise: what was on the left is at the top.
    toward_top = matrix[:, :2] @ [0, -1]
    angle = np.radians(rotation)
    np.testing.assert_allclose(toward_top, [-np.sin(angle), -np.cos(angle)], atol=1e-9)


def test_the_cut_is_black_outside_the_photo() -> None:
    photo = np.full((100, 200, 3), 7, np.uint8)
    cut, matrix = Region(0, 0, 10, 100).cut(photo)
    assert cut.shape == (100, 100, 3) and matrix[:, 2].tolist() == [-45, 0]
    assert cut[:, :45].max() == 0 and cut[:, 45:].min() == 7
    cut, matrix = Region(150, 90, 200, 100).cut(photo)
    assert cut.shape == (50, 50, 3) and matrix[:, 2].tolist() == [150, 70]
    assert cut[:30].min() == 7 and cut[30:].max() == 0
