import numpy as np
import pytest
from tiny import eager_steps, write_portraits

from mm_face_stylizer.cli import main
from mm_face_stylizer.models.stylegan.networks import Teacher
from mm_face_stylizer.preset import Preset

pytestmark = pytest.mark.usefixtures("face_models")

_TINY = ["--steps", "2", "--batch-size", "4"]
_NETWORKS = ["--image-size", "64", "--width", "0.02"]


@pytest.fixture(scope="module")
def made(tmp_path_factory, grace_hopper):
    """All three stages, from portraits to a preset."""
    folder = tmp_path_factory.mktemp("recipe")
    faces = write_portraits(folder / "faces", grace_hopper)
    data = ["--data", str(faces), *_TINY]
    teacher, student, whole = (str(folder / name) for name in ("teacher", "student", "whole"))
    stages = (
        ["pretrain-teacher", *data, *_NETWORKS, "--output", teacher],
        ["distill", "--teacher", f"{teacher}/teacher", *data, *_NETWORKS, "--output", student],
        ["invert", "--start-from", f"{student}/student", *data, "--refine", "--output", whole],
    )
    with eager_steps():
        for arguments in stages:
            assert main(arguments) == 0, arguments[0]
    return folder


@pytest.mark.slow
def test_each_stage_leaves_what_the_next_one_needs(made):
    teacher = Teacher.load(made / "teacher" / "teacher")
    student = Preset.find(made / "student" / "student")
    whole = Preset.find(made / "whole" / "blaze_face_stylizer")
    networks = whole.networks()
    assert networks.config.spatial_sides == ()
    noise = np.random.default_rng(0).standard_normal((2, 512)).astype(np.float32)
    w = networks.mapping([noise, np.zeros((2, 0), np.float32)])
    np.testing.assert_allclose(w, teacher.latents(noise)[:, :8], atol=0.05)
    assert whole.card["start"]["name"] == "student"
    assert whole.card["start"]["start"]["name"] == student.card["start"]["name"] == "teacher"
    assert [stage["trains_synthesis"] for stage in whole.card["stages"]] == [False, False, True]
    assert whole.card["data"]["held_out"] == 2
    assert "held_out_reconstruction" in whole.card["metrics"]


@pytest.mark.slow
def test_a_finished_stage_is_not_trained_again(made, capsys):
    teacher = made / "teacher"
    before = (teacher / "teacher" / "weights.npz").read_bytes()
    arguments = ["--data", str(made / "faces"), *_TINY, *_NETWORKS, "--output", str(teacher)]
    assert main(["pretrain-teacher", *arguments]) == 0
    assert capsys.readouterr().out.strip() == str(teacher / "teacher")
    assert (teacher / "teacher" / "weights.npz").read_bytes() == before


@pytest.mark.slow
def test_a_teacher_goes_on_from_another(made, tmp_path, capsys):
    first = str(made / "teacher" / "teacher")
    data = ["--data", str(made / "faces"), *_TINY, *_NETWORKS, "--start-from", first]
    with eager_steps():
        assert main(["pretrain-teacher", *data, "--output", str(tmp_path)]) == 0
    second = Preset.find(capsys.readouterr().out.strip())
    assert second.card["start"]["sha256"] == Preset.find(first).card["sha256"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["pretrain-teacher", "--start-from", "nowhere"], "no preset 'nowhere'"),
        (["pretrain-teacher", "--batch-size", "6"], "batch_size is 6"),
        (["pretrain-teacher", "--image-size", "100"], "power of two"),
        (["distill", "--teacher", "nowhere"], "no preset 'nowhere'"),
        (["distill", "--teacher", "nowhere", "--truncation", "2"], "truncation is 2.0"),
        (["invert", "--start-from", "nowhere"], "no preset 'nowhere'"),
        (["pretrain-teacher", "--data-list", "nowhere.csv"], "nowhere.csv"),
        (["pretrain-teacher", "--data-list", __file__], "has no column 'file'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, reason, tmp_path, capsys):
    (tmp_path / "faces").mkdir()
    data = ["--data", str(tmp_path / "faces"), "--output", str(tmp_path / "run")]
    assert main([*arguments, *data]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("mm-face-stylizer: error: ") and reason in line


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--steps", "0", "'0' is not a whole number of at least 1"),
        ("--batch-size", "1.5", "'1.5' is not a whole number of at least 1"),
        ("--learning-rate", "-1e-3", "'-1e-3' is not a number above 0"),
        ("--learning-rate", "nan", "'nan' is not a number above 0"),
    ],
)
@pytest.mark.parametrize("command", ["pretrain", "pretrain-prior", "pretrain-teacher"])
def test_numbers_must_be_positive(command, option, value, reason, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([command, "--data", "x", "--output", "y", f"{option}={value}"])
    assert f"argument {option}: {reason}" in capsys.readouterr().err
