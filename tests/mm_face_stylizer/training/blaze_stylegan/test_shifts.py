import numpy as np
import pytest

from mm_face_stylizer.training.blaze_stylegan.shifts import random_shifts, shifted, unshifted


def test_shifting_moves_each_picture_by_its_own():
    images = np.random.default_rng(0).random((2, 16, 16, 3)).astype(np.float32)
    result = shifted(images, np.array([[4, 4], [5, 2]], np.int32)).numpy()
    np.testing.assert_array_equal(result[0], images[0])
    np.testing.assert_array_equal(result[1, :15, 2:], images[1, 1:, :14])
    shifts = random_shifts(np.random.default_rng(0), 1000)
    assert shifts.min() == 0 and shifts.max() == 8


@pytest.mark.parametrize(("side", "moved"), [(16, [-2, 3]), (256, [-2, 3]), (512, [-4, 6])])
def test_landmarks_go_back_to_where_they_were(side, moved):
    image = np.zeros((1, side, side, 3), np.float32)
    image[0, 9, 10] = 1.0
    shifts = np.array([[6, 1]], np.int32)
    row, column = np.argwhere(shifted(image, shifts).numpy()[0, ..., 0])[0]
    assert [row - 9, column - 10] == moved
    seen = np.array([[[column, row, 0.0]]]) / side
    np.testing.assert_allclose(side * unshifted(seen, shifts, side), [[[10, 9]]])
