"""Tests of task_bundle.web.tasks_vision. Nothing is downloaded: npm is a script of the tests'."""

import hashlib
import json
from pathlib import Path

import pytest

from task_bundle.cache import CACHE_VARIABLE
from task_bundle.errors import TasksVisionError
from task_bundle.web import tasks_vision
from task_bundle.web.tasks_vision import PACKAGE, find_tasks_vision, install_tasks_vision

_CONTENTS = {"vision_bundle.mjs": b"export {};", "wasm/vision_wasm_internal.wasm": b"\0asm"}


@pytest.fixture(autouse=True)
def _package_of_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the hashes of the published files; cache and working directory are empty."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in _CONTENTS.items()}
    monkeypatch.setattr(tasks_vision, "_SHA256", digests)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def _write(folder: Path, **changes: bytes) -> Path:
    for name, data in _CONTENTS.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(changes.get(file.stem, data))
    return folder


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Returns a function that puts a shell script called npm on the PATH."""

    def make(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return make


def test_a_given_folder_comes_first(tmp_path: Path) -> None:
    assert find_tasks_vision(_write(tmp_path / "package")) == _CONTENTS


def test_node_modules_come_before_the_cache(tmp_path: Path) -> None:
    _write(tmp_path / "cache" / "npm" / "node_modules" / PACKAGE)
    assert find_tasks_vision() == _CONTENTS
    mine = _write(tmp_path / "work" / "node_modules" / PACKAGE, vision_bundle=b"another release")
    # Another release in the working directory does not hide the right one in the cache.
    assert find_tasks_vision() == _CONTENTS
    with pytest.raises(TasksVisionError, match="vision_bundle.mjs is not that of .* 0.10.21"):
        find_tasks_vision(mine)


def test_what_is_missing_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(TasksVisionError) as caught:
        find_tasks_vision()
    assert str(caught.value) == (
        "run `task-bundle serve --install-tasks-vision` once: it installs what the page needs, the"
        " npm package @mediapipe/tasks-vision 0.10.21 (20 MB)"
    )
    package = _write(tmp_path / "package")
    (package / "wasm" / "vision_wasm_internal.wasm").unlink()
    with pytest.raises(TasksVisionError, match="there is no .*internal.wasm"):
        find_tasks_vision(package)


def test_npm_installs_into_the_cache(tmp_path: Path, npm) -> None:
    package = _write(tmp_path / "registry")
    npm(
        f'echo "$@" > said; mkdir -p node_modules/{PACKAGE};'
        f" cp -r {package}/* node_modules/{PACKAGE}"
    )
    installed = install_tasks_vision()
    assert installed == tmp_path / "cache" / "npm" / "node_modules" / PACKAGE
    assert find_tasks_vision() == _CONTENTS
    folder = tmp_path / "cache" / "npm"
    # npm only installs what is in the lock file, and runs no scripts.
    assert (folder / "said").read_text().split()[:2] == ["ci", "--ignore-scripts"]
    lock = json.loads((folder / "package-lock.json").read_text())
    locked = lock["packages"][f"node_modules/{PACKAGE}"]
    assert locked["version"] == "0.10.21"
    assert locked["integrity"].startswith("sha512-") and len(locked["integrity"]) == 95
    assert list((tmp_path / "work").iterdir()) == []


def test_what_npm_says_is_passed_on(npm) -> None:
    npm("echo 'npm error code EINTEGRITY' >&2; echo 'npm error sha512 differs' >&2; exit 1")
    with pytest.raises(TasksVisionError, match="0.10.21: npm error code EINTEGRITY npm error sha5"):
        install_tasks_vision()


def test_what_npm_installed_is_checked(tmp_path: Path, npm) -> None:
    package = _write(tmp_path / "registry", vision_bundle=b"tampered with")
    npm(f"mkdir -p node_modules/{PACKAGE}; cp -r {package}/* node_modules/{PACKAGE}")
    with pytest.raises(TasksVisionError, match="vision_bundle.mjs is not that of"):
        install_tasks_vision()


def test_a_missing_npm_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TasksVisionError, match="there is no npm on the PATH"):
        install_tasks_vision()
    assert not (tmp_path / "cache").exists()
