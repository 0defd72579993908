"""Finds `benchmark_model`: a file of the user's, or the build that TensorFlow publishes."""

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

# The address on LiteRT's and TensorFlow Lite's pages on performance measurement. The files are
# replaced every night and have no published hash.
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
# The threads of several phones may need the download at the same time; one of them makes it.
_DOWNLOADING = threading.Lock()

# ABI by ELF's e_machine and class (1: 32 bits, 2: 64 bits).
_MACHINES = {
    (183, 2): "arm64-v8a",
    (40, 1): "armeabi-v7a",
    (62, 2): "x86_64",
    (3, 1): "x86",
}


@dataclass(frozen=True)
class ToolBinary:
    """A benchmark_model program for one ABI.

    Attributes:
      path: The program.
      abi: Android's name of the ABI, such as 'arm64-v8a'.
      sha256: SHA-256 of the program, in hexadecimal.
    """

    path: Path
    abi: str
    sha256: str


def open_binary(path: Path) -> ToolBinary:
    """Reads a program that the user provides.

    Args:
      path: The program.

    Returns:
      The program with its ABI and hash.

    Raises:
      AndroidError: the file is not a program for Android phones.
      OSError: the file cannot be read.
    """
    content = path.read_bytes()
    return ToolBinary(path, _abi(content, str(path)), hashlib.sha256(content).hexdigest())


def download_binary(
    abi: str, sha256: str | None = None, url: str = PUBLISHED_URL, timeout: float = 60.0
) -> ToolBinary:
    """Downloads TensorFlow's published program once; later calls find it in the cache.

    No hash is published to verify the program. Therefore the hash of the first download is
    recorded, and a later download with another hash is refused unless the caller states it. Results
    stay comparable, and a replaced file does not go unnoticed.

    Args:
      abi: 'arm64-v8a' or 'armeabi-v7a'; no other is published.
      sha256: Required SHA-256 in hexadecimal; the recorded one if None.
      url: Address of the folder with the program.
      timeout: Seconds to wait for an answer, and for each part of it.

    Returns:
      The program in the cache.

    Raises:
      AndroidError: no program is published for the ABI, the download failed, or the program has
        another hash or ABI than required.
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
                f"{path} has changed since it was downloaded: delete it, or state its --sha256"
            )
    address = url + _PUBLISHED[abi]
    try:
        content = fetch(address, timeout, _MAX_BYTES)
    except DownloadError as error:
        raise AndroidError(str(error)) from error
    digest = hashlib.sha256(content).hexdigest()
    if wanted is not None and digest != wanted:
        required_by = "--sha256 requires" if sha256 else f"{record} has recorded"
        raise AndroidError(
            f"{address} returned a file with sha256 {digest}, but {required_by} {wanted}; the file"
            f" was not kept. If you trust the new one, pass --sha256 {digest}"
        )
    if _abi(content, address) != abi:
        raise AndroidError(f"{address} returned a program for {_abi(content, address)}, not {abi}")
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"url": address, "sha256": digest, "bytes": len(content)}
    # The record is written first, because a program without one would be refused from then on.
    atomic_write(record, json.dumps(entry, indent=1).encode() + b"\n", overwrite=True)
    atomic_write(path, content, overwrite=True)
    return ToolBinary(path, abi, digest)


def _recorded(record: Path) -> str | None:
    try:
        value = json.loads(record.read_bytes())["sha256"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise AndroidError(f"{record} is damaged: delete its folder") from error
    return str(value)


def _abi(content: bytes, name: str) -> str:
    if len(content) < 20 or content[:4] != b"\x7fELF":
        raise AndroidError(f"{name} is not a program for Android: it is not an ELF file")
    (machine,) = struct.unpack_from("<H", content, 18)
    abi = _MACHINES.get((machine, content[4]))
    if abi is None:
        raise AndroidError(f"{name} is a program for another processor (ELF machine {machine})")
    return abi
