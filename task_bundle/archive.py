"""Reads and writes `.task` archives: zip files whose entries can be memory-mapped."""

import hashlib
import io
import os
import re
import stat
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from task_bundle.errors import BundleError
from task_bundle.files import already_exists, atomic_write

FACE_DETECTOR = "face_detector.tflite"
FACE_LANDMARKS_DETECTOR = "face_landmarks_detector.tflite"
FACE_STYLIZER = "face_stylizer.tflite"
MODEL_SUFFIX = ".tflite"

# The largest known bundles have 30 MB and four entries. The limits keep a damaged or hostile file
# from filling the memory: the content, one copy of it and what is computed from it together stay
# below 1 GiB.
MAX_BYTES = 128 * 2**20
MAX_ENTRIES = 64

# MediaPipe maps the entries in place, and flatbuffers need four-byte alignment.
ALIGNMENT = 4
# The earliest timestamp a zip can express; a constant keeps the archives reproducible.
_EPOCH = (1980, 1, 1, 0, 0, 0)
# The extra field that Android's zipalign uses for padding: id, size, alignment, zeros.
_PADDING_FIELD_ID = 0xD935

# Only names that zip tools on every system extract as a plain file into the target folder, and
# nowhere else. The names in known bundles are words with underscores and a suffix.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
# Signature; version, flags, method, time, date; CRC, two sizes; lengths of name and extra field.
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
# Signature; two disks, two counts of entries; the directory's size and offset; comment's length.
_END_RECORD = struct.Struct("<4s4H2LH")
_LOCAL_SIGNATURE = b"PK\3\4"
_END_SIGNATURE = b"PK\5\6"
_ZIP64_LOCATOR_SIGNATURE, _ZIP64_LOCATOR_BYTES = b"PK\6\7", 20
_MAX_COMMENT = 0xFFFF
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_SIZES_FOLLOW_DATA = 0x8
_HARMLESS_FLAGS = 0x6 | _SIZES_FOLLOW_DATA | 0x800  # Deflate's level; UTF-8 names.


@dataclass(frozen=True)
class Entry:
    """A file in an archive.

    Attributes:
      name: a plain file name.
      data: the content, uncompressed.
      offset: position of the entry's first data byte in the archive.
      compressed: whether the data are deflated in the archive.
    """

    name: str
    data: bytes
    offset: int
    compressed: bool

    @property
    def alignment(self) -> int:
        """The largest power of two that divides the offset."""
        return self.offset & -self.offset

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class TaskArchive:
    """Any `.task` file, such as Google's face_landmarker.task or a stylizer bundle.

    Attributes:
      entries: the files in it, in the archive's order.
      size: the size of the whole archive, in bytes.
      name: how error messages call it: by its path, if it has one.
    """

    entries: tuple[Entry, ...]
    size: int
    name: str

    @classmethod
    def open(cls, source: str | os.PathLike[str] | bytes) -> Self:
        """Reads an archive without interpreting its entries.

        Args:
          source: the path of the archive, or its content.

        Returns:
          The archive.

        Raises:
          FileNotFoundError: the file does not exist.
          BundleError: the archive is damaged or unsafe (see `read_entries`).
          OSError: the file cannot be read.
        """
        data, name = read_bytes(source)
        return cls(read_entries(data, name), len(data), name)

    def contents(self) -> dict[str, bytes]:
        """Returns file names and contents, in the archive's order."""
        return {entry.name: entry.data for entry in self.entries}

    def replace(self, name: str, data: bytes) -> Self:
        """Returns a copy of the archive in which one entry has other content.

        Args:
          name: the name of an existing entry.
          data: its new content.

        Returns:
          The new archive: all entries uncompressed, aligned and without timestamps.

        Raises:
          BundleError: the archive has no such entry.
        """
        contents = self.contents()
        if name not in contents:
            raise BundleError(f"{self.name} has no {name}; it has {', '.join(contents)}")
        written = write_archive({**contents, name: data})
        return type(self)(read_entries(written, self.name), len(written), self.name)

    def to_bytes(self) -> bytes:
        """Returns the archive's bytes, which depend on nothing but the entries."""
        return write_archive(self.contents())

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Writes the archive atomically.

        Args:
          path: the file, customarily named `*.task`. Its folder must exist.
          overwrite: whether an existing file may be replaced.

        Raises:
          FileExistsError: the file exists and `overwrite` is false.
          OSError: the file cannot be written.
        """
        atomic_write(path, self.to_bytes(), overwrite)

    def extract(self, folder: str | os.PathLike[str], overwrite: bool = False) -> list[Path]:
        """Writes the entries into a folder.

        Args:
          folder: the target, which is created with its parents if it does not exist.
          overwrite: whether existing files may be replaced.

        Returns:
          The files written.

        Raises:
          BundleError: `folder` is a file.
          FileExistsError: some of the files exist and `overwrite` is false; none was written.
          OSError: a file cannot be written.
        """
        target = Path(folder)
        if target.exists() and not target.is_dir():
            raise BundleError(f"{target} is not a folder")
        files = {target / entry.name: entry.data for entry in self.entries}
        # Checked before the first file is written, so that a refusal leaves nothing behind.
        taken = [str(file) for file in files if file.exists()]
        if taken and not overwrite:
            raise already_exists(*taken)
        target.mkdir(parents=True, exist_ok=True)
        for file, data in files.items():
            atomic_write(file, data, overwrite)
        return list(files)


def write_archive(entries: Mapping[str, bytes]) -> bytes:
    """Packs files into a reproducible zip.

    Args:
      entries: contents by plain file name (ASCII letters, digits and `_.+-`), in the order in
        which they are stored.

    Returns:
      The zip: uncompressed entries whose data start at multiples of four bytes, with constant
      timestamps. The same entries always give the same bytes.

    Raises:
      BundleError: `read_entries` would refuse a name.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            _check_name(name, "the bundle")
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix, also where this runs on another system.
            info.external_attr = 0o100644 << 16
            info.extra = _padding(buffer.tell() + _LOCAL_HEADER.size + len(name))
            archive.writestr(info, data)
    return buffer.getvalue()


