"""PyInstaller's hook, run without PyInstaller: what it names is there."""

import importlib
import importlib.metadata
import importlib.util
import runpy
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from task_bundle.tflite import schema

_REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_hook_names_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((_REPOSITORY / "pyproject.toml").read_text())["project"]
    module, _, function = project["entry-points"]["pyinstaller40"]["hook-dirs"].partition(":")
    (folder,) = getattr(importlib.import_module(module), function)()

    collected = {}
    hooks = ModuleType("PyInstaller.utils.hooks")
    vars(hooks).update(
        collect_data_files=lambda package, **options: collected.setdefault(package, options) and [],
        collect_dynamic_libs=lambda package: [],
        copy_metadata=lambda package: [importlib.metadata.version(package)],
    )
    for name in ("PyInstaller", "PyInstaller.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, hooks.__name__, hooks)
    hook = SimpleNamespace(**runpy.run_path(f"{folder}/hook-task_bundle.py"))

    assert all(importlib.util.find_spec(name) for name in hook.hiddenimports)
    mediapipe = schema.mediapipe_folder()
    assert mediapipe is not None
    assert "task_bundle" in collected
    patterns = collected["mediapipe"]["includes"]
    found = {path for pattern in patterns for path in mediapipe.glob(pattern)}
    assert mediapipe / "tasks" / "metadata" / "metadata_schema_py_generated.py" in found
    assert {path for path in mediapipe.glob("modules/face_*/*.tflite")} <= found
