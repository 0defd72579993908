"""Tests of task_bundle.archive."""

import hashlib
import io
import struct
import time
import zipfile
from pathlib import Path

import pytest

from task_bundle import archive
from task_bundle.archive import TaskArchive, read_archive, read_bytes, write_archive
from task_bundle.errors import BundleError


def _zip(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in entries:
            made.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


@pytest.mark.parametrize("length", range(5))
def test_data_are_stored_and_aligned(length: int) -> None:
    entries = {"a" * (1 + length): b"x" * length, "b": b"yy", "cc.tflite": bytes(7)}
    data = write_archive(entries)
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        assert made.testzip() is None
        assert made.namelist() == list(entries)
        for info in made.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            name_length, extra_length = struct.unpack_from("<HH", data, info.header_offset + 26)
            start = info.header_offset + 30 + name_length + extra_length
            assert start % 4 == 0
            assert data[start : start + info.file_size] == entries[info.filename]
    assert read_archive(data, "it") == entries


def test_same_input_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_archive({"a": b"1", "b": b"2"})
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert write_archive({"a": b"1", "b": b"2"}) == first
    assert write_archive({"a": b"1", "b": b"3"}) != first


def test_compressed_entries_are_read() -> None:
    (entry,) = TaskArchive.open(_zip(("a", bytes(1000)), method=zipfile.ZIP_DEFLATED)).entries
    assert (entry.data, entry.compressed) == (bytes(1000), True)
    with pytest.raises(BundleError, match="other means than deflate"):
        TaskArchive.open(_zip(("a", bytes(1000)), method=zipfile.ZIP_BZIP2))


def test_damage_is_named(recwarn: pytest.WarningsRecorder) -> None:
    good = write_archive({"a": b"content"})
    damaged = good.replace(b"content", b"kontent")
    for bad in (b"", b"no zip", good[:-10], damaged):
        with pytest.raises(BundleError, match=r"my\.task"):
            read_archive(bad, "my.task")
    with pytest.warns(UserWarning), pytest.raises(BundleError, match="has a twice"):
        read_archive(_zip(("a", b"1"), ("a", b"2")), "my.task")
    with pytest.raises(BundleError, match="has A twice"):
        read_archive(_zip(("a", b"1"), ("A", b"2")), "my.task")


def test_every_truncation_and_addition_is_refused() -> None:
    good = write_archive({"a": b"content", "b": b"more"})
    for length in range(len(good)):
        with pytest.raises(BundleError):
            read_archive(good[:length], "it")
    for bad in (good + b"x", good + good, b"xxxx" + good):
        with pytest.raises(BundleError, match="is damaged"):
            read_archive(bad, "it")


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a/b", "a\\b", "C:a", "a/", "..", ".a", "", "a b", "\u00e9", "a" * 201]
)
def test_names_that_are_no_file_names(name: str) -> None:
    with pytest.raises(BundleError, match="no plain file name"):
        read_archive(_zip((name, b"1")), "it")
    with pytest.raises(BundleError, match="no plain file name"):
        write_archive({name: b"1"})


def test_names_cut_by_a_zero_byte() -> None:
    data = _zip(("abcd", b"1")).replace(b"abcd", b"a\0/x")
    with pytest.raises(BundleError, match="no plain file name"):
        read_archive(data, "it")


