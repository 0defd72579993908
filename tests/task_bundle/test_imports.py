"""Tests that importing the package stays light, each in a process of its own."""

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
        "print('tensorflow' in sys.modules)"
    )
    assert _run(code) == "False"


def test_a_loaded_tensorflow_stays() -> None:
    code = (
        "import sys, types; stub = sys.modules['tensorflow'] = types.ModuleType('tensorflow');"
        "from task_bundle.mediapipe_import import import_mediapipe;"
        "import_mediapipe('colorsys'); print(sys.modules['tensorflow'] is stub)"
    )
    assert _run(code) == "True"
