import numpy as np

from benchmarks.parity import FLOAT32, PLAIN_KERNELS, difference


def picture(shift: int = 0) -> np.ndarray:
    gradient = np.linspace(0, 200, 64 * 64 * 3).reshape(64, 64, 3)
    return (gradient + shift).astype(np.uint8)


def test_rounding_passes_and_other_colors_do_not():
    assert difference(picture(1), picture(), PLAIN_KERNELS, "stylizer").passed
    assert not difference(picture(9), picture(), PLAIN_KERNELS, "stylizer").passed
    assert not difference(picture()[..., ::-1], picture(40), FLOAT32, "stylizer").passed
    assert not difference(np.zeros_like(picture()), picture(), FLOAT32, "end_to_end").passed


def test_quantized_models_may_round_more():
    assert not difference(picture(4), picture(), PLAIN_KERNELS, "stylizer").passed
    assert difference(picture(4), picture(), PLAIN_KERNELS, "stylizer", quantized=True).passed
    assert not difference(picture(9), picture(), PLAIN_KERNELS, "stylizer", quantized=True).passed


def test_differences_do_not_wrap_around():
    found = difference(picture(), picture(3), PLAIN_KERNELS, "stylizer")
    assert (found.mean, found.maximum, found.unit) == (3.0, 3.0, "grey levels")


def test_what_cannot_be_compared_is_wrong():
    points = np.zeros((1, 478, 3))
    assert difference(points, points, PLAIN_KERNELS, "landmarks").passed
    assert not difference(points[:, :468], points, PLAIN_KERNELS, "landmarks").passed
    assert not difference(points + np.nan, points, PLAIN_KERNELS, "landmarks").passed
