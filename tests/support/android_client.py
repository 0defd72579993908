"""Helpers for tests of the Android benchmark on simulated phones."""

import functools
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adb_device import AdbDevice
from interrupts import heed_interrupts

from benchmarks.report import Report, Row

FAST = ("--rounds", "1", "--runs", "3", "--min-seconds", "0", "--poll", "0.05", "--wait", "20")
FAST += ("--warm-up-seconds", "0", "--no-memory", "--no-profile")


@dataclass(frozen=True)
class WebFolder:
    """A folder that a local web server serves, and its address."""

    path: Path
    url: str


@contextmanager
def served(path: Path) -> Iterator[WebFolder]:
    """Serves a folder by HTTP on this machine only."""
    handler = functools.partial(_QuietHandler, directory=os.fspath(path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield WebFolder(path, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *unused: object) -> None:
        pass


def environment(variables: Mapping[str, str], setenv: Callable[[str, str], None]) -> None:
    """Sets the environment variables of a private adb server."""
    for name in ("ANDROID_ADB_SERVER_PORT", "HOME", "ANDROID_SDK_HOME", "ADB_USB", "ADB_MDNS"):
        setenv(name, variables[name])


def ours_on(phone: AdbDevice) -> list[str]:
    """Returns the files and processes that a run has left on a phone."""
    folder = phone.disk.host_path("/data/local/tmp")
    return [path.name for path in folder.iterdir()] + [
        " ".join(words) for _, words in phone.processes()
    ]


def runs_on(phone: AdbDevice) -> int:
    """Returns how often benchmark_model was run on a phone."""
    return sum(words[0] == "benchmark_model" for words in phone.commands)


def state_of(output: Path) -> Path:
    """Returns the path of a run's state file."""
    return output.with_name(f".{output.name}.state")


def rows_of(output: Path) -> tuple[Row, ...]:
    """Returns the rows of a result."""
    return Report.load(output).rows


@contextmanager
def started(
    arguments: list[str], variables: Mapping[str, str]
) -> Iterator["subprocess.Popen[str]"]:
    """Starts the command in a process of its own, for tests that interrupt it."""
    command = [sys.executable, "-m", "mm_face_stylizer.cli", "android-benchmark", *arguments]
    with subprocess.Popen(
        command,
        env={**variables, "MM_FACE_STYLIZER_CACHE": os.environ["MM_FACE_STYLIZER_CACHE"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until a condition is true.

    Raises:
      TimeoutError: the condition is not true in time.
    """
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(f"the condition is still not true after {seconds:g} s")
        time.sleep(0.02)
