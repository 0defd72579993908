"""Tests of task_bundle.files."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_for

from task_bundle import files
from task_bundle.files import atomic_path, atomic_write


def test_writes_and_replaces_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    atomic_write(path, b"one")
    with pytest.raises(FileExistsError) as refused:
        atomic_write(path, b"two")
    assert str(refused.value) == f"{path} already exists; pass overwrite=True to replace it"
    assert refused.value.errno == errno.EEXIST
    assert path.read_bytes() == b"one"
    atomic_write(path, b"two", overwrite=True)
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left")])
def test_failure_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException], overwrite: bool
) -> None:
    path = tmp_path / "a.bin"
    if overwrite:
        path.write_bytes(b"old")

    def fail(_: int) -> None:
        raise kind

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((KeyboardInterrupt, OSError)) as caught:
        atomic_write(path, b"new", overwrite)
    assert os.listdir(tmp_path) == (["a.bin"] if overwrite else [])
    assert not overwrite or path.read_bytes() == b"old"
    if isinstance(kind, OSError):
        assert caught.value.errno == errno.ENOSPC
        assert "a.bin" in str(caught.value) and "No space left" in str(caught.value)


def test_a_read_only_file_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "a temporary name")

    monkeypatch.setattr(files, "open", refuse, raising=False)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match=r"cannot write .*a\.bin: Read-only file system"):
        atomic_write(tmp_path / "a.bin", b"new")


def test_a_file_made_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    monkeypatch.setattr(os, "fsync", lambda _: path.write_bytes(b"another's"))
    with pytest.raises(FileExistsError):
        atomic_write(path, b"mine")
    assert path.read_bytes() == b"another's"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    atomic_write(tmp_path / "a.bin", b"one")
    assert (tmp_path / "a.bin").read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("overwrite", [False, True])
def test_only_files_are_replaced(tmp_path: Path, overwrite: bool) -> None:
    # Renaming would also replace /dev/null, for a superuser, which the user of a container is.
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match=f"cannot write .*{name}: it is not a regular file"):
            atomic_write(tmp_path / name, b"", overwrite)
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_unusable_paths_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        atomic_write(tmp_path / "nowhere" / "a.bin", b"")
    with pytest.raises(NotADirectoryError, match="file is not a folder"):
        atomic_write(tmp_path / "file" / "a.bin", b"")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        atomic_write(tmp_path, b"", overwrite=True)
    with pytest.raises(OSError, match="cannot write"):
        atomic_write(tmp_path / ("n" * 300), b"")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_unwritable_folder(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match=r"cannot write .*a\.bin"):
        atomic_write(folder / "a.bin", b"")


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    atomic_write(tmp_path / "a.bin", b"")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_symbolic_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    atomic_write(tmp_path / "link", b"new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_temporary_file_is_renamed_at_the_end(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.mp4", suffix=".mp4") as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".mp4"
        temporary.write_bytes(b"one")
        assert not (tmp_path / "a.mp4").exists()
    assert (tmp_path / "a.mp4").read_bytes() == b"one"
    with pytest.raises(FileExistsError), atomic_path(tmp_path / "a.mp4"):
        pytest.fail("the block must not run")
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"old")
    # Errors of the block are not changed, because they may be about another file.
    with (
        pytest.raises(OSError, match=r"^of the writer$"),
        atomic_path(tmp_path / "a.mp4", overwrite=True) as temporary,
    ):
        temporary.write_bytes(b"half")
        raise OSError("of the writer")
    assert os.listdir(tmp_path) == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


# Writes content of one letter, and kills itself at the line of files.py in its arguments.
_SUICIDE = """
import os, runpy, signal, sys
file, target, overwrite, last = sys.argv[1], sys.argv[2], sys.argv[3] == "True", int(sys.argv[4])
write = runpy.run_path(file)["atomic_write"]
lines = 0
def trace(frame, event, argument):
    global lines
    if frame.f_code.co_filename != file:
        return None
    lines += event == "line"
    if lines == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return trace
sys.settrace(trace)
write(target, b"n" * 300_000, overwrite)
"""
# Overwrites the file forever, with one letter after the other.
_WRITER = """
import runpy, sys
write = runpy.run_path(sys.argv[1])["atomic_write"]
print("ready", flush=True)
while True:
    for letter in b"abc":
        write(sys.argv[2], bytes([letter]) * 3_000_000, True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
@pytest.mark.parametrize("overwrite", [True, False])
def test_killed_at_every_line(tmp_path: Path, overwrite: bool) -> None:
    old = b"o" * 100_000 if overwrite else None
    path = tmp_path / "a.bin"
    new = b"n" * 300_000
    seen = []
    for line in range(1, 200):
        if old is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(old)
        arguments = [files.__file__, str(path), str(overwrite), str(line)]
        done = subprocess.run([sys.executable, "-I", "-S", "-c", _SUICIDE, *arguments])
        seen.append(path.read_bytes() if path.exists() else None)
        assert seen[-1] in (old, new), f"killed at line {line}"
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    # The content is the old one at first, and the new one from some line on.
    first = seen.index(new)
    assert first > 15 and set(seen[:first]) == {old} and set(seen[first:]) == {new}
    assert len(seen) - first > 2


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_killed_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    wait = random.Random(0)
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WRITER, files.__file__, str(path)],
            stdout=subprocess.PIPE,
        ) as writer:
            assert writer.stdout is not None and writer.stdout.readline()
            wait_for(path.exists)
            time.sleep(wait.uniform(0.02, 0.1))
            writer.kill()
        content = path.read_bytes()
        assert len(content) == 3_000_000 and len(set(content)) == 1
