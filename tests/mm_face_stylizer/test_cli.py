import contextlib
import io
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
from interrupts import heed_interrupts
from native import native
from PIL import Image
from tiny import eager_steps, presets_opened_once

import mm_face_stylizer
from mm_face_stylizer import cli, face_stylizer
from mm_face_stylizer.cli import main
from task_bundle import TaskBundle
from task_bundle.media.images import load_image
from task_bundle.tflite.model import describe

pytestmark = pytest.mark.usefixtures("face_models")


@pytest.fixture(scope="module", autouse=True)
def _presets_opened_once():
    with presets_opened_once():
        yield


@pytest.fixture(scope="module")
def tiny(tiny_preset):
    """Options that make a training short: a step of two faces with networks of 64 px."""
    steps = ["--steps", "1", "--batch-size", "2"]
    return ["--preset", str(tiny_preset), "--swap-layers", "4", "5", *steps]


@pytest.fixture(scope="module")
def creation(tiny, tmp_path_factory, grace_hopper):
    """A folder with two pictures of a style, a bundle and a plot; and what `create` printed.

    The demo and the notebook tune the released preset.
    """
    folder = tmp_path_factory.mktemp("made")
    (folder / "style").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(grace_hopper).save(folder / "style" / name)
    arguments = ["create", str(folder / "style"), "-o", str(folder / "x.task"), *tiny]
    kept = ["--plot", str(folder / "x.png"), "--save", str(folder / "x.npz")]
    out, err = io.StringIO(), io.StringIO()
    with eager_steps(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main([*arguments, *kept]) == 0
    return folder, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def made(creation):
    return creation[0]


def _error(capsys):
    """The one line of an error."""
    lines = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("mm-face-stylizer")
    ]
    assert len(lines) == 1 and lines[0].startswith("mm-face-stylizer: error: "), lines
    return lines[0]


def _last_line(capsys):
    return capsys.readouterr().err.splitlines()[-1]


def test_create_writes_bundle_and_plot(made):
    assert TaskBundle.open(made / "x.task").stylizer
    assert load_image(made / "x.png").std() > 0


def test_a_kept_training_goes_on(made, tmp_path, capsys):
    bundle, kept = tmp_path / "y.task", tmp_path / "y.npz"
    arguments = ["create", "--continue", str(made / "x.npz"), "--steps", "1", "-o", str(bundle)]
    with eager_steps():
        assert main([*arguments, "--save", str(kept)]) == 0
    assert "going on after 1 step\n" in capsys.readouterr().err
    before, after = (TaskBundle.open(path).provenance for path in (made / "x.task", bundle))
    assert (before.steps, after.steps, after.styles) == (1, 2, before.styles)
    assert kept.is_file()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "give either STYLE, one picture or more, or --continue X.npz"),
        (["style.png", "--continue", "x.npz"], "give either STYLE"),
        (["--continue", "x.npz", "--seed", "3"], "--seed was chosen when the training began"),
        (["--continue", "x.npz", "--face", "0"], "--face was chosen when the training began"),
    ],
)
def test_what_does_not_go_with_continue(words, reason, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["create", *words, "-o", str(tmp_path / "y.task")])
    assert exit_.value.code == 2
    assert reason in _last_line(capsys)


def test_what_is_no_saved_training_is_named(made, tmp_path, capsys):
    for name, reason in (("x.task", "x.task is no saved training"), ("lost.npz", "lost.npz")):
        arguments = ["create", "--continue", str(made / name), "-o", str(tmp_path / "y.task")]
        assert main(arguments) == 1
        assert reason in _error(capsys)
    kept = ["--continue", str(made / "x.npz"), "--save", str(made / "x.npz")]
    assert main(["create", *kept, "-o", str(tmp_path / "y.task")]) == 1
    assert "x.npz already exists" in _error(capsys)


