import numpy as np
import pytest

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.evaluation.kernel_distance import kernel_distance


def _features(count, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(shift, 1.0, (count, 16))


def test_the_same_distribution_has_no_distance():
    found = kernel_distance(_features(200), _features(150, seed=1))
    assert abs(found.value) < 0.1
    assert found.interval[0] < 0.0 < found.interval[1]


def test_distance_grows_with_the_shift():
    near, far = (kernel_distance(_features(100), _features(100, s, 1)).value for s in (0.3, 1.0))
    assert 0.1 < near < far / 4


def test_it_is_the_mean_of_kernels_without_each_picture_and_itself():
    a, b = _features(5), _features(4, 0.5, 1)

    def mean(x, y, same):
        kernels = [
            (p @ q / 16 + 1.0) ** 3
            for i, p in enumerate(x)
            for j, q in enumerate(y)
            if not (same and i == j)
        ]
        return np.mean(kernels)

    wanted = mean(a, a, True) + mean(b, b, True) - 2.0 * mean(a, b, False)
    assert kernel_distance(a, b).value == pytest.approx(wanted)


def test_too_few_pictures():
    with pytest.raises(InvalidArgumentError, match="not 3 and 4"):
        kernel_distance(_features(3), _features(4))
