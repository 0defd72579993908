"""Tests of task_bundle.silence, in programs of their own and with the real standard error."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from task_bundle import silence
from task_bundle.silence import first_call_silence, native_errors_afterwards

_REPOSITORY = Path(__file__).resolve().parents[2]
_INFORMATION = "I0000 00:00:1796033109.7 9137 task_runner.cc:85] GPU suport is not available\n"
_ERROR = "E0000 00:00:1796033109.8 1 graph.cc:11] Calculator failed\n"


def _write(text: str) -> None:
    os.write(2, text.encode())


def test_log_lines_are_hidden_and_errors_come_at_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    with native_errors_afterwards():
        _write(_INFORMATION)
        with native_errors_afterwards():
            _write(_ERROR)
        _write("from a program\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == f"{_ERROR}from a program\n"
    _write(_INFORMATION)
    assert capfd.readouterr().err == _INFORMATION


def test_an_exception_ends_the_silence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), native_errors_afterwards():
        _write(_ERROR)
        raise KeyError
    assert capfd.readouterr().err == _ERROR


def test_threads_whose_silences_overlap_give_the_standard_error_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first() -> None:
        with native_errors_afterwards():
            first_is_in.set()
            assert second_is_in.wait(30)
            _write(_ERROR)

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_in.wait(30)
    with native_errors_afterwards():
        second_is_in.set()
        thread.join()
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == _ERROR
    assert silence._log is None


def test_only_the_first_call_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    call = first_call_silence()
    for _ in range(3):
        with call():
            _write(_INFORMATION)
    assert capfd.readouterr().err == 2 * _INFORMATION


def test_all_is_shown_to_who_asks_for_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with native_errors_afterwards():
        _write(_INFORMATION)
        assert capfd.readouterr().err == _INFORMATION


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_has_the_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with native_errors_afterwards():
        child = os.fork()
        if child == 0:
            _write(_INFORMATION)
            os._exit(0)
        os.waitpid(child, 0)
        assert capfd.readouterr().err == _INFORMATION


def _run(program: str, redirection: str = "", **variables: str) -> "subprocess.CompletedProcess":
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=_REPOSITORY,
        env=os.environ | variables,
        timeout=60,
    )


def test_a_process_without_standard_error_goes_on() -> None:
    program = (
        "from task_bundle.silence import native_errors_afterwards\n"
        "with native_errors_afterwards(): print('done')"
    )
    assert _run(program, "2>&-").stdout == "done\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="native messages are not hidden")
def test_the_last_words_within_a_command_are_shown() -> None:
    program = f"""
import os, sys
from task_bundle.command_line import CommandParser, run
from task_bundle.silence import native_errors_afterwards
def work(arguments):
    with native_errors_afterwards():
        os.write(2, {_ERROR.encode()!r})
        os.abort()
parser = CommandParser(prog="tool")
parser.set_defaults(run=work)
run(parser, None)
"""
    assert _run(program).stderr == _ERROR
