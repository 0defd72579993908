import numpy as np
import pytest
from tiny import write_pictures

from mm_face_stylizer.errors import DataError
from mm_face_stylizer.training.srresnet.patches import Patches, PictureFolder
from task_bundle.media.images import load_image, save_png


def test_pictures_of_any_size_and_of_subfolders_are_split_by_name(tmp_path):
    folder = write_pictures(tmp_path / "all" / "inner", 64, 10)
    save_png(tmp_path / "all" / "00011.png", np.full((80, 200, 3), 7, np.uint8))
    save_png(tmp_path / "all" / "00012.png", np.zeros((20, 200, 3), np.uint8))
    pictures = PictureFolder(tmp_path / "all", tmp_path / "cache", 32, 64)
    assert pictures.held_out_names == ["inner/00010.png"]
    assert pictures.held_out_side == 64
    assert len(pictures.train_names) == 10 and "00011.png" in pictures.train_names
    (middle,) = pictures.held_out(5, 32)
    np.testing.assert_array_equal(middle, load_image(folder / "00010.png")[16:48, 16:48])
    # The second time nothing is decoded.
    (folder / "00010.png").write_bytes(b"damaged")
    again = PictureFolder(tmp_path / "all", tmp_path / "cache", 32, 64)
    np.testing.assert_array_equal(again.held_out(5, 32)[0], middle)


def test_half_of_a_batch_comes_from_each_folder(tmp_path):
    folders = []
    for name, level in (("photos", 50), ("drawings", 200)):
        (tmp_path / name).mkdir()
        for number in range(1, 11):
            save_png(tmp_path / name / f"{number}.png", np.full((40, 40, 3), level, np.uint8))
        folders.append(PictureFolder(tmp_path / name, tmp_path / f"{name}_cache", 32))
    patches = Patches(folders, 32)
    batch = patches.batch(6, seed=0, step=1)
    assert batch.shape == (6, 32, 32, 3)
    assert sorted(batch[:, 0, 0, 0]) == 3 * [50] + 3 * [200]


def test_a_batch_depends_on_seed_and_step_alone(tmp_path):
    folder = PictureFolder(write_pictures(tmp_path / "data", 64, 12), tmp_path / "cache", 32)
    patches = Patches([folder], 32)
    first, second, other = (patches.batch(4, 0, step) for step in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_a_folder_without_pictures_that_are_large_enough(tmp_path):
    folder = write_pictures(tmp_path / "data", 64, 12)
    with pytest.raises(DataError, match="no picture to train on.*128 px"):
        PictureFolder(folder, tmp_path / "cache", 128)
    with pytest.raises(DataError, match="does not exist"):
        PictureFolder(tmp_path / "nowhere", tmp_path / "cache", 32)
    (folder / "00010.png").unlink()
    pictures = PictureFolder(folder, tmp_path / "cache", 32)
    assert pictures.held_out_side == 0
    assert pictures.held_out(5, 32).shape == (0, 32, 32, 3)
    with pytest.raises(DataError, match="no picture is held out"):
        Patches([pictures], 32)
