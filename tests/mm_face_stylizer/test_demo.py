import numpy as np
import pytest
from native import native
from tiny import eager_steps

from mm_face_stylizer import Dataset, face_stylizer
from mm_face_stylizer.cli import main
from mm_face_stylizer.demo import Demo, portrait
from task_bundle import TaskBundle
from task_bundle.media.images import load_image


def test_the_portrait_is_grace_hopper(grace_hopper):
    np.testing.assert_array_equal(portrait(), grace_hopper)


@pytest.mark.slow
@native
def test_the_demo_writes_what_it_promises(tmp_path, monkeypatch, capsys):
    create, made = face_stylizer.FaceStylizer.create, []

    def create_once(*arguments, **options):
        made[:] = made or [create(*arguments, **options)]
        return made[0]

    monkeypatch.setattr(face_stylizer.FaceStylizer, "create", create_once)
    out = tmp_path / "out"
    arguments = ["demo", "--output", str(out), "--style", "comic", "--steps", "2"]
    with eager_steps():
        assert main(arguments) == 0
    written = {path.name for path in out.iterdir()}
    assert {"face_stylizer.task", "before_after.png", "training.png"} <= written
    assert written == {path.name for path in Demo(out, "comic").paths}
    assert TaskBundle.open(out / "face_stylizer.task")
    sheet = load_image(out / "before_after.png").astype(int)
    third = sheet.shape[1] // 3
    data = Dataset.from_images(Demo(out, "comic").paths[:3], size=third)
    differences = [np.abs(image - sheet[-third:, :third]).mean() for image in data.images]
    assert np.argmin(differences) == made[0].picture, "the sheet shows what was learned"
    photo, stylized = sheet[30:, third : 2 * third], sheet[30:, 2 * third : 3 * third]
    assert np.abs(photo - stylized).mean() > 5, "two different pictures"
    assert main(arguments) == 1, "nothing is overwritten unasked"
    assert "--overwrite" in capsys.readouterr().err
    (out / "before_after.png").write_text("mine")
    assert main([*arguments, "--overwrite"]) == 0
    np.testing.assert_array_equal(load_image(out / "before_after.png"), sheet)
