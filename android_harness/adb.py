"""Google's adb client, with a time limit on every call and errors that say what to do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from android_harness.errors import (
    AdbError,
    AdbTimeoutError,
    DeviceLostError,
    DeviceRefusedError,
    InterruptedRunError,
    ToolError,
)

PATH_VARIABLE = "ADB"
PORT_VARIABLE = "ANDROID_ADB_SERVER_PORT"  # adb's own.
DEFAULT_PORT = 5037

_INSTALL = (
    "install Google's platform tools (Debian and Ubuntu: apt install adb; macOS: brew install"
    " android-platform-tools), or say where it is with --adb PATH or $ADB"
)
# Seconds. A phone answers in milliseconds; one that wakes up, or is just busy, may take longer.
CALL_TIMEOUT = 30.0
_START_TIMEOUT = 30.0
# USB 2 in practice gives 20 MB/s and more; adb over a poor Wi-Fi much less.
_SLOWEST_BYTES_PER_SECOND = 200_000

# Printed after every remote command. When a cable is pulled, adb ends with what has arrived and
# with a status that a command may have, too: only this line says that the command came to its end.
_END = "mmfs-exit:"
_END_LINE = re.compile(re.escape(_END) + r"(\d+)\s*\Z")

_DEVICE_LINE = re.compile(
    r"^(?P<serial>\S+)\s+(?P<state>device|offline|unauthorized|authorizing|connecting|bootloader|"
    r"recovery|rescue|sideload|host|unknown|no device|no permissions)\b(?P<rest>.*)$"
)
_ADVICE = {
    "unauthorized": "unlock the phone and accept its question 'Allow USB debugging?'; if it does"
    " not ask, revoke USB debugging authorizations in its developer options and plug it in again",
    "authorizing": "it is about to be authorized; try again in a few seconds",
    "connecting": "it is about to be connected; try again in a few seconds",
    "offline": "plug the cable in again or switch USB debugging off and on; for a network device:"
    " adb disconnect, then adb connect",
    "no permissions": "this user may not open the USB device: install the udev rules (Debian and"
    " Ubuntu: apt install android-sdk-platform-tools-common), join the group plugdev, log in again"
    " and plug the phone in again",
    "bootloader": "it is in the bootloader; start Android",
    "recovery": "it is in recovery mode; start Android",
    "rescue": "it is in rescue mode; start Android",
    "sideload": "it waits for an update; start Android",
}
_LOST = re.compile(
    r"device '.*' not found|device not found|device offline|no devices/emulators found"
    r"|device still (?:connecting|authorizing)|error: closed|connect failed|protocol fault"
    r"|failed to read copy response|couldn't read from device|EOF|[Cc]onnection reset|Broken pipe"
    r"|device disconnected"
)
_UNAUTHORIZED = re.compile(r"device unauthorized")
_PERMISSIONS = re.compile(r"insufficient permissions for device|no permissions")
_NO_SERVER = re.compile(r"cannot connect to daemon|failed to start daemon|cannot bind")
_DISK_FULL = re.compile(r"No space left on device")


@dataclass(frozen=True)
class ListedDevice:
    """A line of `adb devices -l`.

    Attributes:
      serial: what adb calls the device; HOST:PORT for one on the network.
      state: 'device' if it can be used; 'offline', 'unauthorized', 'no permissions' and so on.
      description: what else adb says of it.
    """

    serial: str
    state: str
    description: str

    @property
    def advice(self) -> str:
        """What to do so that it can be used; empty if it can."""
        if self.state == "device":
            return ""
        return _ADVICE.get(self.state, "it is in a state in which it cannot be used")


@dataclass(frozen=True)
class Answer:
    """What a command on the phone gave.

    Attributes:
      status: its exit status; above 128 the shell's word for a signal.
      stdout: decoded, line ends as here, what is not UTF-8 replaced.
      stderr: likewise.
    """

    status: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """Both outputs."""
        return self.stdout + self.stderr


class Adb:
    """Google's adb client and the server it talks to. Several threads may use it at once."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        port: int | None = None,
        show: Callable[[str], None] | None = None,
    ) -> None:
        """Finds the client; talks to nobody yet.

        Args:
          path: the program; $ADB, the search path and $ANDROID_HOME/platform-tools if None.
          port: of the adb server; $ANDROID_ADB_SERVER_PORT or 5037 if None.
          show: for a dry run: takes each command line that would change something on a phone,
            instead of running it.

        Raises:
          AdbError: there is no such program, or the port is no number.
        """
        self.path = _find(path)
        self.port = _port(port)
        self._show = show
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    @property
    def dry_run(self) -> bool:
        """Whether commands that would change something are only shown."""
        return self._show is not None

    @property
    def stopping(self) -> threading.Event:
        """Set once `stop` was called; waiting on it is sleeping that can be cut short."""
        return self._stopping

    def stop(self) -> None:
        """Ends the calls under way; from now on only calls that clean up are made."""
        self._stopping.set()
        with self._lock:
            for process in self._running:
                process.kill()

    def start(self) -> str:
        """Starts the server unless one runs.

        Returns:
          The client's version, such as '1.0.41'.

        Raises:
          AdbError: a server of another version runs, which the client would kill, and with it
            whatever others do through it; or none can be started.
        """
        printed = self.call(["version"], timeout=_START_TIMEOUT).stdout
        match = re.search(r"version (\d+\.\d+\.(\d+))", printed)
        if match is None:
            raise AdbError(f"{self.path} is not Google's adb: it says {printed[:80]!r}")
        server = _server_version(self.port)
        if server is not None and server != int(match[2]):
            raise AdbError(
                f"the adb server on port {self.port} has version {server}, {self.path} has"
                f" {match[2]} and would kill it: give the adb of that version with --adb, end the"
                " server with its own 'adb kill-server', or take another --adb-port"
            )
        self.call(["start-server"], timeout=_START_TIMEOUT)
        return match[1]

    def devices(self) -> tuple[ListedDevice, ...]:
        """Lists what is attached, usable or not.

        Raises:
          AdbError: adb fails.
        """
        lines = self.call(["devices", "-l"]).stdout.splitlines()
        found = (_DEVICE_LINE.match(line) for line in lines if line != "List of devices attached")
        return tuple(
            ListedDevice(m["serial"], m["state"], m["rest"].strip()) for m in found if m is not None
        )

    def connect(self, serial: str) -> None:
        """Asks for a network device anew, which adb forgets when the connection breaks."""
        self.call(["connect", serial])

    def features(self, serial: str) -> frozenset[str]:
        """Returns what the phone's adbd can do, such as 'shell_v2'.

        Raises:
          DeviceLostError: the phone is gone.
          AdbError: adb fails.
        """
        return frozenset(self.call(["features"], serial).stdout.split())

    def shell(
        self,
        serial: str,
        command: Sequence[str],
        timeout: float = CALL_TIMEOUT,
        changes: bool = False,
        cleanup: bool = False,
    ) -> Answer:
        """Runs a command on the phone.

        Args:
          serial: the phone.
          command: the program and its arguments; quoted for the phone's shell here.
          timeout: seconds.
          changes: whether the phone is another one afterwards; shown only in a dry run.
          cleanup: whether it runs even after `stop`.

        Returns:
          Its outputs and exit status, which may be anything.

        Raises:
          DeviceLostError: the connection ended before the command did.
          DeviceRefusedError: the phone does not let us.
          AdbError: adb fails, or the time is over.
          InterruptedRunError: `stop` was called.
        """
        line = " ".join(shlex.quote(part) for part in command)
        arguments = ["shell", f"{line}; echo {_END}$?"]
        if changes and self._show is not None:
            self._show(shlex.join(self._argv(["shell", line], serial)))
            return Answer(0, "", "")
        answer = self.call(arguments, serial, timeout, check=False, cleanup=cleanup)
        match = _END_LINE.search(answer.stdout)
        if match is None:
            # The command's own messages may stand beside the client's.
            own = [li for li in answer.stderr.splitlines() if li.startswith(("error:", "adb:"))]
            self._raise_known(" ".join(own), serial)
            raise DeviceLostError(f"{serial}: the connection broke while '{line[:120]}' ran")
        return Answer(int(match[1]), answer.stdout[: match.start()], answer.stderr)

    def push(self, serial: str, file: Path, remote: str) -> None:
        """Copies a file to the phone.

        Raises:
          ToolError: the phone's disk is full.
          DeviceLostError, DeviceRefusedError, AdbError, InterruptedRunError: as for `shell`.
        """
        size = file.stat().st_size
        self._transfer(["push", str(file.absolute()), remote], serial, size)

    def pull(self, serial: str, remote: str, file: Path, size: int) -> None:
        """Copies a file of about `size` bytes from the phone.

        Raises:
          DeviceLostError, DeviceRefusedError, AdbError, InterruptedRunError: as for `shell`.
        """
        self._transfer(["pull", remote, str(file.absolute())], serial, size)

    def install(self, serial: str, apk: Path) -> None:
        """Installs an app, replacing an older one of the same signature.

        Raises:
          ToolError: the phone refuses it.
          DeviceLostError, DeviceRefusedError, AdbError, InterruptedRunError: as for `shell`.
        """
        arguments = ["install", "-r", "-g", "-t", str(apk.absolute())]
        answer = self._transfer(arguments, serial, apk.stat().st_size)
        failure = re.search(r"Failure \[(.*?)\]|INSTALL_\w+", answer.text)
        if failure is not None:
            raise ToolError(f"{serial}: the phone refuses {apk}: {failure[0]}")

    def uninstall(self, serial: str, package: str) -> None:
        """Removes an app; one that is not there is no error."""
        arguments = ["uninstall", package]
        if self._show is not None:
            self._show(shlex.join(self._argv(arguments, serial)))
            return
        self.call(arguments, serial, check=False, cleanup=True)

    def _transfer(self, arguments: list[str], serial: str, size: int) -> Answer:
        if self._show is not None:
            self._show(shlex.join(self._argv(arguments, serial)))
            return Answer(0, "", "")
        return self.call(arguments, serial, CALL_TIMEOUT + size / _SLOWEST_BYTES_PER_SECOND)

    def call(
        self,
        arguments: Sequence[str],
        serial: str | None = None,
        timeout: float = CALL_TIMEOUT,
        check: bool = True,
        cleanup: bool = False,
    ) -> Answer:
        """Runs the client.

        Args:
          arguments: its command and what follows it.
          serial: of the phone that it is about, if it is about one.
          timeout: seconds.
          check: whether a failure raises.
          cleanup: whether it runs even after `stop`.

        Returns:
          The client's own outputs and status.

        Raises:
          DeviceLostError: the phone is gone.
          DeviceRefusedError: it does not let us.
          ToolError: its disk is full.
          AdbError: adb fails otherwise, or the time is over.
          InterruptedRunError: `stop` was called.
        """
        self._check_interrupt(cleanup)
        argv = self._argv(arguments, serial)
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Ctrl-C is ours to handle: it must not end the calls that clean up.
                start_new_session=True,
            )
        except OSError as error:
            raise AdbError(f"cannot run {self.path}: {error.strerror}") from error
        with process:
            with self._lock:
                if not cleanup:
                    self._running.add(process)
                if self._stopping.is_set() and not cleanup:
                    # `stop` came between the check above and now.
                    process.kill()
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired as error:
                raise AdbTimeoutError(
                    f"{serial or 'adb'}: no answer in {timeout:.0f} s to '{_shown(arguments)}'"
                ) from error
            finally:
                with self._lock:
                    self._running.discard(process)
                # On any exception: leaving the `with` waits for the process.
                if process.poll() is None:
                    process.kill()
        self._check_interrupt(cleanup)
        answer = Answer(process.returncode, _decoded(out), _decoded(err))
        if check:
            self._check(answer, arguments, serial)
        return answer

    def _argv(self, arguments: Sequence[str], serial: str | None) -> list[str]:
        chosen = [] if serial is None else ["-s", serial]
        return [self.path, "-P", str(self.port), *chosen, *arguments]

    def _check_interrupt(self, cleanup: bool) -> None:
        if self._stopping.is_set() and not cleanup:
            raise InterruptedRunError("interrupted")

    def _check(self, answer: Answer, arguments: Sequence[str], serial: str | None) -> None:
        if answer.status == 0:
            return
        said = " ".join(answer.stderr.split() or answer.stdout.split())
        self._raise_known(said, serial)
        raise AdbError(
            f"{serial or 'adb'}: '{_shown(arguments)}' failed:"
            f" {said[:300] or f'exit status {answer.status}'}"
        )

    def _raise_known(self, said: str, serial: str | None) -> None:
        said = said[:300]
        if _DISK_FULL.search(said):
            raise ToolError(f"{serial}: no space is left on the phone: {said}")
        if _UNAUTHORIZED.search(said):
            raise DeviceRefusedError(f"{serial} is unauthorized: {_ADVICE['unauthorized']}")
        if _PERMISSIONS.search(said):
            raise DeviceRefusedError(f"{serial}: {_ADVICE['no permissions']}")
        if _NO_SERVER.search(said):
            raise AdbError(f"the adb server on port {self.port} does not start: {said}")
        if serial is not None and _LOST.search(said):
            raise DeviceLostError(f"{serial} is gone: {said}")


