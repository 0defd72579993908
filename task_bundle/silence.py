"""Hides what native libraries log while functions of the Python API call them."""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

_STANDARD_ERROR = 2
# TensorFlow's own variable; its level 0 is everything.
_LEVEL_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
# Log lines below the level of errors, in the formats of glog and Abseil, TensorFlow, and TensorFlow
# Lite.
_NOT_ERRORS = re.compile(
    rb"[IW]\d{4} \d\d:\d\d:\d\d"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "
    rb"|(INFO|VERBOSE|WARNING): "
)
# Harmless messages that are logged at the level of errors, and continuation lines of warnings.
_HARMLESS = re.compile(
    rb"Unable to register cu\w+ (factory|plugin)"
    rb"|computation placer already registered"
    rb"|failed call to cuInit"
    rb"|oneDNN supports \w+ only on platforms with"
    rb"|GPU suport is not available"
    rb"|portable_clearcut_uploader"
    rb"|has constructor arguments in the object store and max_restarts > 0"
    rb"|^To enable the following instructions: "
    rb"|^Skipping registering GPU devices"
)

_lock = threading.Lock()
_log: int | None = None
_terminal: int | None = None
_users = 0
_disabled = 0


@contextlib.contextmanager
def native_errors_afterwards() -> Iterator[None]:
    """Hides what native libraries log until the context ends; errors are shown then.

    MediaPipe, LiteRT and TensorFlow write to the standard error of the process, past Python, and
    most of that has no setting. It is therefore collected. When the context ends, everything is
    written that is not the log line of a library below the level of errors, also what other threads
    have written meanwhile. Unlike `terminal.only_native_errors` this starts no other process, which
    must not be done in a program that has threads already. Contexts may be nested and be entered by
    several threads at a time; the last to end shows the errors.

    Nothing is hidden if TF_CPP_MIN_LOG_LEVEL is 0, which asks for all of it, within
    `disabled_silence`, and where the process has no standard error or no place for a file.
    """
    is_entered = _enter()
    try:
        yield
    finally:
        if is_entered:
            _leave()


def first_call_silence() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Returns a function whose first result is `native_errors_afterwards`; others hide nothing.

    MediaPipe's tasks open their models in threads, which may log until the first call has ended.
    """
    contexts = iter([native_errors_afterwards])
    return lambda: next(contexts, contextlib.nullcontext)()


@contextlib.contextmanager
def disabled_silence() -> Iterator[None]:
    """Turns `native_errors_afterwards` off until the context ends."""
    global _disabled
    with _lock:
        _disabled += 1
    try:
        yield
    finally:
        with _lock:
            _disabled -= 1


def _enter() -> bool:
    global _log, _terminal, _users
    with _lock:
        if not _users:
            if _disabled or os.environ.get(_LEVEL_VARIABLE) == "0":
                return False
            try:
                _terminal = os.dup(_STANDARD_ERROR)
            except OSError:
                return False
            try:
                _log = _new_file()
            except OSError:
                os.close(_terminal)
                return False
            _flush()
            os.dup2(_log, _STANDARD_ERROR)
        _users += 1
        return True


def _leave() -> None:
    global _log, _users
    with _lock:
        _users = max(0, _users - 1)
        if _users or _log is None or _terminal is None:
            return
        _flush()
        os.dup2(_terminal, _STANDARD_ERROR)
        os.close(_terminal)
        file, _log = os.fdopen(_log, "rb"), None
        with file:
            file.seek(0)
            for line in file:
                if is_for_users(line):
                    write_all(_STANDARD_ERROR, line)


def _new_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("native-log")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _restore_in_child() -> None:
    """Gives a forked process the standard error, since the contexts' threads are not in it."""
    global _lock, _log, _users
    _lock = threading.Lock()
    if _log is not None and _terminal is not None:
        os.dup2(_terminal, _STANDARD_ERROR)
        os.close(_terminal)
        os.close(_log)
    _log, _users = None, 0


if hasattr(os, "register_at_fork"):  # Not on Windows, which has no fork.
    os.register_at_fork(after_in_child=_restore_in_child)


def _flush() -> None:
    # A stream that was replaced or closed has nothing to do with the descriptor.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()


def is_for_users(line: bytes) -> bool:
    """Returns whether a line that a native library wrote should be shown to users."""
    return not (_NOT_ERRORS.match(line) or _HARMLESS.search(line))


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all bytes, unlike a single `os.write`."""
    while data:
        data = data[os.write(descriptor, data) :]
