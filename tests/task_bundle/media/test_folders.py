"""Tests of task_bundle.media.folders."""

from pathlib import Path

import pytest

from task_bundle.media.folders import VIDEO_SUFFIXES, list_files
from task_bundle.media.images import PICTURE_SUFFIXES


def _fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_every_suffix_that_is_read_is_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = sorted(f"A{suffix.upper()}" for suffix in PICTURE_SUFFIXES | VIDEO_SUFFIXES)
    _fill(tmp_path, *names, ".hidden.png", ".DS_Store")
    assert [p.name for p in list_files(tmp_path, PICTURE_SUFFIXES | VIDEO_SUFFIXES)] == names
    assert not caplog.messages
    assert len(list_files(tmp_path)) == len(PICTURE_SUFFIXES)
    assert PICTURE_SUFFIXES.isdisjoint(VIDEO_SUFFIXES)
    assert {".jfif", ".jpe", ".mpo", ".avif", ".jp2"} <= PICTURE_SUFFIXES
    assert {".ts", ".m2ts", ".flv"} <= VIDEO_SUFFIXES


def test_what_is_left_out_is_said_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _fill(tmp_path, "a.heic", "b", "c.txt", "d.png")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert [path.name for path in list_files(tmp_path)] == ["d.png"]
    assert caplog.messages == [
        f"{tmp_path}: left out, because they are no pictures that can be read: a.heic, b, c.txt,"
        " deeper/, folder.png/, and 1 more; convert HEIC to JPEG or PNG"
    ]
    list_files(tmp_path, PICTURE_SUFFIXES | VIDEO_SUFFIXES)
    assert "neither pictures nor videos" in caplog.messages[1]
