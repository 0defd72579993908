"""MediaPipe's vision tasks for browsers: the npm package, where it is, and how it is installed."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from task_bundle.cache import cache_folder
from task_bundle.errors import TasksVisionError

PACKAGE = "@mediapipe/tasks-vision"
# The last release with FaceStylizer.
VERSION = "0.10.21"

# Of the package as the registry has it, in the form that npm writes into its lock files.
_INTEGRITY = (
    "sha512-TuhKH+credq4zLksGbYrnvJ1aLIWMc5r0UHwzxzql4BHECJw"
    "IAoBR61ZrqwGOW6ZmSBIzU1t4VtKj8hbxFaKeA=="
)
# What a page needs of it: the second pair of wasm is for browsers without SIMD.
_SHA256 = {
    "vision_bundle.mjs": "40f4123dfcd75cfa58add046919cc6f52fde66f009ff582997c09ba54c6ba27c",
    "wasm/vision_wasm_internal.js": (
        "4a97e2520ba506c680ecd6ba6acfb146888afa0e2746d57f205352bc6ebb82eb"
    ),
    "wasm/vision_wasm_internal.wasm": (
        "f00ec4731faa23b3e714d00e88d4d10e2df5c0a427d3a2b4ae6e3526fdd14ef7"
    ),
    "wasm/vision_wasm_nosimd_internal.js": (
        "927def7b465c51b86e4b3060f93646aca4e27121f4b8fc0483786e407ea9cf1f"
    ),
    "wasm/vision_wasm_nosimd_internal.wasm": (
        "3821ea9b1f7fb8c549ef2a064ef5c85750bf375c545a49fd6eea0df44a95f1f4"
    ),
}
_INSTALL_COMMAND = "task-bundle serve --install-tasks-vision"
_NPM_TIMEOUT_SECONDS = 600


def find_tasks_vision(folder: Path | None = None) -> Mapping[str, bytes]:
    """Reads the package's files that a page needs, without downloading anything.

    In this order: the folder given; `node_modules` of the working directory; the cache, into which
    `install_tasks_vision` writes. Each file is checked by its sha256: other releases have no
    FaceStylizer, or another one.

    Args:
      folder: the package's own folder, the one that has vision_bundle.mjs. Nothing else is tried
        when it is given.

    Returns:
      Paths inside the package, such as 'wasm/vision_wasm_internal.js', to contents.

    Raises:
      TasksVisionError: the package is not there, or is another release, or is damaged.
      OSError: a file cannot be read.
    """
    folders = [folder] if folder is not None else [_in(Path()), _in(_cached())]
    reasons = []
    for candidate in folders:
        try:
            return _read(candidate)
        except TasksVisionError as error:
            reasons.append(str(error))
    raise TasksVisionError(
        f"{'; '.join(reasons)}; the page needs the npm package {PACKAGE} {VERSION}:"
        f" {_INSTALL_COMMAND} installs it"
    )


def install_tasks_vision() -> Path:
    """Installs the package (20 MB) into the cache folder by npm, from the registry npm is set to.

    npm compares what it gets with the published hash; then each file that is used is compared, too.

    Returns:
      The package's folder.

    Raises:
      TasksVisionError: there is no npm, it failed, or what it installed is not what was published.
      OSError: the cache cannot be written to.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise TasksVisionError(
            f"there is no npm on the PATH to install {PACKAGE} {VERSION} with; install Node.js, or"
            " unpack the package elsewhere and name its folder with --tasks-vision"
        )
    folder = _cached()
    folder.mkdir(parents=True, exist_ok=True)
    package = {"private": True, "dependencies": {PACKAGE: VERSION}}
    lock = {
        "lockfileVersion": 3,
        "packages": {
            "": {"dependencies": {PACKAGE: VERSION}},
            f"node_modules/{PACKAGE}": {"version": VERSION, "integrity": _INTEGRITY},
        },
    }
    (folder / "package.json").write_text(json.dumps(package))
    (folder / "package-lock.json").write_text(json.dumps(lock))
    # `ci` installs what the lock file says or nothing. The package has no scripts to run.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_NPM_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise TasksVisionError(f"npm did not end within {_NPM_TIMEOUT_SECONDS} seconds") from error
    if done.returncode:
        said = " ".join(done.stderr.split())[:500] or "without a message"
        raise TasksVisionError(f"npm failed to install {PACKAGE} {VERSION}: {said}")
    installed = _in(folder)
    _read(installed)
    return installed


def _cached() -> Path:
    return cache_folder() / "npm"


def _in(folder: Path) -> Path:
    return folder / "node_modules" / PACKAGE


def _read(folder: Path) -> dict[str, bytes]:
    contents = {}
    for name, digest in _SHA256.items():
        file = folder / name
        if not file.is_file():
            raise TasksVisionError(f"there is no {file}")
        contents[name] = file.read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise TasksVisionError(f"{file} is not that of {PACKAGE} {VERSION}, or is damaged")
    return contents
