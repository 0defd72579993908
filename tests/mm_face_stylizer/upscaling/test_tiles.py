import numpy as np
import pytest

from mm_face_stylizer.upscaling.tiles import upscale_tiles
from task_bundle import ImageError


def _doubled(tile):
    """Means of each pixel and its neighbors, repeated: a network that reaches one pixel far."""
    padded = np.pad(tile, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = tile.shape[1:3]
    near = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.mean(near, axis=0).repeat(2, axis=1).repeat(2, axis=2)


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (37, 20), (64, 64)])
def test_tiles_leave_no_seams(shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    found = upscale_tiles(picture, 2, 12, 2, _doubled)
    mirrored = np.pad(picture, ((1, 1), (1, 1), (0, 0)), "symmetric").astype(np.float32) / 255
    whole = _doubled(mirrored[np.newaxis])[0, 2:-2, 2:-2]
    np.testing.assert_allclose(found, whole * 255, atol=0.6)


def test_all_tiles_have_one_size():
    shapes = set()

    def enlarge(tile):
        shapes.add(tile.shape)
        return tile.repeat(4, axis=1).repeat(4, axis=2)

    picture = np.random.default_rng(0).integers(0, 256, (30, 100, 3), np.uint8)
    found = upscale_tiles(picture, 4, 20, 3, enlarge)
    np.testing.assert_array_equal(found[::4, ::4], picture)
    assert shapes == {(1, 20, 20, 3)}


def test_a_picture_that_would_become_too_big():
    with pytest.raises(ImageError, match="16383 at most"):
        upscale_tiles(np.zeros((1, 20_000, 3), np.uint8), 2, 12, 2, _doubled)
