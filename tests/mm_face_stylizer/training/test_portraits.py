import os

import numpy as np
import pytest
from tiny import write_portraits

from mm_face_stylizer.held_out import is_held_out
from mm_face_stylizer.training.portraits import Portraits, _hue_rotations
from task_bundle.errors import ImageError

pytestmark = pytest.mark.usefixtures("face_models")


@pytest.fixture
def folder(tmp_path, grace_hopper):
    return write_portraits(tmp_path / "faces", grace_hopper)


def test_a_tenth_is_held_out_by_name(tmp_path, folder):
    portraits = Portraits(folder, tmp_path / "cache", side=64)
    assert portraits.held_out_names == ["00010.png", "00020.png"]
    assert not set(portraits.held_out_names) & set(portraits.train_names)
    assert len(portraits.train_names) == 22
    assert len(portraits.held_out()) == 2 and len(portraits.training()) == 22


def test_names_without_numbers_are_split_too():
    held_out = [is_held_out(f"person-{letter}{index}.jpg") for letter in "abcdefgh" for index in
                range(50)]  # fmt: skip
    assert 0.05 < np.mean(held_out) < 0.15
    assert is_held_out("a/b/00120.jpg") and not is_held_out("a/b/00121.jpg")
    # A name that is not UTF-8.
    assert isinstance(is_held_out("\udce9.jpg"), bool)


def test_batches_are_reproducible_and_differ_by_step_and_seed(tmp_path, folder):
    portraits = Portraits(folder, tmp_path / "cache", side=64)
    batch = portraits.batch(8, seed=0, step=5)
    again = Portraits(folder, tmp_path / "cache", side=64).batch(8, seed=0, step=5)
    np.testing.assert_array_equal(batch.images, again.images)
    np.testing.assert_array_equal(batch.color, again.color)
    for other in (portraits.batch(8, 0, 6), portraits.batch(8, 1, 5)):
        assert np.any(batch.images != other.images)
    assert batch.images.shape == (8, 64, 64, 3) and batch.color.shape == (8, 3, 4)


def test_batches_have_no_held_out_portrait(tmp_path, folder):
    portraits = Portraits(folder, tmp_path / "cache", side=64)
    held_out = portraits.held_out()
    for step in range(20):
        for image in portraits.batch(8, 0, step).images:
            same = (held_out == image).all(axis=(1, 2, 3))
            mirrored = (held_out == image[:, ::-1]).all(axis=(1, 2, 3))
            assert not same.any() and not mirrored.any()


def test_some_pictures_change_their_hue_and_grays_stay_gray():
    angles = np.array([0.0, 2 * np.pi / 3, 1.0])
    rotations = _hue_rotations(angles)
    np.testing.assert_allclose(rotations[0], np.eye(3), atol=1e-7)
    # A third of the circle turns red into green or blue.
    assert sorted(np.round(rotations[1] @ [1, 0, 0], 6)) == [0, 0, 1]
    np.testing.assert_allclose(rotations @ [0.5, 0.5, 0.5], 0.5, atol=1e-7)


def test_a_torn_cache_is_made_again(tmp_path, folder):
    wanted = Portraits(folder, tmp_path / "cache", side=64).training().copy()
    (tmp_path / "cache" / "train_64.txt").unlink()
    (tmp_path / "cache" / "train_64.npy").write_bytes(b"torn")
    np.testing.assert_array_equal(Portraits(folder, tmp_path / "cache", side=64).training(), wanted)


def test_a_new_file_is_noticed(tmp_path, folder):
    Portraits(folder, tmp_path / "cache", side=64)
    (folder / "00031.png").write_bytes((folder / "00001.png").read_bytes())
    assert "00031.png" in Portraits(folder, tmp_path / "cache", side=64).train_names


def test_names_that_are_not_utf8(tmp_path, folder):
    (folder / "00001.png").rename(os.fsdecode(os.fsencode(folder) + b"/\xe9.png"))
    for _ in range(2):
        assert "\udce9.png" in Portraits(folder, tmp_path / "cache", side=64).train_names


def test_unusable_folders_are_named(tmp_path, folder):
    with pytest.raises(ValueError, match="does not exist"):
        Portraits(tmp_path / "nowhere", tmp_path / "cache")
    with pytest.raises(ValueError, match="0 portraits"):
        Portraits(tmp_path, tmp_path / "cache")
    (folder / "00005.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="00005.png"):
        Portraits(folder, tmp_path / "other", side=64)
