"""Tests of task_bundle.cache."""

from pathlib import Path

import pytest

from task_bundle.cache import CACHE_VARIABLE, cache_folder


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/general")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder() == Path("/general/mm-face-stylizer")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "mm-face-stylizer"
