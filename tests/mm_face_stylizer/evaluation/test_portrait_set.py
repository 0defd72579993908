import numpy as np
import pytest
from PIL import Image

from mm_face_stylizer.evaluation.portrait_set import PortraitSet, age_group
from task_bundle.errors import ImageError


@pytest.fixture
def folder(tmp_path):
    """Portraits 1 to 30, of which three are held out, in shades that tell them apart."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(1, 31):
        Image.new("RGB", (40, 40), (number, 100, 50)).save(folder / f"{number:03d}.png")
    return folder


def _listed(folder, *columns, rows=None):
    path = folder.parent / "faces.csv"
    lines = [",".join(("file", *columns))]
    path.write_text("\n".join(lines + list(rows or [])) + "\n")
    return path


def test_held_out_portraits_alone_unless_told(folder):
    portraits = PortraitSet.load(folder, 32)
    assert portraits.files == ("010.png", "020.png", "030.png")
    assert portraits.photos.shape == (3, 32, 32, 3)
    assert portraits.photos[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert portraits.labels == {} and portraits.sources == ("", "", "")
    assert len(PortraitSet.load(folder, 32, everybody=True)) == 30
    assert PortraitSet.load(folder, 32, limit=2).files == ("010.png", "030.png")


def test_labels_and_sources_come_from_the_list(folder):
    rows = ["010.png,lab,Female,50s", "030.png,,Male,70plus", "020.png,lab,,50-59", "777.png,,,"]
    portraits = PortraitSet.load(folder, 32, _listed(folder, "source", "gender", "age", rows=rows))
    assert portraits.sources == ("lab", "lab", "")
    assert portraits.labels == {
        "gender": ("Female", "", "Male"),
        "age": ("50-59", "50-59", "70+"),
    }


def test_labels_that_nobody_has_are_left_out(folder):
    rows = [f"{number:03d}.png,," for number in range(1, 31)]
    assert PortraitSet.load(folder, 32, _listed(folder, "gender", "race", rows=rows)).labels == {}


@pytest.mark.parametrize(
    ("label", "group"),
    [
        ("50s", "50-59"),
        ("50-59", "50-59"),
        ("70plus", "70+"),
        ("70+", "70+"),
        ("3-9", "3-9"),
        ("", ""),
    ],
)
def test_age_groups(label, group):
    assert age_group(label) == group


def test_a_list_without_files_or_without_a_portrait(folder):
    path = folder.parent / "faces.csv"
    path.write_text("name,gender\n010.png,Male\n")
    with pytest.raises(ValueError, match=r"faces.csv has no column 'file'"):
        PortraitSet.load(folder, 32, path)
    rows = ["010.png,Male"]
    with pytest.raises(ValueError, match=r"no row for 020.png and 1 other"):
        PortraitSet.load(folder, 32, _listed(folder, "gender", rows=rows))
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"faces.csv is not a CSV file"):
        PortraitSet.load(folder, 32, path)


def test_folders_without_portraits_are_refused(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, words in [
        (tmp_path / "none", "does not exist"),
        (empty, "has no pictures"),
        (folder / "001.png", "not a folder"),
    ]:
        with pytest.raises(ImageError, match=words):
            PortraitSet.load(path, 32)
    for number in (10, 20, 30):
        (folder / f"{number:03d}.png").unlink()
    with pytest.raises(ImageError, match=r"none of the 27 pictures .*--all"):
        PortraitSet.load(folder, 32)
    with pytest.raises(ValueError, match="limit of portraits is 0"):
        PortraitSet.load(folder, 32, everybody=True, limit=0)


def test_unusable_pictures_are_named(folder):
    Image.new("RGB", (40, 50)).save(folder / "020.png")
    with pytest.raises(ImageError, match=r"020.png has 40 x 50 pixels"):
        PortraitSet.load(folder, 32)
    (folder / "020.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(ImageError, match=r"020.png"):
        PortraitSet.load(folder, 32)


def test_photos_are_aligned_on_request(tmp_path, grace_hopper, face_models):
    Image.fromarray(grace_hopper).save(tmp_path / "10.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "20.png")
    portraits = PortraitSet.load(tmp_path, 64, align=True, face_models=face_models)
    assert portraits.files == ("10.png",) and portraits.without_face == ("20.png",)
    assert np.ptp(portraits.photos) > 100
    (tmp_path / "10.png").unlink()
    with pytest.raises(ImageError, match="no face was found in any of the 1 pictures"):
        PortraitSet.load(tmp_path, 64, align=True, face_models=face_models)
