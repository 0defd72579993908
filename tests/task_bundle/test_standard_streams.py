"""What programs do when standard input, output or error are closed, full or not read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]
_PROGRAM = """
import os, sys, time
from task_bundle.command_line import CommandParser, run
from task_bundle.errors import UserError
def work(arguments):
    with open(sys.argv[1], "w") as file:
        os.write(2, b"F0000 what a native library logs\\n")
        sys.stderr.write("what Python logs\\n")
        file.write(f"{file.fileno() > 2} {sys.stdin.read(1)!r}")
    print("result")
    BODY
parser = CommandParser(prog="tool")
parser.add_argument("file")
parser.set_defaults(run=work)
sys.exit(run(parser, None))
"""


def _command(body: str, file: Path, redirection: str) -> "subprocess.CompletedProcess[str]":
    words = ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, "-c"]
    program = _PROGRAM.replace("BODY", body)
    return subprocess.run(
        [*words, program, str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=_REPOSITORY,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("closed", "body", "status"),
    [
        ("<&-", "pass", 0),
        (">&-", "pass", 0),
        ("2>&-", "raise UserError('not to be had')", 1),
        ("<&- >&- 2>&-", "raise UserError('not to be had')", 1),
        (">&- 2>&-", "1 / 0", 70),
    ],
)
def test_a_command_works_with_closed_streams(
    tmp_path: Path, closed: str, body: str, status: int
) -> None:
    done = _command(body, tmp_path / "file", closed)
    assert done.returncode == status, done.stderr
    # The file has a descriptor of its own, and so nothing but its content.
    assert (tmp_path / "file").read_text() == "True ''"
    assert ("2>&-" in closed) == (done.stderr == "")
    assert (" >&-" in f" {closed}") == (done.stdout == "")


@pytest.mark.parametrize("buffer", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("body", ["time.sleep(0.1)", "print(1_000_000 * 'more')"])
def test_a_closed_pipe_ends_the_program_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, buffer: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", buffer)
    done = _command(body, tmp_path / "file", "| true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stdout) == (141, "")
    lines = ["F0000 what a native library logs", "what Python logs"]
    assert sorted(done.stderr.splitlines()) == lines


def test_errors_reach_stderr_when_stdout_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What nobody reads is still in the buffer when the error comes.
    monkeypatch.setenv("PYTHONUNBUFFERED", "")
    done = _command(
        "raise UserError('not to be had')", tmp_path / "file", "| true; exit ${PIPESTATUS[0]}"
    )
    assert done.returncode == 1
    assert done.stderr.endswith("tool: error: not to be had\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
@pytest.mark.parametrize("body", ["pass", "print(1_000_000 * 'more')"])
def test_output_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "")
    done = _command(body, tmp_path / "file", "> /dev/full")
    assert done.returncode == 1
    (*_, line) = done.stderr.splitlines()
    assert line == "tool: error: cannot write to standard output: No space left on device"
