"""Programs that are asked to end, as by `docker stop`, clean up first."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from interrupts import heed_interrupts
from waiting import wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

_REPOSITORY = Path(__file__).resolve().parents[2]
_PROGRAM = """
import pathlib, sys, time
from task_bundle.command_line import CommandParser, run
from task_bundle.files import atomic_path
def work(arguments):
    with atomic_path(sys.argv[1]) as temporary:
        temporary.write_bytes(b"half")
        time.sleep(600)
parser = CommandParser(prog="tool")
parser.add_argument("file")
parser.set_defaults(run=work)
sys.exit(run(parser, None))
"""


def _started(file: Path, *words: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [*words, sys.executable, "-c", _PROGRAM, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=_REPOSITORY,
        preexec_fn=heed_interrupts,
    )
    wait_for(lambda: any(f.stat().st_size for f in file.parent.iterdir()))
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_nothing_half_written_is_left(tmp_path: Path, number: signal.Signals, status: int) -> None:
    process = _started(tmp_path / "file")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    line = f"tool: ended by {number.name}; nothing half-written was left behind"
    assert said.split("\n") == ["", line, ""]
    assert not list(tmp_path.iterdir())


def test_nohup_is_obeyed(tmp_path: Path) -> None:
    process = _started(tmp_path / "file", "nohup")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
