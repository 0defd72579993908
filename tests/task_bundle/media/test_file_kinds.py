"""What is told of files that are no pictures."""

from pathlib import Path

import pytest

from task_bundle.errors import ImageError
from task_bundle.media.file_kinds import kind_of_file
from task_bundle.media.images import load_image


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF; convert it to JPEG or PNG"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a camera's raw file"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "a video; `stylize` takes videos, with the suffix"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\1", "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "TIFF with pixels of an unusual type"),
        (b"\xff\x0a\x7f\0", "JPEG XL"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"P6\n2 2\n255\n", "a Netpbm file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS; `git lfs pull`"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<svg width='1'>", "SVG"),
        (b"\r\n<!DOCTYPE HTML><title>404</title>", "a web page"),
    ],
)
def test_files_are_told_by_their_content(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_image(tmp_path / "a.jpg")
    start = f"{tmp_path}/a.jpg is not a picture in a known format: it is {told}"
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize("content", [b"", b"\0", b"abc", 2000 * b" "])
def test_unknown_files_have_no_kind(content: bytes) -> None:
    assert kind_of_file(content) is None
