"""Tests of the `paint` command."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mm_face_stylizer.cli import main
from mm_face_stylizer.style_pictures import draw_style
from task_bundle.media.images import load_image

pytestmark = pytest.mark.usefixtures("face_models")


@pytest.fixture(scope="module")
def style_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("style") / "comic.png"
    Image.fromarray(draw_style("comic")).save(path)
    return path


def test_paints_without_tensorflow_and_tells_the_likeness(style_file, grace_hopper_file, tmp_path):
    code = (
        "import sys; from mm_face_stylizer.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 'tensorflow' in sys.modules)"
    )
    arguments = ["paint", str(style_file), "--photo", str(grace_hopper_file), "-o", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
    )
    likeness, path = done.stdout.splitlines()
    assert likeness.startswith("likeness 0.") and "chosen" in likeness
    assert path == str(tmp_path / "grace_hopper.png")
    assert load_image(path).shape == (256, 256, 3)


def test_errors_are_one_line(style_file, grace_hopper_file, tmp_path, capsys):
    def error_of(*arguments: object) -> str:
        assert main(["paint", *map(str, arguments), "-o", str(tmp_path / "out")]) == 1
        lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        assert len(lines) == 1
        return lines[0]

    photo = ("--photo", grace_hopper_file)
    assert "nowhere.jpg does not exist" in error_of(tmp_path / "nowhere.jpg", *photo)
    wall = tmp_path / "wall.png"
    Image.fromarray(np.full((200, 200, 3), 128, np.uint8)).save(wall)
    assert f"no face was found in {wall}; it should show one" in error_of(wall, *photo)
    assert f"no face was found in {wall}" in error_of(style_file, "--photo", wall)
    # All of them at once, and those of folders.
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "white.png").write_bytes(wall.read_bytes())
    both = error_of(style_file, wall, folder, *photo)
    assert f"no face was found in {wall}, {folder / 'white.png'}; each should show one" in both
    twice = error_of(style_file, "--photo", grace_hopper_file, grace_hopper_file)
    assert "would both be written" in twice
    (tmp_path / "out" / "wall.png").touch()
    taken = error_of(style_file, "--photo", wall)
    assert "wall.png already exists; pass --overwrite to replace it" in taken
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"nothing")
    assert "broken.tflite" in error_of(style_file, *photo, "--person-model", broken)


def test_wrong_options(style_file, grace_hopper_file, tmp_path, capsys):
    arguments = ["paint", str(style_file), "--photo", str(grace_hopper_file), "-o", str(tmp_path)]
    for option, value in (("--likeness", "2"), ("--seed", "-1"), ("--size", "300")):
        with pytest.raises(SystemExit) as exit_:
            main([*arguments, option, value])
        assert exit_.value.code == 2
        assert option in capsys.readouterr().err
