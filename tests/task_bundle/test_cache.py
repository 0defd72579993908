"""Tests of task_bundle.cache."""

import pwd
from pathlib import Path

import pytest

from task_bundle import cli
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


def test_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    for variable in (CACHE_VARIABLE, "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert cache_folder() == Path("/.cache/mm-face-stylizer")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    assert "/.cache/mm-" in capsys.readouterr().out


def test_help_survives_any_name_of_the_folder(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "/100%s\udce9")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    assert "/100%s" in capsys.readouterr().out
