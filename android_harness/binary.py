"""Where `benchmark_model` comes from: a file of the user's, or TensorFlow's published one."""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

from android_harness.errors import AndroidError
from task_bundle.cache import cache_folder
from task_bundle.download import fetch
from task_bundle.errors import DownloadError
from task_bundle.files import atomic_write

# As LiteRT's and TensorFlow Lite's page on measuring performance gives them. What lies there is
# replaced every night and has no published hash.
PUBLISHED_URL = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/"
    "nightly/latest/"
)
_PUBLISHED = {
    "arm64-v8a": "android_aarch64_benchmark_model",
    "armeabi-v7a": "android_arm_benchmark_model",
}
PUBLISHED_ABIS = frozenset(_PUBLISHED)
_MAX_BYTES = 128 * 2**20
# Several phones want it at once; one download is enough.
_DOWNLOADING = threading.Lock()

# ELF's e_machine, and whether it has 64 bits.
_MACHINES = {
    (183, 2): "arm64-v8a",
    (40, 1): "armeabi-v7a",
    (62, 2): "x86_64",
    (3, 1): "x86",
}


@dataclass(frozen=True)
class ToolBinary:
    """A benchmark_model for one instruction set.

    Attributes:
      path: the program.
      abi: the instruction set, in Android's words.
      sha256: of the program.
    """

    path: Path
    abi: str
    sha256: str


def open_binary(path: Path) -> ToolBinary:
    """Looks at a program that a user gives.

    Args:
      path: the program.

    Returns:
      The binary.

    Raises:
      AndroidError: it is no program for Android phones.
      OSError: it cannot be read.
    """
    content = path.read_bytes()
    return ToolBinary(path, _abi(content, str(path)), hashlib.sha256(content).hexdigest())


def download_binary(
    abi: str, sha256: str | None = None, url: str = PUBLISHED_URL, timeout: float = 60.0
) -> ToolBinary:
    """Downloads TensorFlow's published program once; later calls find it in the cache.

    There is no published hash to check it with. So the first download's hash is recorded, and a
    later download that gives something else is refused unless its hash is stated: results stay
    comparable, and an exchange does not go unnoticed.

    Args:
      abi: 'arm64-v8a' or 'armeabi-v7a'; no other is published.
      sha256: what it must be, in hexadecimal; what was recorded if None.
      url: the folder that has it.
      timeout: seconds to wait for an answer, and for each part of it.

    Returns:
      The binary, in the cache.

    Raises:
      AndroidError: none is published for the ABI, the download failed, or it is not what it must
        be.
      OSError: the cache cannot be written.
    """
    with _DOWNLOADING:
        return _download(abi, sha256, url, timeout)


def _download(abi: str, sha256: str | None, url: str, timeout: float) -> ToolBinary:
    if abi not in _PUBLISHED:
        raise AndroidError(
            f"TensorFlow publishes no benchmark_model for {abi}, only for"
            f" {' and '.join(_PUBLISHED)}: build it with bazel and give it with --benchmark-model"
        )
    folder = cache_folder() / "benchmark_model" / abi
    path, record = folder / "benchmark_model", folder / "record.json"
    recorded = _recorded(record)
    wanted = sha256.lower() if sha256 else recorded
    if path.is_file():
        found = open_binary(path)
        if found.sha256 == wanted:
            return found
        if sha256 is None:
            raise AndroidError(
                f"{path} is not what was downloaded: delete it, or state its --sha256"
            )
    address = url + _PUBLISHED[abi]
    try:
        content = fetch(address, timeout, _MAX_BYTES)
    except DownloadError as error:
        raise AndroidError(str(error)) from error
    digest = hashlib.sha256(content).hexdigest()
    if wanted is not None and digest != wanted:
        asked = "--sha256 asks for" if sha256 else f"{record} recorded"
        raise AndroidError(
            f"{address} gives a file with sha256 {digest}, and {asked} {wanted}; nothing was kept."
            f" If you trust the new one, pass --sha256 {digest}"
        )
    if _abi(content, address) != abi:
        raise AndroidError(f"{address} gives a program for {_abi(content, address)}, not {abi}")
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"url": address, "sha256": digest, "bytes": len(content)}
    # The record first: a program without one would be refused from then on.
    atomic_write(record, json.dumps(entry, indent=1).encode() + b"\n", overwrite=True)
    atomic_write(path, content, overwrite=True)
    return ToolBinary(path, abi, digest)


def _recorded(record: Path) -> str | None:
    try:
        value = json.loads(record.read_bytes())["sha256"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise AndroidError(f"{record} is damaged: delete it and what lies beside it") from error
    return str(value)


def _abi(content: bytes, name: str) -> str:
    if len(content) < 20 or content[:4] != b"\x7fELF":
        raise AndroidError(f"{name} is no program for Android: it is not an ELF file")
    (machine,) = struct.unpack_from("<H", content, 18)
    abi = _MACHINES.get((machine, content[4]))
    if abi is None:
        raise AndroidError(f"{name} is a program for another processor (ELF machine {machine})")
    return abi
