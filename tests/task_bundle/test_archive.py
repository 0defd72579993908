"""Tests of task_bundle.archive."""

import io
import struct
import zipfile
from pathlib import Path

import pytest

from task_bundle import archive
from task_bundle.archive import TaskArchive, read_archive, read_bytes, write_archive
from task_bundle.errors import BundleError


def _zip(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, data in entries:
            made.writestr(name, data)
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


def test_compressed_entries() -> None:
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


def test_size_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
