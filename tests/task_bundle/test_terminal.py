"""Tests of task_bundle.terminal, through programs that use task_bundle.command_line.run."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from task_bundle.silence import is_for_users

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="native messages are not hidden")

_REPOSITORY = Path(__file__).resolve().parents[2]
_NOISE = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1796033109.7 9137 task_runner.cc:85] GPU suport is not available: INTERNAL",
    "W0000 00:00:1796033109.8 9166 inference_feedback_manager.cc:114] Feedback manager requires",
    "E0000 00:00:1796033109.8 1 cuda_fft.cc:477] Unable to register cuFFT factory: Attempting to",
    "2026-11-30 09:51:00.123456: E external/x.cc:485] Unable to register cuFFT factory: Attempting",
    "2026-11-30 09:51:00.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with",
    "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
)
_ERRORS = (
    "F0000 00:00:1796033109.8 1 tensor.cc:11] Check failed: dims == 4",
    "E0000 00:00:1796033109.8 1 graph.cc:11] Calculator failed",
    "2026-11-30 09:51:00.123456: E tensorflow/x.cc:1] Out of memory",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    "ERROR: failed to create XNNPACK runtime",
)
_PROGRAM = """
import os, sys
from task_bundle.command_line import CommandParser, run
def work(arguments):
    for line in sys.stdin:
        os.write(2, line.encode())
    sys.stderr.write("from Python\\n")
    os.write(2, b"no line end")
    print("result")
    BODY
parser = CommandParser(prog="tool")
parser.set_defaults(run=work)
sys.exit(run(parser, None))
"""


def _run(
    *arguments: str, body: str = "pass", lines: tuple[str, ...] = _NOISE + _ERRORS
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM.replace("BODY", body), *arguments],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=_REPOSITORY,
        check=False,
    )


def test_noise_is_told_from_errors() -> None:
    assert [line for line in _NOISE if is_for_users(line.encode())] == []
    assert [line for line in _ERRORS if not is_for_users(line.encode())] == []


def test_only_errors_are_shown() -> None:
    done = _run()
    assert done.returncode == 0 and done.stdout == "result\n"
    assert sorted(done.stderr.splitlines()) == sorted([*_ERRORS, "from Python", "no line end"])


def test_verbose_shows_all() -> None:
    done = _run("--verbose")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [*_NOISE, *_ERRORS, "from Python", "no line end"]


def test_the_last_words_of_a_library_that_aborts_are_shown() -> None:
    done = _run(body="os.abort()")
    assert done.returncode == -6
    assert sorted(done.stderr.splitlines()) == sorted([*_ERRORS, "from Python", "no line end"])


def test_errors_and_interrupts_are_reported_as_before() -> None:
    done = _run(body='raise FileNotFoundError(2, "No such file", "x")', lines=())
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("tool: error: x: No such file")
    done = _run(body="raise KeyboardInterrupt", lines=())
    assert done.returncode == 130 and "tool: interrupted" in done.stderr


def test_a_process_that_is_left_behind_is_not_waited_for(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    left = 'subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)'
    body = f"import subprocess; open({str(pid)!r}, 'w').write(str({left}.pid))"
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.replace("BODY", body)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=_REPOSITORY,
    )
    try:
        assert process.wait(120) == 0
    finally:
        process.kill()
        os.kill(int(pid.read_text()), signal.SIGKILL)


_BAR = """
import time
from task_bundle import terminal
from tqdm import tqdm
terminal._LINE_SECONDS, terminal._BRIEF_SECONDS = 0.05, 0.0
with terminal.progress_bars():
    for _ in tqdm(range(30), "Working", unit="step"):
        # On a busy machine these three parts may take long enough for a line of their own.
        for _ in tqdm(range(3), "Inside", unit="part", leave=False, mininterval=600):
            time.sleep(0.005)
assert tqdm.close.__name__ == "close" and tqdm.close.__module__.startswith("tqdm")
"""


@pytest.fixture
def _bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is shown, whatever the developer has chosen for his own programs."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


@pytest.mark.usefixtures("_bars")
def test_progress_is_lines_without_a_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BAR], capture_output=True, text=True, cwd=_REPOSITORY, check=True
    )
    assert "\r" not in done.stderr and "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("Working: 30 steps in ")
    assert len(lines) > 2 and all(line.startswith("Working: ") for line in lines)
    assert " of 30 steps in " in lines[0] and lines[0].endswith(" left")


@pytest.mark.usefixtures("_bars")
def test_the_end_of_a_bar_is_written_once() -> None:
    program = """
from task_bundle import terminal
from tqdm import tqdm
terminal._LINE_SECONDS = terminal._BRIEF_SECONDS = 0.0
with terminal.progress_bars(), tqdm(total=4, mininterval=0, unit="photo") as bar:
    bar.update(4)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=_REPOSITORY, check=True
    )
    (end,) = [line for line in done.stderr.splitlines() if line.startswith("4 photos in ")]
    assert done.stderr.endswith(f"{end}\n")


def test_a_bar_that_an_error_leaves_open_ends_before_its_message() -> None:
    body = 'bar = __import__("tqdm").tqdm(total=9); bar.update(3); raise OSError("broken")'
    assert _run(body=body, lines=()).stderr.endswith("tool: error: broken\n")


@pytest.mark.usefixtures("_bars")
def test_progress_is_a_bar_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", _BAR], stderr=theirs, cwd=_REPOSITORY, check=True)
    os.close(theirs)
    assert b"\r" in os.read(ours, 65536)
    os.close(ours)
