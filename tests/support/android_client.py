"""What tests of the Android benchmark share: the client, and the command on simulated phones."""

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
    """A folder that a web server of this machine shows, and its address."""

    path: Path
    url: str


@contextmanager
def served(path: Path) -> Iterator[WebFolder]:
    """Shows a folder on the web, to this machine only."""
    handler = functools.partial(_QuietHandler, directory=os.fspath(path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield WebFolder(path, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *unused: object) -> None:
        pass


def environment(variables: Mapping[str, str], setenv: Callable[[str, str], None]) -> None:
    """Puts a test's process into the environment of a private adb server."""
    for name in ("ANDROID_ADB_SERVER_PORT", "HOME", "ANDROID_SDK_HOME", "ADB_USB", "ADB_MDNS"):
        setenv(name, variables[name])


def ours_on(phone: AdbDevice) -> list[str]:
    """What a run has left on a phone: files and processes."""
    folder = phone.disk.host_path("/data/local/tmp")
    return [path.name for path in folder.iterdir()] + [
        " ".join(words) for _, words in phone.processes()
    ]


def runs_on(phone: AdbDevice) -> int:
    """How often benchmark_model was run on a phone."""
    return sum(words[0] == "benchmark_model" for words in phone.commands)


def state_of(output: Path) -> Path:
    """Where a run keeps what it has measured so far."""
    return output.with_name(f".{output.name}.state")


def rows_of(output: Path) -> tuple[Row, ...]:
    """The rows of a result."""
    return Report.load(output).rows


@contextmanager
def started(
    arguments: list[str], variables: Mapping[str, str]
) -> Iterator["subprocess.Popen[str]"]:
    """Runs the command in a process of its own, for tests that interrupt it."""
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
    """Waits for what must come.

    Raises:
      TimeoutError: it does not.
    """
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError("what a test waits for does not happen")
        time.sleep(0.02)
