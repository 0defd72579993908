import shutil

import numpy as np
import pytest
from tiny import write_pictures

from mm_face_stylizer.errors import DataError, InvalidArgumentError
from mm_face_stylizer.training.translator import domains as domains_module
from mm_face_stylizer.training.translator.domains import Domains
from task_bundle.media.images import save_png


class _Finder:
    """Stands in for `FaceFinder`: finds a face in every picture, or in none."""

    finds = True

    def __init__(self, models=None):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def find_with_margins(self, picture):
        return ["face"] if self.finds else []


@pytest.fixture(autouse=True)
def finder(monkeypatch):
    monkeypatch.setattr(domains_module, "FaceFinder", _Finder)
    monkeypatch.setattr(_Finder, "finds", True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains")
    return [write_pictures(folder / name, 32, 60) for name in ("photos", "style")]


def test_batches_are_crops_that_depend_on_seed_and_step(folders, tmp_path):
    domains = Domains(*folders, tmp_path, 32)
    assert domains.loaded_side == 36
    first, second, other = (domains.batch(3, 0, step) for step in (4, 4, 5))
    assert [x.shape for x in first] == [(3, 32, 32, 3)] * 2
    for a, b, c in zip(first, second, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
    held_out = domains.held_out()
    assert [x.shape for x in held_out] == [(6, 32, 32, 3)] * 2
    assert "photos/00010.png" in domains.held_out_names
    assert "style/00011.png" in domains.train_names


def test_of_names_without_a_held_out_number_every_tenth_is_held_out(folders, tmp_path):
    shutil.copytree(folders[1], tmp_path / "style")
    for number in range(10, 61, 10):
        (tmp_path / "style" / f"{number:05d}.png").unlink()
    domains = Domains(folders[0], tmp_path / "style", tmp_path / "cache", 32)
    assert domains.styles.held_out_names == [f"{n:05d}.png" for n in (1, 12, 23, 34, 45, 56)]


def test_pairs_are_cropped_at_the_same_place(folders, tmp_path):
    domains = Domains(*folders, tmp_path, 32)
    ramp = np.arange(36 * 36 * 3, dtype=np.uint32).reshape(36, 36, 3)
    random = np.random.default_rng(0)
    one, other = domains.cropped([ramp, ramp + 1], random)
    np.testing.assert_array_equal(one + 1, other)


def test_too_few_pictures(folders, tmp_path):
    few = write_pictures(tmp_path / "few", 32, 49)
    with pytest.raises(DataError, match="few has 49 pictures; a translator needs 50"):
        Domains(folders[0], few, tmp_path / "cache", 32)


def test_the_same_folder_twice_is_refused(folders, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folders[0])
    with pytest.raises(InvalidArgumentError, match="photos and style are the same folder"):
        Domains(folders[0], link, tmp_path / "cache", 32)


def test_a_folder_that_does_not_exist(folders, tmp_path):
    with pytest.raises(DataError, match="the folder of the styles, .*nowhere, does not exist"):
        Domains(folders[0], tmp_path / "nowhere", tmp_path / "cache", 32)


def test_pictures_of_mixed_sizes_are_refused(tmp_path, folders):
    mixed = write_pictures(tmp_path / "mixed", 32, 60)
    save_png(mixed / "00061.png", np.zeros((40, 32, 3), np.uint8))
    with pytest.raises(DataError, match=r"mixed has pictures of 2 sizes \(32 x 32, 32 x 40\)"):
        Domains(mixed, folders[1], tmp_path / "cache", 32)
    assert not (tmp_path / "cache").exists()


def test_pictures_without_a_face(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(_Finder, "finds", False)
    with pytest.raises(DataError, match="a face was found in only 0 of 24 pictures of .*photos"):
        Domains(*folders, tmp_path, 32)
    with pytest.raises(DataError, match="found in only 0 of 60 pictures of .*photos"):
        Domains(*folders, tmp_path, 32, align=True)


def test_faces_are_cropped(tmp_path, folders, grace_hopper, monkeypatch, face_models):
    monkeypatch.undo()
    from task_bundle.faces.alignment import FaceFinder

    monkeypatch.setattr(domains_module, "LEAST_PICTURES", 2)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in (1, 2, 10):
        save_png(photos / f"{number}.png", grace_hopper[:, 10 * number :])
    save_png(photos / "3.png", np.zeros((300, 300, 3), np.uint8))
    styles = tmp_path / "styles"
    styles.mkdir()
    for number in (1, 10):
        save_png(styles / f"{number}.png", grace_hopper)
    domains = Domains(photos, styles, tmp_path / "cache", 32, True, face_models)
    assert domains.photos.train_names == ["1.png", "2.png"]
    with FaceFinder(face_models) as finder:
        crop = finder.find(grace_hopper[:, 10:])[0].crop.crop(grace_hopper[:, 10:], 36)
    np.testing.assert_array_equal(domains.photos.training()[0], crop)