def _shown(arguments: Sequence[str]) -> str:
    return " ".join(arguments).removesuffix(f"; echo {_END}$?")[:120]


def _decoded(output: bytes) -> str:
    return output.decode("utf-8", "replace").replace("\r\n", "\n")


def _find(path: str | os.PathLike[str] | None) -> str:
    given = os.fspath(path) if path is not None else os.environ.get(PATH_VARIABLE)
    if given:
        found = shutil.which(given)
        if found is None:
            where = "--adb" if path is not None else f"${PATH_VARIABLE}"
            raise AdbError(f"{where}: {given} is no program; {_INSTALL}")
        return found
    homes = [os.environ.get(name) for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")]
    places = ["adb", *(str(Path(home) / "platform-tools" / "adb") for home in homes if home)]
    for place in places:
        if found := shutil.which(place):
            return found
    raise AdbError(f"adb, which talks to phones, was not found: {_INSTALL}")


def _port(port: int | None) -> int:
    if port is not None:
        return port
    given = os.environ.get(PORT_VARIABLE, str(DEFAULT_PORT))
    if not given.isdigit() or not 0 < int(given) < 65536:
        raise AdbError(f"${PORT_VARIABLE} is {given!r}; a port is a number from 1 to 65535")
    return int(given)


def _server_version(port: int) -> int | None:
    """Asks a running server for its version, which the client does by killing it.

    The request and the answer are adb's smart-socket protocol: four hexadecimal digits of length,
    then the text; OKAY before the answer.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            connection.sendall(b"000chost:version")
            received = b""
            while len(received) < 12 and (part := connection.recv(12 - len(received))):
                received += part
    except OSError:
        return None
    try:
        if received[:4] != b"OKAY":
            raise ValueError
        return int(received[8:12], 16)
    except ValueError as error:
        raise AdbError(
            f"what listens on port {port} is no adb server: it answers {received!r}; take another"
            " --adb-port"
        ) from error
