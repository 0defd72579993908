"""Tests of task_bundle.web.command, through the command line. test_page.py has a browser."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from interrupts import heed_interrupts

from task_bundle import cli
from task_bundle.bundle import TaskBundle
from task_bundle.errors import TasksVisionError
from task_bundle.web import command as serve_command
from task_bundle.web.server import WebServer

_REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def bundle_file(tmp_path: Path, make_stylizer, face_models) -> Path:
    path = tmp_path / "x.task"
    TaskBundle.build(make_stylizer(64), face_models).save(path)
    return path


@pytest.fixture
def _any_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the npm package unnecessary."""
    monkeypatch.setattr(serve_command, "find_tasks_vision", lambda folder: {})


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("task-bundle: error: ")
    return line


def test_a_missing_npm_package_is_named(
    bundle_file: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["serve", str(bundle_file)]) == 1
    assert "error: run `task-bundle serve --install-tasks-vision` once" in _error(capsys)
    assert cli.main(["serve", str(bundle_file), "--tasks-vision", str(tmp_path / "pkg")]) == 1
    assert f"there is no {tmp_path / 'pkg' / 'vision_bundle.mjs'}" in _error(capsys)


@pytest.mark.usefixtures("_any_package")
def test_a_file_that_is_no_bundle_is_refused(bundle_file: Path, tmp_path: Path, capsys) -> None:
    bad = tmp_path / "bad.task"
    assert cli.main(["serve", str(bad)]) == 1
    assert "bad.task does not exist" in _error(capsys)
    # Nor is anything installed for it.
    assert cli.main(["serve", str(bad), "--install-tasks-vision"]) == 1
    assert "bad.task does not exist" in _error(capsys)
    bad.write_bytes(b"not a zip")
    assert cli.main(["serve", str(bad)]) == 1
    assert "bad.task is not a .task archive" in _error(capsys)
    data = bytearray(bundle_file.read_bytes())
    data[len(data) // 2] ^= 255
    bad.write_bytes(data)
    assert cli.main(["serve", str(bad)]) == 1
    assert "bad.task" in _error(capsys)


@pytest.mark.usefixtures("_any_package")
def test_a_taken_port_is_named(bundle_file: Path, capsys) -> None:
    with contextlib.closing(WebServer({})) as other:
        assert cli.main(["serve", str(bundle_file), "--port", str(other.port)]) == 1
    assert f"cannot listen on port {other.port} of 127.0.0.1, which is in use" in _error(capsys)


@pytest.mark.parametrize(
    "arguments",
    [[], ["x.task", "--port", "65536"], ["x.task", "--port", "-1"], ["--port", "x"]]
    + [["x.task", "--host", "here"], ["x.task", "--host", "127.1"]],
)
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["serve", *arguments])


def test_installing_needs_no_bundle(monkeypatch, capsys) -> None:
    monkeypatch.setattr(serve_command, "install_tasks_vision", lambda: Path("there"))
    assert cli.main(["serve", "--install-tasks-vision"]) == 0
    assert capsys.readouterr().out == "there\n"


def test_a_failed_installation_is_one_line(monkeypatch, capsys) -> None:
    def fail() -> Path:
        raise TasksVisionError("npm failed:\nnpm error code\nnpm error more")

    monkeypatch.setattr(serve_command, "install_tasks_vision", fail)
    assert cli.main(["serve", "--install-tasks-vision"]) == 1
    assert _error(capsys).endswith("npm failed: npm error code npm error more")


def test_ctrl_c_ends_it_quietly(bundle_file: Path) -> None:
    program = (
        "import sys; from task_bundle import cli; from task_bundle.web import command;"
        "command.find_tasks_vision = lambda folder: {};"
        f"sys.argv[1:] = ['serve', {str(bundle_file)!r}, '--port', '0'];"
        "sys.exit(cli.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=_REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(f"{bundle_file} is served at http://127.0.0.1:")
    url = line.split(" at ")[1].split()[0]
    # A connection that a browser keeps open does not keep the server running.
    with socket.create_connection(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))):
        with urllib.request.urlopen(f"{url}bundle/face_stylizer.task", timeout=60) as answer:
            assert answer.read() == bundle_file.read_bytes()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err) == ("", "")
