"""Executables that a test pushes to the simulated phone in place of programs for Android.

Such a file has the ELF header of a program for an ABI, followed by a script. The kernel of this
machine does not run programs for other ABIs. Therefore the simulated disk stores the file with
another header of the same size, which makes it a script. The sync service and the tools that
compute checksums convert between the two.
"""

import shlex
import struct
import sys
from pathlib import Path
from typing import Final

from .programs import BENCHMARK_MODEL

# By Android's name of the ABI: whether it has 64 bits, and ELF's e_machine.
_MACHINES: Final = {
    "arm64-v8a": (True, 183),
    "armeabi-v7a": (False, 40),
    "x86_64": (True, 62),
    "x86": (False, 3),
}
_DYNAMIC: Final = 3  # ET_DYN, as all programs for Android are.
_HEADER_SIZE: Final = 64
_MARK: Final = b"\n# A stand-in for tests of a program for Android.\n"


def write_benchmark_model(path: Path, abi: str = "arm64-v8a") -> Path:
    """Writes an executable that stands in for TensorFlow's benchmark_model.

    Args:
      path: The file to write.
      abi: Android's name of the ABI of the program that it stands for.
    """
    command = f'exec {shlex.quote(sys.executable)} -I {shlex.quote(BENCHMARK_MODEL)} "$0" "$@"\n'
    path.write_bytes(_elf_header(abi) + _MARK + command.encode())
    path.chmod(0o755)
    return path


def to_disk(data: bytes) -> bytes:
    """Converts the beginning of a pushed file to that on the disk; other files stay as they are."""
    abi = _elf_abi(data)
    if abi is None or not data.startswith(_MARK, _HEADER_SIZE):
        return data
    return _script_header(abi) + data[_HEADER_SIZE:]


def from_disk(data: bytes) -> bytes:
    """Converts the beginning of a file on the disk to that of the pushed file."""
    for abi in _MACHINES:
        if data.startswith(_script_header(abi) + _MARK):
            return _elf_header(abi) + data[_HEADER_SIZE:]
    return data


def abi_of(data: bytes) -> str | None:
    """Returns the ABI of a program on the disk, or None if it is not a program for Android."""
    return _elf_abi(from_disk(data))


def _elf_abi(data: bytes) -> str | None:
    if len(data) < _HEADER_SIZE or data[:4] != b"\x7fELF":
        return None
    (machine,) = struct.unpack_from("<H", data, 18)
    for abi, (is_wide, number) in _MACHINES.items():
        if machine == number and data[4] == (2 if is_wide else 1):
            return abi
    return None


def _elf_header(abi: str) -> bytes:
    is_wide, machine = _MACHINES[abi]
    identity = b"\x7fELF" + bytes([2 if is_wide else 1, 1, 1]) + bytes(9)
    return (identity + struct.pack("<HHI", _DYNAMIC, machine, 1)).ljust(_HEADER_SIZE, b"\0")


def _script_header(abi: str) -> bytes:
    return f"#!/bin/sh\n# {abi} ".encode().ljust(_HEADER_SIZE, b"#")
