"""Tests that importing the package stays light, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=_REPOSITORY, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_is_light() -> None:
    heavy = ("tensorflow", "mediapipe", "cv2", "PIL", "ai_edge_litert", "matplotlib", "urllib")
    code = (
        "import sys, time; start = time.process_time(); import task_bundle, task_bundle.cli;"
        "seconds = time.process_time() - start;"
        f"print([m for m in {heavy[:-1]!r} if m in sys.modules], seconds < 0.5)"
    )
    assert _run(code) == "[] True"


def test_mediapipe_comes_without_tensorflow(grace_hopper_file: Path) -> None:
    code = (
        "import sys, numpy, task_bundle; from task_bundle.mediapipe_import import import_mediapipe;"
        "import_mediapipe(); from task_bundle.tflite import metadata;"
        "metadata._has_writer() and import_mediapipe('mediapipe.tasks.python.metadata.metadata');"
        "print([name for name in ('tensorflow', 'matplotlib') if name in sys.modules])"
    )
    assert _run(code) == "[]"


def test_mediapipe_finds_matplotlib_when_it_plots() -> None:
    code = (
        "import sys; from task_bundle.mediapipe_import import import_mediapipe;"
        "import_mediapipe('mediapipe.tasks.python.vision');"
        "before = 'matplotlib' in sys.modules;"
        "modules = [m for n, m in sys.modules.items() if n.endswith('drawing_utils')];"
        "print(before, modules[0].plt.Figure.__module__)"
    )
    assert _run(code) == "False matplotlib.figure"


def test_where_nothing_can_be_written_mediapipe_needs_no_folder() -> None:
    # As in a read-only container: Matplotlib finds neither its folder nor a temporary one.
    code = (
        "import tempfile; tempfile.tempdir = '/proc/none';"
        "from task_bundle.mediapipe_import import import_mediapipe; import_mediapipe()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=_REPOSITORY,
        env={**os.environ, "MPLCONFIGDIR": "/proc/none"},
    )
    assert (done.returncode, "atplotlib" in done.stderr) == (0, False), done.stderr


def test_a_loaded_tensorflow_stays() -> None:
    code = (
        "import sys, types; stub = sys.modules['tensorflow'] = types.ModuleType('tensorflow');"
        "from task_bundle.mediapipe_import import import_mediapipe;"
        "import_mediapipe('colorsys'); print(sys.modules['tensorflow'] is stub)"
    )
    assert _run(code) == "True"
