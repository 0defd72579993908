import pytest

from mm_face_stylizer.loss_plot import save_loss_plot
from task_bundle.media.images import load_image


def test_curves_are_drawn(tmp_path):
    save_loss_plot({"loss": ([1, 2, 3], [3.0, 2.0, 1.0])}, "Title", tmp_path / "a.png")
    save_loss_plot({}, "Title", tmp_path / "b.png")
    drawn, empty = load_image(tmp_path / "a.png"), load_image(tmp_path / "b.png")
    assert drawn.shape == empty.shape and (drawn != empty).any()


def test_an_existing_file_is_kept(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        save_loss_plot({}, "Title", path)
    assert path.read_text() == "mine"
