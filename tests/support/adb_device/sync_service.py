"""The file service, "sync:", as AOSP's adb/SYNC.TXT and adb/file_sync_protocol.h define it."""

import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import binaries

if TYPE_CHECKING:
    from .connection import Stream
    from .device import AdbDevice

DATA_MAX: Final = 64 * 1024

_REQUEST: Final = struct.Struct("<4sI")
_STAT_V1: Final = struct.Struct("<4s3I")
_DENT_V1: Final = struct.Struct("<4s4I")
# error, dev, ino, mode, nlink, uid, gid, size, atime, mtime, ctime; DNT2 adds the name's length.
_STAT_V2: Final = struct.Struct("<4sIQQIIIIQqqq")
_DENT_V2: Final = struct.Struct("<4sIQQIIIIQqqqI")
_SEND_V2: Final = struct.Struct("<4sII")
_RECV_V2: Final = struct.Struct("<4sI")

_PATH_MAX: Final = 1024


class _Failure(Exception):
    """A failure that is sent to the host as FAIL and ends the service."""


class SyncService:
    """Serves one "sync:" stream."""

    def __init__(self, device: "AdbDevice", stream: "Stream") -> None:
        self._device = device
        self._disk = device.disk
        self._stream = stream

    def run(self) -> None:
        """Answers requests until the host quits or disconnects, or a request fails."""
        handlers = {
            b"STAT": self._stat_v1,
            b"STA2": self._stat_v2,
            b"LST2": self._stat_v2,
            b"LIST": self._list,
            b"LIS2": self._list,
            b"SEND": self._send_v1,
            b"SND2": self._send_v2,
            b"RECV": self._receive_v1,
            b"RCV2": self._receive_v2,
        }
        while True:
            kind, length = _REQUEST.unpack(self._stream.read_exactly(_REQUEST.size))
            if kind == b"QUIT":
                return
            try:
                if length > _PATH_MAX:
                    raise _Failure("path too long")
                path = self._stream.read_exactly(length).decode()
                if kind not in handlers:
                    raise _Failure(f"unknown command {int.from_bytes(kind, 'little'):08x}")
                handlers[kind](kind, path)
            except _Failure as failure:
                self._fail(failure)
                return

    def _stat_v1(self, kind: bytes, path: str) -> None:
        try:
            status = os.lstat(self._disk.host_path(path, follow=False))
        except OSError:
            self._stream.write(_STAT_V1.pack(kind, 0, 0, 0))
            return
        size = min(status.st_size, 0xFFFFFFFF)
        self._stream.write(_STAT_V1.pack(kind, status.st_mode, size, int(status.st_mtime)))

    def _stat_v2(self, kind: bytes, path: str) -> None:
        try:
            found = self._disk.host_path(path, follow=kind == b"STA2")
            fields = _stat_fields(os.lstat(found))
        except OSError as error:
            fields = (error.errno, *[0] * 10)
        self._stream.write(_STAT_V2.pack(kind, *fields))

    def _list(self, kind: bytes, path: str) -> None:
        new = kind == b"LIS2"
        try:
            folder = self._disk.host_path(path)
            names = [".", "..", *sorted(os.listdir(folder))]
        except OSError:
            names = []
        for name in names:
            status = os.lstat(folder if name in (".", "..") else folder / name)
            encoded = os.fsencode(name)
            if new:
                entry = _DENT_V2.pack(b"DNT2", *_stat_fields(status), len(encoded))
            else:
                size = min(status.st_size, 0xFFFFFFFF)
                entry = _DENT_V1.pack(
                    b"DENT", status.st_mode, size, int(status.st_mtime), len(encoded)
                )
            self._stream.write(entry + encoded)
        self._stream.write(
            _DENT_V2.pack(b"DONE", *[0] * 12) if new else _DENT_V1.pack(b"DONE", 0, 0, 0, 0)
        )

    def _send_v1(self, kind: bytes, specification: str) -> None:
        path, comma, mode = specification.rpartition(",")
        if not comma:
            raise _Failure("missing , in ID_SEND_V1")
        self._accept(path, int(mode, 0))

    def _send_v2(self, kind: bytes, path: str) -> None:
        _, mode, flags = _SEND_V2.unpack(self._stream.read_exactly(_SEND_V2.size))
        if flags:
            raise _Failure(f"unknown flags: {flags}")
        self._accept(path, mode)

    def _accept(self, path: str, mode: int) -> None:
        """Writes a file that the host sends; as with adbd, an old file is removed first."""
        target = self._disk.host_path(path, follow=False)
        try:
            if stat.S_ISLNK(mode):
                when = self._accept_link(target)
            else:
                when = self._accept_file(target, mode)
        except _Failure as failure:
            self._fail(failure)
            self._drain()
            self._discard(target)
            raise EOFError("the transfer failed") from failure
        except EOFError:
            # adbd removes the incomplete file when the cable is pulled, but not in a reboot.
            if not self._device.is_down:
                self._discard(target)
            raise
        os.utime(target, (when, when), follow_symlinks=False)
        self._stream.write(_REQUEST.pack(b"OKAY", 0))

    def _accept_file(self, target: Path, mode: int) -> int:
        try:
            self._disk.check_writable(target)
            self._discard(target)
            target.parent.mkdir(mode=0o775, parents=True, exist_ok=True)
            file = target.open("wb")
        except OSError as error:
            raise _Failure(f"couldn't create file: {error.strerror}") from error
        with file:
            # Group and others get the permissions of the user.
            mode &= 0o777
            mode |= (mode >> 3) & 0o070
            mode |= (mode >> 3) & 0o007
            if self._disk.remote_path(str(target)).startswith("/storage/"):
                mode = 0o660  # Shared storage has no permissions, and its files are not executable.
            os.chmod(file.fileno(), mode)
            beginning = True
            while True:
                kind, size = _REQUEST.unpack(self._stream.read_exactly(_REQUEST.size))
                if kind == b"DONE":
                    return size
                if kind != b"DATA":
                    raise _Failure("invalid data message")
                if size > DATA_MAX:
                    raise _Failure("oversize data message")
                data = self._stream.read_exactly(size)
                if beginning:
                    data, beginning = binaries.to_disk(data), False
                try:
                    self._device.faults.on_write(len(data))
                    file.write(data)
                except OSError as error:
                    raise _Failure(f"write failed: {error.strerror}") from error
                self._device.faults.on_push(len(data))

    def _accept_link(self, target: Path) -> int:
        kind, size = _REQUEST.unpack(self._stream.read_exactly(_REQUEST.size))
        if kind != b"DATA":
            raise _Failure("invalid data message: expected ID_DATA")
        destination = self._stream.read_exactly(size).rstrip(b"\0").decode()
        try:
            self._disk.check_writable(target)
            self._discard(target)
            target.parent.mkdir(mode=0o775, parents=True, exist_ok=True)
            target.symlink_to(self._disk.link_target(destination))
        except OSError as error:
            raise _Failure(f"symlink failed: {error.strerror}") from error
        kind, when = _REQUEST.unpack(self._stream.read_exactly(_REQUEST.size))
        if kind != b"DONE":
            raise _Failure("invalid data message: expected ID_DONE")
        return when

    def _fail(self, failure: _Failure) -> None:
        reason = str(failure).encode()
        self._stream.write(_REQUEST.pack(b"FAIL", len(reason)) + reason)

    def _drain(self) -> None:
        """Reads to the end of the file, because old hosts only then look for an answer."""
        try:
            while True:
                kind, size = _REQUEST.unpack(self._stream.read_exactly(_REQUEST.size))
                if kind != b"DATA" or size > DATA_MAX:
                    return
                self._stream.read_exactly(size)
        except EOFError:
            pass  # Newer hosts disconnect as soon as they have read FAIL.

    def _discard(self, target: Path) -> None:
        if target.is_symlink() or target.is_file():
            target.unlink()

    def _receive_v1(self, kind: bytes, path: str) -> None:
        try:
            file = self._disk.host_path(path).open("rb")
        except OSError as error:
            raise _Failure(f"open failed: {error.strerror}") from error
        with file:
            beginning = True
            while True:
                try:
                    data = file.read(DATA_MAX - _REQUEST.size)
                except OSError as error:
                    raise _Failure(f"read failed: {error.strerror}") from error
                if not data:
                    break
                if beginning:
                    data, beginning = binaries.from_disk(data), False
                self._stream.write(_REQUEST.pack(b"DATA", len(data)) + data)
        self._stream.write(_REQUEST.pack(b"DONE", 0))

    def _receive_v2(self, kind: bytes, path: str) -> None:
        _, flags = _RECV_V2.unpack(self._stream.read_exactly(_RECV_V2.size))
        if flags:
            raise _Failure(f"unknown flags: {flags}")
        self._receive_v1(kind, path)


def _stat_fields(status: os.stat_result) -> tuple[int, ...]:
    return (
        0,
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        status.st_size,
        int(status.st_atime),
        int(status.st_mtime),
        int(status.st_ctime),
    )