def _patched(directory: bool, offset: int, layout: str, value: int) -> bytes:
    """An archive with a changed number in its first directory entry or first local header."""
    data = bytearray(write_archive({"abcd": b"content", "efgh": b"more"}))
    start = data.index(b"PK\1\2") if directory else 0
    struct.pack_into(layout, data, start + offset, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_patched(True, 8, "<H", 1), "abcd is encrypted"),
        (_patched(True, 8, "<H", 0x40), "abcd is encrypted"),
        (_patched(True, 8, "<H", 0x10), "unknown zip flags"),
        (_patched(False, 6, "<H", 1), "contradicts the directory"),
        (_patched(False, 8, "<H", 8), "contradicts the directory"),
        (_patched(True, 10, "<H", 12), "other means than deflate"),
        (_patched(False, 14, "<I", 1), "contradicts the directory"),
        (_patched(False, 18, "<I", 1), "contradicts the directory"),
        (_patched(False, 22, "<I", 2**31), "contradicts the directory"),
        (_patched(True, 24, "<I", 5), "stored with two different sizes"),
        (_patched(False, 0, "<I", 0), "contradicts the directory"),
        (_patched(False, 30, "<B", ord("x")), "contradicts the directory"),
        (_patched(False, 28, "<H", 0xFFFF), "reaches beyond"),
        (_patched(True, 42, "<I", 2**31), "lies outside the file"),
        (_patched(True, 38, "<I", 0o120777 << 16), "is a link or a folder"),
        (_patched(True, 38, "<I", 0o040755 << 16), "is a link or a folder"),
        (_patched(True, 16, "<I", 1), "contradicts the directory"),
    ],
)
def test_directory_and_headers_must_agree(data: bytes, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        read_archive(data, "it")


def _end(data: bytes, offset: int, layout: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, data.rindex(b"PK\5\6") + offset, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "reason"),
    [
        (4, "<H", 1, "one part of several"),
        (8, "<H", 2, "one part of several"),
        (8, "<I", 0x00020002, "has 1 entries and announces 2"),
        (8, "<I", 0x00410041, "has 65 entries"),
        (12, "<I", 1, "directory is not where"),
        (16, "<I", 0xFFFFFFFF, "zip64"),
        (20, "<H", 5, "bytes after its end, or fewer"),
    ],
)
def test_the_end_record_must_match(offset: int, layout: str, value: int, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        read_archive(_end(write_archive({"a": b"content"}), offset, layout, value), "it")


def test_zip64_is_refused() -> None:
    data = write_archive({"a": b"content"})
    end = data.rindex(b"PK\5\6")
    locator = b"PK\6\7" + bytes(16)
    # The locator is at the end of the directory, where readers look for it.
    data = _end(data[:end] + locator + data[end:], 12, "<I", end - data.index(b"PK\1\2") + 20)
    with pytest.raises(BundleError, match="zip64"):
        read_archive(data, "it")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_overlapping_entries() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        # The second entry is completely inside the content of the first.
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as other:
            other.writestr("inner", b"content")
        made.writestr("outer", inner.getvalue()[: other.start_dir])
        info = other.infolist()[0]
        info.header_offset = 30 + len("outer")
        made.filelist.append(info)
    with pytest.raises(BundleError, match="outer and inner overlap"):
        read_archive(buffer.getvalue(), "it")


def test_archives_that_unpack_to_too_much_are_refused() -> None:
    many = _zip(*((f"{i}", b"") for i in range(1000)))
    with pytest.raises(BundleError, match="1000 entries"):
        read_archive(many, "it")
    large = _zip(*((f"{i}", bytes(2**26)) for i in range(3)), method=zipfile.ZIP_DEFLATED)
    began = time.process_time()
    with pytest.raises(BundleError, match="unpacks to more than 128 MiB"):
        read_archive(large, "it")
    assert time.process_time() - began < 0.5


def test_wrong_sizes_are_refused() -> None:
    data = _zip(("a", bytes(100_000)), method=zipfile.ZIP_DEFLATED)
    sizes = struct.pack("<I", 100_000)
    for size in (50_000, 100_001, 2**26):
        with pytest.raises(BundleError):
            read_archive(data.replace(sizes, struct.pack("<I", size)), "it")


def test_offsets_and_alignment() -> None:
    data = write_archive({"abc": b"content", "d": b"more"})
    for entry in TaskArchive.open(data).entries:
        assert data[entry.offset : entry.offset + len(entry.data)] == entry.data
        assert entry.alignment >= 4 and entry.offset % entry.alignment == 0
        assert entry.offset % (2 * entry.alignment)
        assert entry.sha256 == hashlib.sha256(entry.data).hexdigest()
    (odd,) = TaskArchive.open(_zip(("a", b"1"))).entries
    assert (odd.offset, odd.alignment) == (31, 1)


def test_replace_keeps_the_other_entries() -> None:
    archive = TaskArchive.open(_zip(("a", b"1"), ("b", b"2"), method=zipfile.ZIP_DEFLATED))
    other = archive.replace("a", b"longer")
    assert other.contents() == {"a": b"longer", "b": b"2"}
    assert archive.contents() == {"a": b"1", "b": b"2"}
    assert other.to_bytes() == write_archive({"a": b"longer", "b": b"2"})
    assert other.size == len(other.to_bytes())
    assert not any(entry.compressed for entry in other.entries)
    with pytest.raises(BundleError, match="has no c; it has a, b"):
        archive.replace("c", b"")


def test_extract_all_or_nothing(tmp_path: Path) -> None:
    archive = TaskArchive.open(write_archive({"a": b"1", "b": b"2"}))
    folder = tmp_path / "new" / "folder"
    assert archive.extract(folder) == [folder / "a", folder / "b"]
    (folder / "a").unlink()
    (folder / "b").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="b already exists"):
        archive.extract(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["b"]
    archive.extract(folder, overwrite=True)
    assert (folder / "b").read_bytes() == b"2"
    with pytest.raises(BundleError, match="is not a folder"):
        archive.extract(folder / "b")


def test_a_saved_archive_opens_and_is_not_replaced(tmp_path: Path) -> None:
    archive = TaskArchive.open(write_archive({"a": b"1"}))
    archive.save(tmp_path / "x.task")
    assert TaskArchive.open(tmp_path / "x.task").contents() == {"a": b"1"}
    with pytest.raises(FileExistsError):
        archive.save(tmp_path / "x.task")


def test_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = _zip(("a", bytes(5000)), method=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(archive, "MAX_BYTES", 4000)
    with pytest.raises(BundleError, match="unpacks to more than"):
        read_archive(bomb, "it")
    (tmp_path / "big").write_bytes(bytes(4001))
    with pytest.raises(BundleError, match="big is larger than"):
        read_bytes(tmp_path / "big")


def test_read_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    assert read_bytes(tmp_path / "a") == (b"1", str(tmp_path / "a"))
    assert read_bytes(b"1")[0] == b"1"
    with pytest.raises(FileNotFoundError, match="nothing does not exist"):
        read_bytes(tmp_path / "nothing")
    with pytest.raises(BundleError, match="is not a file"):
        read_bytes(tmp_path)
