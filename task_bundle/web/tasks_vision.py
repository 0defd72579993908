"""Finds and installs the npm package with MediaPipe's vision tasks for browsers."""

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

# The hash of the published package, as in npm's lock files.
_INTEGRITY = (
    "sha512-TuhKH+credq4zLksGbYrnvJ1aLIWMc5r0UHwzxzql4BHECJw"
    "IAoBR61ZrqwGOW6ZmSBIzU1t4VtKj8hbxFaKeA=="
)
# The SHA-256 of the files that the page needs. The "nosimd" files are for browsers without SIMD.
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
    """Reads the files of the package that the page needs, without downloading anything.

    The places are tried in this order: the given folder; `node_modules` of the working directory;
    the cache, where `install_tasks_vision` puts the package. The SHA-256 of each file is checked,
    because other releases have no FaceStylizer, or another one.

    Args:
      folder: the folder of the package, in which vision_bundle.mjs is. If it is given, nothing else
        is tried.

    Returns:
      Contents by path inside the package, such as 'wasm/vision_wasm_internal.js'.

    Raises:
      TasksVisionError: the package is missing, another release, or damaged.
      OSError: a file cannot be read.
    """
    if folder is not None:
        try:
            return _read(folder)
        except TasksVisionError as error:
            raise TasksVisionError(
                f"{error}; --tasks-vision names the folder of the unpacked npm package {PACKAGE}"
                f" {VERSION}, and `{_INSTALL_COMMAND}` installs it"
            ) from error
    reasons = []
    # What is not there at all is not worth a word.
    for place in filter(Path.exists, (_package_folder(Path()), _package_folder(_cache()))):
        try:
            return _read(place)
        except TasksVisionError as error:
            reasons.append(str(error))
    because = f"; {'; '.join(reasons)}" if reasons else ""
    raise TasksVisionError(
        f"run `{_INSTALL_COMMAND}` once: it installs what the page needs, the npm package"
        f" {PACKAGE} {VERSION} (20 MB){because}"
    )


def install_tasks_vision() -> Path:
    """Installs the package (20 MB) into the cache folder with npm, from npm's configured registry.

    npm checks the published hash of the package, and this function checks the files that are used.

    Returns:
      The folder of the package.

    Raises:
      TasksVisionError: npm is missing or failed, or a file is not the published one.
      OSError: the cache is not writable.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise TasksVisionError(
            f"there is no npm on the PATH to install {PACKAGE} {VERSION} with; install Node.js, or"
            " unpack the package elsewhere and name its folder with --tasks-vision"
        )
    folder = _cache()
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
    # `npm ci` installs exactly what is in the lock file, or fails. The package needs no scripts.
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
    installed = _package_folder(folder)
    _read(installed)
    return installed


def _cache() -> Path:
    return cache_folder() / "npm"


def _package_folder(folder: Path) -> Path:
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