@native
def test_stylize_writes_a_picture_a_photo(made, grace_hopper_file, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    assert main(["stylize", str(made / "x.task"), str(grace_hopper_file), "-o", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "grace_hopper.png")
    assert load_image(out / "grace_hopper.png").shape == (64, 64, 3)
    assert main(["stylize", str(made / "x.task"), str(grace_hopper_file), "-o", str(out)]) == 1
    assert "already exists; pass --overwrite" in _error(capsys)


@native
def test_stylize_goes_on_after_a_photo_without_a_face(made, grace_hopper_file, tmp_path, capsys):
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "blank.png")
    photos = [str(tmp_path / "blank.png"), str(grace_hopper_file)]
    assert main(["stylize", str(made / "x.task"), *photos, "-o", str(tmp_path / "out")]) == 1
    assert "no face was found" in _error(capsys)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["grace_hopper.png"]


def test_create_from_a_preset_of_another_side(made, tiny, tmp_path, capsys):
    command = ["create", str(made / "style"), "-o", str(tmp_path / "x.task"), *tiny[:2]]
    assert main(command) == 1
    assert "the latent has rows 0 to 7, but not 10, 11" in _error(capsys)
    with eager_steps():
        assert main([*command, *tiny[2:]]) == 0
    stylizer = describe(TaskBundle.open(tmp_path / "x.task").stylizer)
    assert [tensor.shape for tensor in (*stylizer.inputs, *stylizer.outputs)] == 2 * [
        (1, 64, 64, 3)
    ]
    # The same seed, the same bytes.
    assert (tmp_path / "x.task").read_bytes() == (made / "x.task").read_bytes()


def test_create_from_an_unknown_preset(grace_hopper_file, tmp_path, capsys):
    command = ["create", str(grace_hopper_file), "-o", str(tmp_path / "x.task")]
    assert main([*command, "--preset", "blaze_face_stylizer_9"]) == 1
    assert "no preset 'blaze_face_stylizer_9'" in _error(capsys)


def _style_files(folder, grace_hopper):
    Image.new("RGB", (64, 64), "grey").save(folder / "faceless.png")
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("not a picture")
    Image.fromarray(grace_hopper).save(folder / "whole.jpg")
    content = (folder / "whole.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(content[: len(content) // 2])
    Image.new("1", (10000, 6000)).save(folder / "huge.png")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.jpg", "does not exist"),
        ("empty.jpg", "empty"),
        ("text.jpg", "not a picture"),
        ("truncated.jpg", "truncated"),
        ("huge.png", "megapixels"),
        ("faceless.png", "no face"),
    ],
)
def test_bad_style_files_are_named(name, reason, tmp_path, grace_hopper, capsys):
    _style_files(tmp_path, grace_hopper)
    output = tmp_path / "x.task"
    assert main(["create", str(tmp_path / name), "-o", str(output)]) == 1
    error = _error(capsys)
    assert name in error and reason in error
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--swap-layers", "4", "12"], ["--swap-layers", "12", "0 to 11"]),
        (["--practice", "/nowhere"], ["--practice", "/nowhere", "not a folder"]),
        (["--face", "3"], ["--face is 3"]),
        (["--face-landmarker", "/nowhere.task"], ["/nowhere.task"]),
    ],
)
def test_bad_options_are_named(options, words, tmp_path, grace_hopper_file, capsys):
    output = tmp_path / "x.task"
    assert main(["create", str(grace_hopper_file), "-o", str(output), *options]) == 1
    error = _error(capsys)
    assert all(word in error for word in words), error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["create", "none.jpg"],
        ["create", "{photo}", "--preset", "none"],
        ["create", "{photo}", "--practice", "none"],
        ["create", "{photo}", "--face-landmarker", "none.task"],
        ["create", "{photo}", "--upscaler", "none"],
        ["create", "--continue", "none.npz"],
        ["style", "none"],
        ["stylize", "none.task", "{photo}"],
        ["stylize", "--style", "none", "{photo}"],
        ["stylize", "--style", "ink", "none.jpg"],
        ["paint", "none.jpg", "--photo", "{photo}"],
        ["paint", "{photo}", "--photo", "none.jpg"],
        ["upscale", "none.png"],
        ["upscale", "{photo}", "--upscaler", "none"],
        ["swap", "none.jpg", "--i-have-consent"],
        ["translator", "export", "none"],
    ],
)
def test_missing_inputs_are_told_before_existing_outputs(
    words, grace_hopper_file, tmp_path, capsys
):
    is_picture = words[0] in ("stylize", "paint", "upscale")
    output = tmp_path / ("out.png" if is_picture else "out.task")
    output.touch()
    words = [word.format(photo=grace_hopper_file) for word in words]
    assert main([*words, "-o", str(output)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "none" in error and "exists" not in error


@pytest.mark.parametrize(
    "words",
    [
        ["--steps", "0"],
        ["--batch-size", "-1"],
        ["--learning-rate", "0"],
        ["--learning-rate", "nan"],
        ["--alpha", "1.5"],
        ["--strength", "2"],
        ["--seed", "-1"],
        ["--face", "-1"],
        ["-o", "x.png"],
        ["--plot", "x.txt"],
    ],
)
def test_values_out_of_range_are_wrong_usage(words, tmp_path, grace_hopper_file, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["create", str(grace_hopper_file), "-o", str(tmp_path / "x.task"), *words])
    assert stop.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert words[0] in error and words[1] in error


def test_inputs_are_checked_before_tensorflow_is_imported(tmp_path, grace_hopper_file):
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "a.png")
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "b.png")
    code = (
        "import sys; from mm_face_stylizer.cli import main\n"
        "status = main(sys.argv[1:]); sys.exit(9 if 'tensorflow' in sys.modules else status)"
    )
    words = ["create", str(tmp_path), str(grace_hopper_file), "-o", str(tmp_path / "x.task")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    # All pictures without a face are named at once.
    assert f"no face was found in {tmp_path}/a.png, {tmp_path}/b.png; each" in done.stderr


def test_faces_to_practice_on_are_looked_for_first(
    tmp_path, grace_hopper_file, monkeypatch, capsys
):
    (tmp_path / "faces").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), "grey").save(tmp_path / "faces" / f"{number}.png")
    monkeypatch.setattr(cli, "_tuned", lambda *arguments: pytest.fail("it was trained"))
    words = ["create", str(grace_hopper_file), "-o", str(tmp_path / "x.task")]
    assert main([*words, "--practice", str(tmp_path / "faces")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "faces in at least 8 pictures of" in error and "which has 0" in error


def test_a_folder_of_style_pictures(creation, tmp_path, capsys):
    folder, out, err = creation
    output = folder / "x.task"
    assert out == f"{output}\n"
    assert "2 style pictures" in err and f"stylize {output} PHOTO.jpg" in err
    assert f"learned {folder / 'style' / 'a.png'}" in err
    made = TaskBundle.open(output).provenance
    assert (made.styles, made.steps, made.seed) == (("a", "b"), 1, 0)
    assert made.version == mm_face_stylizer.__version__ and 0.0 <= made.likeness <= 1.0
    assert Image.open(io.BytesIO(made.thumbnail)).size == (128, 128)
    (tmp_path / "none").mkdir()
    assert main(["create", str(tmp_path / "none"), "-o", str(tmp_path / "y.task")]) == 1
    assert "no pictures in the folder" in capsys.readouterr().err


def test_outputs_are_checked_before_training(tmp_path, grace_hopper_file, monkeypatch, capsys):
    monkeypatch.setattr(face_stylizer.FaceStylizer, "create", None)
    existing = tmp_path / "x.task"
    existing.write_text("mine")
    folder = tmp_path / "folder.task"
    folder.mkdir()
    for output, words in [
        (existing, "already exists; pass --overwrite"),
        (folder, "is a folder"),
        (tmp_path / "none" / "x.task", "no folder"),
    ]:
        assert main(["create", str(grace_hopper_file), "-o", str(output)]) == 1
        assert words in _error(capsys)
    assert existing.read_text() == "mine"


def test_two_faces_are_a_warning_and_can_be_chosen(
    tiny, tmp_path, grace_hopper, monkeypatch, capsys
):
    learned = []

    def create(data, *_, **__):
        learned.append(data.images[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(face_stylizer.FaceStylizer, "create", create)
    twice = np.concatenate([grace_hopper, grace_hopper[:, ::-1]], axis=1)
    Image.fromarray(twice).save(tmp_path / "two.png")
    arguments = ["create", str(tmp_path / "two.png"), *tiny, "-o", str(tmp_path / "x.task")]
    assert main(arguments) == 130
    error = capsys.readouterr().err
    assert "2 faces were found" in error and "pass --face to" in error
    assert main([*arguments, "--face", "1"]) == 130
    assert "faces were found" not in capsys.readouterr().err
    first, second = (picture.astype(int) for picture in learned)
    # The portrait and its mirror image.
    assert np.abs(first - second).mean() > 2 * np.abs(first - second[:, ::-1]).mean()


@pytest.fixture
def heeded():
    """A shell's background jobs, and what they start, ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_before_the_first_step_leaves_nothing_behind(
    tiny, tmp_path, grace_hopper_file, monkeypatch, capsys, heeded
):
    def interrupting(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(face_stylizer, "PaintingTrainer", interrupting)
    command = ["create", str(grace_hopper_file), "-o", str(tmp_path / "x.task"), *tiny]
    with eager_steps():
        assert main(command) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_after_a_step_keeps_what_was_learned(
    tiny, tmp_path, grace_hopper_file, monkeypatch, capsys, heeded
):
    class Interrupting(face_stylizer.tqdm):
        def update(self, n=1):
            if self.unit == "step":
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(face_stylizer, "tqdm", Interrupting)
    output = tmp_path / "x.task"
    command = ["create", str(grace_hopper_file), "-o", str(output), *tiny, "--steps", "3"]
    with eager_steps():
        assert main([*command, "--save", str(tmp_path / "x.npz")]) == 130
    said = capsys.readouterr().err.splitlines()
    assert "interrupted after 1 of 3 steps; the bundle has" in said[-2]
    assert f"create --continue {tmp_path / 'x.npz'} --steps 2 -o" in said[-1]
    assert TaskBundle.open(output).provenance.steps == 1


@pytest.mark.slow
def test_ctrl_c_ends_the_program(tiny, tmp_path, grace_hopper_file):
    output = tmp_path / "x.task"
    command = [sys.executable, "-m", "mm_face_stylizer.cli", "create", str(grace_hopper_file)]
    process = subprocess.Popen(
        [*command, "-o", str(output), *tiny, "--steps", "100000"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    for line in process.stderr:  # Universal newlines: every update of the progress bar is a line.
        if "Fine-tuning" in line and " 0/" not in line:
            break
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted after" in error and "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["x.task"]


@pytest.mark.parametrize("command", [[], ["create"], ["stylize"], ["demo"], ["pretrain"]])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "usage: mm-face-stylizer" in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], ["benchmark"], ["upscaler"]])
def test_without_arguments_it_shows_help(command, capsys):
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("usage: mm-face-stylizer")


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("mm-face-stylizer ") and "mediapipe " in text and text.count("\n") == 1


def test_completion(tmp_path):
    pytest.importorskip("argcomplete")
    line = "mm-face-stylizer benchmark run --qui"
    environment = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "found"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    subprocess.run(
        [sys.executable, "-m", "mm_face_stylizer"], env=os.environ | environment, check=True
    )
    assert (tmp_path / "found").read_text().strip() == "--quick"


_PROGRAM = [sys.executable, "-m", "mm_face_stylizer"]
_ROOT = pathlib.Path(mm_face_stylizer.__file__).parent.parent


def test_python_m_runs_the_command():
    done = subprocess.run([*_PROGRAM, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: mm-face-stylizer ")


def test_help_imports_no_tensorflow_and_no_other_package():
    code = (
        "import sys; sys.argv = ['x', '--help']\n"
        "from mm_face_stylizer.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=_ROOT
    )
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ")]
    assert {"create", "pretrain", "evaluate", "benchmark", "android-benchmark"} <= set(listed)
    heavy = {"benchmarks", "android_harness", "matplotlib", "mediapipe", "pydantic", "scipy"}
    heavy |= {"tensorflow", "tf_keras"}
    assert not heavy & set(done.stderr.split())


@pytest.fixture(scope="module")
def hiding(tmp_path_factory):
    """A function that runs the program where the user has a folder called `benchmarks`."""
    folder = tmp_path_factory.mktemp("hiding")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "__init__.py").touch()

    def call(*words):
        return subprocess.run(
            [*_PROGRAM, *words],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([".", str(_ROOT)])},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.mark.parametrize("command", [[], ["create"], ["stylize"], ["pretrain"], ["evaluate"]])
def test_a_folder_called_benchmarks_is_no_matter_to_other_commands(command, hiding):
    done = hiding(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: mm-face-stylizer")


@pytest.mark.parametrize(
    "words",
    [["benchmark", "--help"], ["benchmark", "compare", "a", "b"], ["android-benchmark", "x.task"]],
)
def test_benchmark_names_the_folder_that_hides_its_package(words, hiding):
    done = hiding(*words)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"mm-face-stylizer: error: {words[0]} needs ")
    assert "hiding" in line and "/benchmarks first; rename" in line


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["benchmark"], ["Measures how long", "run", "scale", "render", "compare"]),
        (["benchmark", "run"], ["--variants", "--rounds"]),
        (["android-benchmark"], ["Measures bundles on phones", "--serial", "--cool-down"]),
    ],
)
def test_commands_of_other_packages_have_their_options(command, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: mm-face-stylizer {' '.join(command)} ")
    assert all(word in text for word in words)


def test_a_bug_is_not_reported_as_a_mistake_of_the_user(monkeypatch, tmp_path, capsys):
    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr("mm_face_stylizer.model_spec.ModelSpec.of_preset", broken)
    picture = tmp_path / "x.png"
    picture.touch()
    assert main(["create", str(picture), "-o", str(tmp_path / "x.task")]) == 70
    assert "internal error: ValueError: a bug" in capsys.readouterr().err


def test_pretrain_without_portraits(tmp_path, capsys):
    arguments = ["pretrain", "--data", str(tmp_path / "none"), "--output", str(tmp_path / "run")]
    assert main(arguments) == 1
    assert str(tmp_path / "none") in _error(capsys)


def test_ready_styles_are_listed_and_written(tmp_path, capsys):
    assert main(["style"]) == 0
    names = capsys.readouterr().out.split()
    assert len(names) >= 6 and "comic" in names
    bundles = [tmp_path / f"{name}.task" for name in names[:2]]
    for name, path in zip(names, bundles, strict=False):
        assert main(["style", name, "-o", str(path)]) == 0
    first, second = (TaskBundle.open(path).stylizer for path in bundles)
    # Only the mean latent differs.
    assert len(first) == len(second)
    differing = np.flatnonzero(np.frombuffer(first, "u1") != np.frombuffer(second, "u1"))
    assert differing.max() - differing.min() < 2 * 12 * 512
    assert main(["style", names[0], "-o", str(bundles[0])]) == 1
    assert "already exists" in _error(capsys)
    assert main(["style", "plaid", "-o", str(tmp_path / "x.task")]) == 1
    assert "no ready style 'plaid'. Known ready styles: comic" in _error(capsys)
    with pytest.raises(SystemExit):
        main(["style", names[0]])


@native
def test_a_ready_style_needs_no_bundle(grace_hopper_file, tmp_path, capsys):
    command = ["stylize", str(grace_hopper_file), "-o", str(tmp_path / "out")]
    assert main([*command, "--style", "comic"]) == 0
    picture = load_image(tmp_path / "out" / "grace_hopper.png")
    # Its own blue and yellow.
    blue = (picture[..., 2] > 150) & (picture[..., 0] < 100)
    assert picture.shape == (256, 256, 3) and blue.mean() > 0.1
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(command)
    assert "required: INPUT" in capsys.readouterr().err


def test_ready_styles_do_without_tensorflow():
    code = (
        "import sys; from mm_face_stylizer.ready_styles import ready_bundle; ready_bundle('ink'); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
