"""The archive format of `.task` files: a zip whose entries can be mapped as they lie."""

import io
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from task_bundle.errors import BundleError

FACE_DETECTOR = "face_detector.tflite"
FACE_LANDMARKS_DETECTOR = "face_landmarks_detector.tflite"
FACE_STYLIZER = "face_stylizer.tflite"

# The largest bundles known are 30 MB; the bound only keeps a damaged or hostile file from filling
# the memory.
MAX_BYTES = 512 * 2**20

# MediaPipe maps entries where they lie, and flatbuffers need four-byte alignment.
_ALIGNMENT = 4
# The first timestamp a zip can express: no clock in the bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOCAL_HEADER_BYTES = 30
# The extra field that Android's zipalign uses for padding: id, size, alignment, zeros.
_PADDING_FIELD_ID = 0xD935


def write_archive(entries: Mapping[str, bytes]) -> bytes:
    """Packs files into a zip that depends on nothing but its input.

    Args:
      entries: file names (ASCII) to contents, in the order they are stored in.

    Returns:
      The zip: entries stored without compression, their data at multiples of four bytes, fixed
      timestamps. The same entries always give the same bytes.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix, whatever system this runs on.
            info.external_attr = 0o100644 << 16
            info.extra = _padding(buffer.tell() + _LOCAL_HEADER_BYTES + len(name.encode("ascii")))
            archive.writestr(info, data)
    return buffer.getvalue()


def _padding(offset: int) -> bytes:
    """Returns an extra field that moves data from `offset` to the next aligned place."""
    smallest = struct.calcsize("<HHH")
    zeros = -(offset + smallest) % _ALIGNMENT
    return struct.pack("<HHH", _PADDING_FIELD_ID, 2 + zeros, _ALIGNMENT) + bytes(zeros)


def read_bytes(source: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    """Reads a bundle's bytes, refusing what is too big to be one.

    Args:
      source: a path, or the content itself.

    Returns:
      The content, and a name for it in messages.

    Raises:
      FileNotFoundError: no such file.
      BundleError: the path is not a file, or the content is larger than `MAX_BYTES`.
      OSError: the file cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), "the bundle"
    else:
        path = Path(source)
        name = str(path)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        if not path.is_file():
            raise BundleError(f"{path} is not a file")
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BundleError(f"{name} is larger than {MAX_BYTES // 2**20} MiB")
    return data, name


def read_archive(data: bytes, name: str, stored_only: bool = False) -> dict[str, bytes]:
    """Unpacks a zip with checks.

    Args:
      data: the zip.
      name: what to call it in messages.
      stored_only: whether compressed entries are an error, as they are to MediaPipe.

    Returns:
      File names to contents, in the archive's order.

    Raises:
      BundleError: not a zip, damaged, encrypted, an entry twice, more than `MAX_BYTES` unpacked,
        or compressed where it must not be.
    """
    contents: dict[str, bytes] = {}
    total = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.filename in contents:
                    raise BundleError(f"{name} has {info.filename} twice")
                if stored_only and info.compress_type != zipfile.ZIP_STORED:
                    raise BundleError(
                        f"{name}: {info.filename} is compressed; entries must be stored as they are"
                    )
                total += info.file_size
                if total > MAX_BYTES:
                    raise BundleError(f"{name} unpacks to more than {MAX_BYTES // 2**20} MiB")
                contents[info.filename] = archive.read(info)
    except BundleError:
        raise
    except zipfile.BadZipFile as error:
        raise BundleError(f"{name} is not a usable .task archive: {error}") from error
    except Exception as error:  # zipfile lets struct, zlib and encoding errors through.
        raise BundleError(f"{name} is a damaged .task archive: {error}") from error
    return contents
