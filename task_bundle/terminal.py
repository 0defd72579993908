"""Filters what libraries write to the terminal, for the command-line programs."""

import contextlib
import io
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

from task_bundle.silence import disabled_silence, is_for_users, write_all

_STANDARD_ERROR = 2
# Time limit in seconds for the child process that filters lines, which does not end while another
# process still has the pipe open.
_LAST_LINES_SECONDS = 1.0
# Upper bound of the file descriptors that are open when a command starts.
_DESCRIPTORS = 4096
# Without a terminal, progress is a line every this many seconds.
_LINE_SECONDS = 10.0
# Progress that takes less than this many seconds has no line at all.
_BRIEF_SECONDS = 1.0


@contextlib.contextmanager
def only_native_errors() -> Iterator[None]:
    """Hides what native libraries log, except errors, until the context ends.

    TensorFlow and MediaPipe write dozens of lines that do not help users. A child process reads the
    standard error of this process and passes on what is not such a line, so that the last words of
    a library that aborts the process are seen, too. `sys.stderr` writes past it. Nothing is hidden
    if `sys.stderr` was replaced or the system has no `fork`.
    """
    before = sys.stderr
    if before is None or not _is_plain(before) or not hasattr(os, "fork"):
        yield
        return
    before.flush()
    terminal = os.dup(_STANDARD_ERROR)
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forks in programs with several threads. This child uses nothing that
        # another thread may have locked.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            _pass_errors_on(reader, terminal)
        finally:
            os._exit(0)
    os.close(reader)
    os.dup2(writer, _STANDARD_ERROR)
    os.close(writer)
    sys.stderr = os.fdopen(
        os.dup(terminal), "w", buffering=1, encoding=before.encoding, errors=before.errors
    )
    try:
        # Lines that would be passed on later are lost if a library aborts the process.
        with disabled_silence():
            yield
    finally:
        # The replaced stream stays open, because loggers may write to it while the process ends.
        sys.stderr.flush()
        sys.stderr = before
        before.flush()
        os.dup2(terminal, _STANDARD_ERROR)
        os.close(terminal)
        _wait(child)


def _is_plain(stream: TextIO) -> bool:
    try:
        return stream is sys.__stderr__ and stream.fileno() == _STANDARD_ERROR
    except (OSError, ValueError):
        return False


def _pass_errors_on(reader: int, terminal: int) -> None:
    """Writes the lines from one file descriptor that users should see to the other."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
        # The child ignores these signals, so that it also passes on what is written while the other
        # processes end. It ends when the last of them has closed the pipe.
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.dup2(reader, 0)
    os.dup2(terminal, 1)
    # An inherited pipe that stayed open here would keep its reader waiting.
    os.closerange(2, _DESCRIPTORS)
    rest = b""
    while chunk := os.read(0, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if is_for_users(line):
                write_all(1, line + b"\n")
        if b"\r" in rest:
            # An unfinished line with a carriage return is the progress bar of a child process.
            write_all(1, rest)
            rest = b""
    if rest and is_for_users(rest):
        write_all(1, rest)


def _wait(child: int) -> None:
    deadline = time.monotonic() + _LAST_LINES_SECONDS
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.005)


@contextlib.contextmanager
def progress_bars() -> Iterator[None]:
    """Closes tqdm's progress bars when the context ends; without a terminal they are plain lines.

    A bar that an exception leaves open would otherwise be wiped off after the error's message. It
    is drawn over and over in one line, which only a terminal shows as one: in a log it is a line
    now and then, and one at the end.
    """
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    with contextlib.nullcontext() if is_terminal else _bars_as_lines():
        try:
            yield
        finally:
            if "tqdm" in sys.modules:
                from tqdm import tqdm

                for bar in list(getattr(tqdm, "_instances", ())):
                    bar.close()


@contextlib.contextmanager
def _bars_as_lines() -> Iterator[None]:
    from tqdm import tqdm

    # The methods of the class itself are replaced, because a subclass would not change the bars of
    # other modules and libraries.
    names = ("display", "clear", "close")
    before = {name: getattr(tqdm, name) for name in names}

    def display(bar: Any, msg: str | None = None, pos: int | None = None) -> None:
        now = time.monotonic()
        due = bar.__dict__.setdefault("_next_line", now + _LINE_SECONDS)
        # `close` writes the line of a bar that has come to its end.
        is_complete = bool(bar.total) and bar.n >= bar.total
        if now >= due and msg != "" and not is_complete:
            bar._next_line = now + _LINE_SECONDS
            bar.fp.write(_line(bar))

    def clear(bar: Any, nolock: bool = False) -> None:
        pass

    def close(bar: Any) -> None:
        if bar.disable:
            return
        file = bar.fp
        # tqdm's own `close` would draw the bar once more or erase it, so it writes to a dummy.
        bar.fp = io.StringIO()
        before["close"](bar)
        if bar.leave and bar.format_dict["elapsed"] >= _BRIEF_SECONDS:
            file.write(_line(bar))

    for name, function in zip(names, (display, clear, close), strict=True):
        setattr(tqdm, name, function)
    try:
        yield
    finally:
        for name in names:
            setattr(tqdm, name, before[name])


def _line(bar: Any) -> str:
    template = "{n_fmt} {unit}s in {elapsed}{postfix}"
    if bar.total and bar.n < bar.total:
        template = "{n_fmt} of {total_fmt} {unit}s in {elapsed}, {remaining} left{postfix}"
    text = bar.format_meter(**{**bar.format_dict, "bar_format": template, "ncols": None})
    title = bar.desc.removesuffix(": ") if bar.desc else ""
    return f"{title}: {text.strip()}\n" if title else f"{text.strip()}\n"
