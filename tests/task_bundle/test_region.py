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
    cut, origin = region.cut(photo)
    assert cut is photo and origin == (0.0, 0.0)


def test_edges_are_whole_pixels() -> None:
    region = Region.from_options(_options(0.1, 0.2, 0.504, 0.9996, -90), height=100, width=200)
    assert region == Region(20, 20, 101, 100, -90)


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
    with pytest.raises(ValueError, match="no pixels of a 100 x 100 photo"):
        Region.from_options(_options(0.501, 0, 0.502, 1), 100, 100)


def test_rotation_by_quarters_only() -> None:
    with pytest.raises(ValueError, match="multiple of 90, not 45"):
        Region.from_options(_options(rotation=45), 100, 100)


def test_the_cut_is_a_square_of_the_photos_own_pixels() -> None:
    photo = np.random.default_rng(0).integers(1, 256, (100, 200, 3), np.uint8)
    cut, origin = Region(80, 10, 100, 70).cut(photo)
    assert cut.shape == (60, 60, 3) and origin == (60.0, 10.0)
    np.testing.assert_array_equal(cut, photo[10:70, 60:120])
    # A pixel less where the square's edges lie between pixels.
    cut, origin = Region(80, 10, 101, 70).cut(photo)
    assert cut.shape == (60, 59, 3) and origin == (61.0, 10.0)


def test_the_cut_is_black_outside_the_photo() -> None:
    photo = np.full((100, 200, 3), 7, np.uint8)
    cut, origin = Region(0, 0, 10, 100).cut(photo)
    assert cut.shape == (100, 100, 3) and origin == (-45.0, 0.0)
    assert cut[:, :45].max() == 0 and cut[:, 45:].min() == 7
    cut, origin = Region(150, 90, 200, 100).cut(photo)
    assert cut.shape == (50, 50, 3) and origin == (150.0, 70.0)
    assert cut[:30].min() == 7 and cut[30:].max() == 0