def _padding(offset: int) -> bytes:
    """Returns an extra field that pushes data from `offset` to the next aligned position."""
    smallest = struct.calcsize("<HHH")
    zeros = -(offset + smallest) % ALIGNMENT
    return struct.pack("<HHH", _PADDING_FIELD_ID, 2 + zeros, ALIGNMENT) + bytes(zeros)


def read_bytes(source: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    """Reads the bytes of a bundle or model, up to `MAX_BYTES`.

    Args:
      source: the path of a file, or its content.

    Returns:
      The content, and a name for it in error messages.

    Raises:
      FileNotFoundError: the file does not exist.
      BundleError: the path is not a file, or the content is larger than `MAX_BYTES`.
      OSError: the file cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        _check_size(len(source), "the bundle")
        return bytes(source), "the bundle"
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not path.is_file():
        raise BundleError(f"{path} is not a file")
    with open(path, "rb") as file:
        # Checked before reading, because `read(MAX_BYTES)` would reserve that much for any file.
        _check_size(os.fstat(file.fileno()).st_size, str(path))
        return file.read(), str(path)


def _check_size(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise BundleError(f"{name} is larger than {MAX_BYTES // 2**20} MiB")


def read_archive(data: bytes, name: str) -> dict[str, bytes]:
    """Unpacks a zip with the checks of `read_entries`.

    Args:
      data: the zip.
      name: how error messages call it.

    Returns:
      Contents by file name, in the archive's order.

    Raises:
      BundleError: as for `read_entries`.
    """
    return {entry.name: entry.data for entry in read_entries(data, name)}


def read_entries(data: bytes, name: str) -> tuple[Entry, ...]:
    """Unpacks a zip that all zip readers understand in the same way.

    A zip describes each entry twice, in the central directory and in the entry's local header.
    Readers differ in which of them they trust, and in where they look for the directory, so both
    must agree here.

    Args:
      data: the zip.
      name: how error messages call it.

    Returns:
      The entries, in the order of the central directory.

    Raises:
      BundleError: the data are not a zip, are truncated, go on after its end, or are one of several
        parts; there are more than `MAX_ENTRIES` entries, or more than `MAX_BYTES` uncompressed; an
        entry occurs twice, overlaps another, is encrypted, is not a plain file, has a name that is
        not a plain file name, a header that contradicts the directory or a wrong checksum, or is
        compressed by another method than deflate.
    """
    directory_start, count = _find_directory(data, name)
    entries: list[Entry] = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) != count:
                raise BundleError(
                    f"{name} is damaged: it has {len(infos)} entries and announces {count}"
                )
            starts = _check_entries(data, infos, directory_start, name)
            for info, start in zip(infos, starts, strict=True):
                content = archive.read(info)
                if len(content) != info.file_size:
                    raise BundleError(f"{name} is damaged: {info.filename} is cut short")
                compressed = info.compress_type != zipfile.ZIP_STORED
                entries.append(Entry(info.filename, content, start, compressed))
    except BundleError:
        raise
    except zipfile.BadZipFile as error:
        raise BundleError(f"{name} is not a usable .task archive: {error}") from error
    except Exception as error:  # zipfile lets errors of struct, zlib and codecs through.
        raise BundleError(f"{name} is a damaged .task archive: {error}") from error
    return tuple(entries)


def _find_directory(data: bytes, name: str) -> tuple[int, int]:
    """Returns the central directory's offset and number of entries, from the end record."""
    end = data.rfind(_END_SIGNATURE, max(0, len(data) - _END_RECORD.size - _MAX_COMMENT))
    if end < 0 or end + _END_RECORD.size > len(data):
        raise BundleError(f"{name} is not a .task archive: it does not end as a zip does")
    record = _END_RECORD.unpack_from(data, end)
    _, disk, directory_disk, count_here, count, size, start, comment = record
    if end + _END_RECORD.size + comment != len(data):
        raise BundleError(f"{name} is damaged: bytes after its end, or fewer than announced")
    locator = data[max(0, end - _ZIP64_LOCATOR_BYTES) : end]
    if locator.startswith(_ZIP64_LOCATOR_SIGNATURE) or 0xFFFFFFFF in (size, start):
        raise BundleError(f"{name} is a zip64 archive, which no bundle needs")
    if disk or directory_disk or count_here != count:
        raise BundleError(f"{name} is one part of several: a bundle is one file")
    if start + size != end:
        raise BundleError(f"{name} is damaged: its directory is not where its end says")
    if count > MAX_ENTRIES:
        raise BundleError(f"{name} has {count} entries; a bundle has at most {MAX_ENTRIES}")
    # An entry of the directory has at least 46 bytes. Without the limit, zipfile would read a huge
    # directory into memory.
    if size > MAX_ENTRIES * 1024:
        raise BundleError(f"{name} is damaged: its directory has {size} bytes")
    return start, count


def _check_entries(
    data: bytes, infos: list[zipfile.ZipInfo], directory_start: int, name: str
) -> list[int]:
    """Checks all that is known before unpacking; returns the offset of each entry's data."""
    starts, spans, seen = [], [], set[str]()
    total = 0
    for info in infos:
        _check_name(info.orig_filename, name)
        entry = info.filename
        # Names that differ only in case are the same file on some systems.
        if entry.casefold() in seen:
            raise BundleError(f"{name} has {entry} twice")
        seen.add(entry.casefold())
        _check_kind(info, name)
        total += info.file_size
        if total > MAX_BYTES:
            raise BundleError(f"{name} unpacks to more than {MAX_BYTES // 2**20} MiB")
        start = _check_header(data, info, name)
        end = start + info.compress_size
        if end > directory_start:
            raise BundleError(f"{name} is damaged: {entry} reaches beyond the archive's data")
        starts.append(start)
        spans.append((info.header_offset, end, entry))
    spans.sort()
    for (_, end, entry), (begin, _, other) in zip(spans, spans[1:], strict=False):
        if end > begin:
            raise BundleError(f"{name} is damaged: {entry} and {other} overlap")
    return starts


def _check_name(entry: str, name: str) -> None:
    if not _NAME.fullmatch(entry):
        shown = ascii(entry[:80])
        raise BundleError(f"{name} has an entry called {shown}, which is no plain file name")


def _check_kind(info: zipfile.ZipInfo, name: str) -> None:
    """Checks that an entry is a plain file that every zip reader can unpack."""
    entry = info.filename
    if info.flag_bits & _ENCRYPTED:
        raise BundleError(f"{name}: {entry} is encrypted")
    if info.flag_bits & ~_HARMLESS_FLAGS:
        raise BundleError(f"{name}: {entry} has unknown zip flags {info.flag_bits:#06x}")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise BundleError(f"{name}: {entry} is a link or a folder, not a file")
    if info.compress_type == zipfile.ZIP_STORED:
        if info.compress_size != info.file_size:
            raise BundleError(f"{name} is damaged: {entry} is stored with two different sizes")
    elif info.compress_type != zipfile.ZIP_DEFLATED:
        raise BundleError(f"{name}: {entry} is compressed by other means than deflate")


def _check_header(data: bytes, info: zipfile.ZipInfo, name: str) -> int:
    """Checks an entry's local header against the directory; returns its data's offset."""
    entry, offset = info.filename, info.header_offset
    if not 0 <= offset <= len(data) - _LOCAL_HEADER.size:
        raise BundleError(f"{name} is damaged: {entry} lies outside the file")
    header = _LOCAL_HEADER.unpack_from(data, offset)
    signature, _, flags, method, _, _, crc, packed, unpacked, name_bytes, extra_bytes = header
    name_start = offset + _LOCAL_HEADER.size
    own_name = data[name_start : name_start + name_bytes]
    sizes = (info.CRC, info.compress_size, info.file_size)
    announced = [sizes]
    if flags & _SIZES_FOLLOW_DATA:
        announced.append((0, 0, 0))
    if (
        signature != _LOCAL_SIGNATURE
        or (flags, method) != (info.flag_bits, info.compress_type)
        or own_name != info.orig_filename.encode("ascii")
        or (crc, packed, unpacked) not in announced
    ):
        raise BundleError(f"{name} is damaged: {entry}'s header contradicts the directory")
    return int(name_start + name_bytes + extra_bytes)


def models_of(archive: TaskArchive) -> dict[str, bytes]:
    """Returns the contents of an archive's `*.tflite` entries, by name."""
    return {n: data for n, data in archive.contents().items() if n.endswith(MODEL_SUFFIX)}
