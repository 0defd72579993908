import numpy as np

from mm_face_stylizer.training.shifts import random_shifts, shifted, unshifted


def test_shifting_moves_each_picture_by_its_own():
    images = np.random.default_rng(0).random((2, 16, 16, 3)).astype(np.float32)
    result = shifted(images, np.array([[4, 4], [5, 2]], np.int32)).numpy()
    np.testing.assert_array_equal(result[0], images[0])
    np.testing.assert_array_equal(result[1, :15, 2:], images[1, 1:, :14])
    shifts = random_shifts(np.random.default_rng(0), 1000)
    assert shifts.min() == 0 and shifts.max() == 8


def test_landmarks_go_back_to_where_they_were():
    image = np.zeros((1, 16, 16, 3), np.float32)
    image[0, 7, 5] = 1.0
    shifts = np.array([[6, 1]], np.int32)
    row, column = np.argwhere(shifted(image, shifts).numpy()[0, ..., 0])[0]
    seen = np.array([[[column, row, 0.0]]]) / 16
    np.testing.assert_allclose(16 * unshifted(seen, shifts, 16), [[[5, 7]]])
