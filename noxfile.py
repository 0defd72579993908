"""Tests against every set of Python, TensorFlow and MediaPipe that the project supports.

    nox                             all stacks whose Python is installed, all tests
    nox --session A -- -k export    one stack, with arguments for pytest
    nox -- --brief                  only what can differ between stacks, as .ci/run does it, and
                                    not on this Python, which .ci/run tests with make

Environments are made anew in .nox, more than 3 GB each; `--reuse-existing-virtualenvs` keeps them,
and --brief deletes each once its tests have passed. A stack whose Python is missing is skipped with
a line that says so, unless `--error-on-missing-interpreters` is given.
"""

import os
import pathlib
import platform
import shutil

import nox

nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

# Of pyenv's Pythons only those that are switched on are on the PATH.
_pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
_folders = [os.environ["PATH"], *map(str, sorted(_pyenv.glob("versions/3.*/bin")))]
os.environ["PATH"] = os.pathsep.join(_folders)

# uv installs packages without their bytecode. Each of dozens of processes would compile TensorFlow
# anew, which takes 7 s, if this variable kept Python from storing it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What a stack can change: the conversion to TFLite, MediaPipe's runtime, what goes through Google's
# Model Maker, and the whole way from style pictures to a stylized photo, which is the notebook's.
# The rest is arithmetic that is the same everywhere.
_BRIEF = (
    "tests/task_bundle/faces/test_alignment.py",
    "tests/task_bundle/test_bundle.py",
    "tests/task_bundle/faces/test_face_models.py",
    "tests/task_bundle/tflite/test_metadata.py",
    "tests/task_bundle/media/test_photo.py",
    "tests/task_bundle/runtime/test_stylizer.py",
    "tests/task_bundle/runtime/test_stylizer_model.py",
    "tests/mm_face_stylizer/test_export.py",
    "tests/mm_face_stylizer/test_hyperparameters.py",
    "tests/mm_face_stylizer/model_maker/test_upstream.py",
    "tests/mm_face_stylizer/model_maker/test_wheel_tests.py",
    "tests/notebooks",
)


@nox.session(name="A", python="3.11")
def model_maker(session: nox.Session) -> None:
    """Google's Model Maker: TensorFlow 2.15, MediaPipe 0.10.21."""
    _test(session, ".[model-maker,test-tools]")


@nox.session(name="B", python=["3.11", "3.12"])
def colab(session: nox.Session) -> None:
    """Colab, and the default: TensorFlow 2.16 to 2.19, MediaPipe 0.10.21."""
    _test(session, ".[test]", is_default=True)


@nox.session(name="C", python="3.13")
def newest(session: nox.Session) -> None:
    """TensorFlow 2.20 and newer, MediaPipe 1.x, which has neither FaceStylizer nor face models."""
    _test(session, ".[test]", is_default=True)


def _test(session: nox.Session, requirement: str, is_default: bool = False) -> None:
    """Installs the project, and runs pytest.

    Args:
      session: the session.
      requirement: the project with the extras of the stack.
      is_default: whether make installs just this on a Python of this version.
    """
    arguments = [part for part in session.posargs if part != "--brief"]
    if "--brief" in session.posargs:
        if is_default and platform.python_version().startswith(f"{session.python}."):
            session.skip(f"`make test test-slow` runs all tests on Python {session.python}")
        # With several workers pytest does not say which file it missed.
        if missing := [file for file in _BRIEF if not pathlib.Path(file).exists()]:
            session.error(f"noxfile.py names tests that do not exist: {', '.join(missing)}")
        arguments += _BRIEF
    session.install("--editable", requirement)
    session.run(
        # The reasons of skipped tests are part of the result.
        *("python", "-m", "pytest", "-rs", "--numprocesses", "2", "--dist", "loadfile"),
        "--no-loadscope-reorder",
        *arguments,
        env={"PYTHONPATH": None},
    )
    if "--brief" in session.posargs:
        shutil.rmtree(session.virtualenv.location)
