import os
from pathlib import Path

import pytest

from task_bundle.file_names import as_text


@pytest.mark.parametrize(
    ("name", "text"),
    [(b"a.jpg", "a.jpg"), ("日本.jpg".encode(), "日本.jpg"), (b"\xe9.jpg", "\ufffd.jpg")],
)
def test_names_in_reports_are_printable(name: bytes, text: str) -> None:
    assert as_text(os.fsdecode(name)) == as_text(Path(os.fsdecode(name))) == text
    assert as_text(os.fsdecode(name)).encode()
