import numpy as np
import pytest

from mm_face_stylizer.contact_sheet import ContactSheet
from task_bundle.media.images import load_image


def _square(value, side=8):
    return np.full((side, side, 3), value, np.uint8)


def test_pictures_stand_in_rows(tmp_path):
    sheet = ContactSheet([[_square(10), _square(20)], [_square(30)]], ["a caption"])
    sheet.save(tmp_path / "sheet.png", side=16)
    image = load_image(tmp_path / "sheet.png")
    assert image.shape == (2 * 20 + 22, 2 * 20 + 4, 3)
    assert image[30, 12, 0] == 10 and image[30, 32, 0] == 20 and image[50, 12, 0] == 30
    assert (image[50, 32] == 255).all(), "a short row is padded with white"
    assert image[:22].min() < 128, "the caption is written"


def test_an_existing_file_is_kept(tmp_path):
    path = tmp_path / "sheet.png"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        ContactSheet([[_square(0)]]).save(path)
    assert path.read_text() == "mine"
