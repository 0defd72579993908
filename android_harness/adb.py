"""Google's adb client and the phones it reaches.

Every call has a time limit, and errors say what to do about them.
"""

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
# The variables that adb itself reads; the first one counts in place of the others.
SOCKET_VARIABLE = "ADB_SERVER_SOCKET"
ADDRESS_VARIABLE = "ANDROID_ADB_SERVER_ADDRESS"
PORT_VARIABLE = "ANDROID_ADB_SERVER_PORT"
DEFAULT_PORT = 5037

_INSTALL = (
    "install Google's platform tools (Debian and Ubuntu: apt install adb; macOS: brew install"
    " android-platform-tools), or give its path with --adb PATH or $ADB"
)
# Seconds. A phone usually answers in milliseconds, but may take longer when it wakes up or is busy.
CALL_TIMEOUT = 30.0
_START_TIMEOUT = 30.0
# In practice USB 2 gives at least 20 MB/s, but adb over slow Wi-Fi much less.
_SLOWEST_BYTES_PER_SECOND = 200_000

# Printed with the exit status after every remote command. When a cable is pulled, adb exits with
# the output so far and with a status that commands have as well, so that only this line shows that
# the command has ended.
_EXIT_MARKER = "mmfs-exit:"
_EXIT_LINE = re.compile(re.escape(_EXIT_MARKER) + r"(\d+)\s*\Z")

_LIST_HEADING = "List of devices attached"
# What adb lists in place of an empty serial number.
_NO_SERIAL = "(no serial number)"
_ADVICE = {
    "unauthorized": "unlock the phone and accept its question 'Allow USB debugging?'; if it does"
    " not ask, revoke USB debugging authorizations in its developer options and plug it in again",
    "authorizing": "it is being authorized; try again in a few seconds",
    "connecting": "it is being connected; try again in a few seconds",
    "offline": "plug the cable in again or switch USB debugging off and on; for a network device:"
    " adb disconnect, then adb connect",
    "no permissions": "this user may not open the USB device: install the udev rules (Debian and"
    " Ubuntu: apt install android-sdk-platform-tools-common), join the group plugdev, log in again"
    " and plug the phone in again",
    "detached": "adb has released it to another program; take it back with: adb attach SERIAL",
    "bootloader": "it is in the bootloader; start Android",
    "recovery": "it is in recovery mode; start Android",
    "rescue": "it is in rescue mode; start Android",
    "sideload": "it is waiting for an update; start Android",
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
    """A line of `adb devices`.

    Attributes:
      serial: Serial number, or HOST:PORT or the service's name, which may have spaces, for a device
        on the network.
      state: 'device' if it can be used; otherwise 'offline', 'unauthorized', 'no permissions' or
        any other that adb writes.
      description: What adb adds to the state.
    """

    serial: str
    state: str
    description: str

    @property
    def advice(self) -> str:
        """What the user can do to make the device usable; empty if it is usable."""
        if self.state != "device":
            return _ADVICE.get(self.state, "it is in a state in which it cannot be used")
        if self.serial == _NO_SERIAL:
            return "adb can only be told which device is meant by a serial number"
        return ""


def is_network_serial(serial: str) -> bool:
    """Returns whether a serial number is HOST:PORT, or the name of a service found by mDNS."""
    return ":" in serial or "._adb" in serial


@dataclass(frozen=True)
class Answer:
    """Result of a command on the phone, or of the client itself.

    Attributes:
      status: Exit status; above 128, 128 plus the number of the signal that ended the command.
      stdout: Standard output, with line feeds only; bytes that are not UTF-8 are replaced.
      stderr: Standard error, decoded in the same way.
    """

    status: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """Standard output and standard error."""
        return self.stdout + self.stderr


class Adb:
    """Google's adb client and the server it talks to. It is safe to use from several threads."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        port: int | None = None,
        show: Callable[[str], None] | None = None,
    ) -> None:
        """Finds the client; the server is not contacted yet.

        Args:
          path: The client; if None, $ADB, the search path and $ANDROID_HOME/platform-tools are
            searched.
          port: Port of the adb server; if None, $ADB_SERVER_SOCKET says where the server is, or
            $ANDROID_ADB_SERVER_ADDRESS and $ANDROID_ADB_SERVER_PORT, otherwise it is port 5037.
          show: For a dry run: a function that is called with each command line that would change
            something on a phone, in place of running it.

        Raises:
          AdbError: the client is not found, or a variable has no port or address.
        """
        self.path = _find(path)
        self._server = _Server.find(port)
        self._show = show
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    @property
    def port(self) -> int | None:
        """The port of the adb server; None if it has a socket of another kind."""
        address = self._server.address
        return address[1] if isinstance(address, tuple) else None

    @property
    def dry_run(self) -> bool:
        """Whether commands that would change something on a phone are only shown."""
        return self._show is not None

    @property
    def stopping(self) -> threading.Event:
        """An event that is set by `stop`; waiting for it is a sleep that `stop` interrupts."""
        return self._stopping

    def stop(self) -> None:
        """Ends all running calls; later calls fail unless they clean up."""
        self._stopping.set()
        with self._lock:
            for process in self._running:
                process.kill()

    def start(self) -> str:
        """Starts the server unless it is running.

        Returns:
          The client's version, such as '1.0.41'.

        Raises:
          AdbError: a server of another version is running, which the client would kill together
            with the calls of other programs; or no server can be started.
        """
        printed = self.call(["version"], timeout=_START_TIMEOUT).stdout
        match = re.search(r"version (\d+\.\d+\.(\d+))", printed)
        if match is None:
            raise AdbError(f"{self.path} is not Google's adb: it prints {printed[:80]!r}")
        server = self._server.version()
        if server is not None and server != int(match[2]):
            raise AdbError(
                f"the adb server on {self._server} has version {server}, {self.path} has"
                f" {match[2]} and would kill it: choose the adb of that version with --adb, end the"
                " server with its own 'adb kill-server', or choose another --adb-port"
            )
        self.call(["start-server"], timeout=_START_TIMEOUT)
        return match[1]

    def devices(self) -> tuple[ListedDevice, ...]:
        """Lists the attached devices, usable or not.

        Raises:
          AdbError: adb fails.
        """
        # Without -l, because only then a tab separates the serial number, which may have spaces,
        # from the state.
        _, _, listed = self.call(["devices"]).stdout.rpartition(_LIST_HEADING)
        return tuple(_listed_device(line) for line in listed.splitlines() if line.strip())

    def device(self, serial: str) -> Device:
        """Returns an object for a device, which need not be attached.

        Args:
          serial: Serial number as adb lists it.
        """
        return Device(self, serial)

    def show(self, arguments: Sequence[str], serial: str) -> None:
        """Passes the command line of a call to the function that shows it in a dry run."""
        assert self._show is not None
        self._show(shlex.join(self._argv(arguments, serial)))

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
          arguments: The client's command and its arguments.
          serial: Serial number of the phone that the command is for; None if it is for no phone.
          timeout: Time limit in seconds.
          check: Whether an exit status other than 0 raises an exception.
          cleanup: Whether the client runs even after `stop`.

        Returns:
          The client's own outputs and status.

        Raises:
          DeviceLostError: the phone is gone.
          DeviceRefusedError: the phone does not allow access.
          ToolError: the phone's storage is full.
          AdbError: adb fails otherwise, or the time limit was exceeded.
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
                # In a session of its own the client does not get Ctrl-C, which must not end the
                # calls that clean up.
                start_new_session=True,
            )
        except OSError as error:
            raise AdbError(f"cannot run {self.path}: {error.strerror}") from error
        with process:
            with self._lock:
                if not cleanup:
                    self._running.add(process)
                if self._stopping.is_set() and not cleanup:
                    # `stop` was called after the check above.
                    process.kill()
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired as error:
                raise AdbTimeoutError(
                    f"{serial or 'adb'}: no answer in {timeout:.0f} s to"
                    f" '{_command_text(arguments)}'"
                ) from error
            finally:
                with self._lock:
                    self._running.discard(process)
                # After an exception the process must end, because leaving the `with` waits for it.
                if process.poll() is None:
                    process.kill()
        self._check_interrupt(cleanup)
        answer = Answer(process.returncode, _decoded(out), _decoded(err))
        if check:
            self._check(answer, arguments, serial)
        return answer

    def _argv(self, arguments: Sequence[str], serial: str | None) -> list[str]:
        chosen = [] if serial is None else ["-s", serial]
        return [self.path, *self._server.options, *chosen, *arguments]

    def _check_interrupt(self, cleanup: bool) -> None:
        if self._stopping.is_set() and not cleanup:
            raise InterruptedRunError("interrupted")

    def _check(self, answer: Answer, arguments: Sequence[str], serial: str | None) -> None:
        if answer.status == 0:
            return
        said = " ".join(answer.stderr.split() or answer.stdout.split())
        self.raise_known_error(said, serial)
        raise AdbError(
            f"{serial or 'adb'}: '{_command_text(arguments)}' failed:"
            f" {said[:300] or f'exit status {answer.status}'}"
        )

    def raise_known_error(self, said: str, serial: str | None) -> None:
        """Raises the exception for a message of the client; returns if the message is unknown.

        Args:
          said: The message.
          serial: Serial number of the phone that the call was for, if it was for one.
        """
        said = said[:300]
        if _DISK_FULL.search(said):
            raise ToolError(f"{serial}: no space is left on the phone: {said}")
        if _UNAUTHORIZED.search(said):
            raise DeviceRefusedError(f"{serial} is unauthorized: {_ADVICE['unauthorized']}")
        if _PERMISSIONS.search(said):
            raise DeviceRefusedError(f"{serial}: {_ADVICE['no permissions']}")
        if _NO_SERVER.search(said):
            raise AdbError(f"the adb server on {self._server} does not start: {said}")
        if serial is not None and _LOST.search(said):
            raise DeviceLostError(f"{serial} is gone: {said}")


class Device:
    """A phone that adb reaches. It is safe to use from several threads.

    All methods raise:
      DeviceLostError: the phone is gone, or the connection ended before the command did.
      DeviceRefusedError: the phone does not allow access.
      AdbError: adb fails, or the time limit was exceeded.
      InterruptedRunError: `Adb.stop` was called, and the method does not clean up.

    Attributes:
      serial: Serial number as adb lists it; HOST:PORT for a device on the network.
    """

    def __init__(self, adb: Adb, serial: str) -> None:
        """Names a device; it is not contacted yet. `Adb.device` is the usual way to get one."""
        self._adb = adb
        self.serial = serial

    @property
    def dry_run(self) -> bool:
        """Whether commands that would change something on the phone are only shown."""
        return self._adb.dry_run

    @property
    def stopping(self) -> threading.Event:
        """An event that is set by `Adb.stop`."""
        return self._adb.stopping

    def reconnect(self) -> None:
        """Connects a network device again, which adb forgets when the connection breaks.

        Does nothing for a device on USB.
        """
        if ":" in self.serial:
            self._adb.call(["connect", self.serial])

    def features(self) -> frozenset[str]:
        """Returns the features of the phone's adbd, such as 'shell_v2'."""
        return frozenset(self._adb.call(["features"], self.serial).stdout.split())

    def shell(
        self,
        command: Sequence[str],
        timeout: float = CALL_TIMEOUT,
        changes: bool = False,
        cleanup: bool = False,
    ) -> Answer:
        """Runs a command on the phone.

        Args:
          command: The program and its arguments, without quoting for the phone's shell.
          timeout: Time limit in seconds.
          changes: Whether the command changes something on the phone. In a dry run it is shown and
            not run.
          cleanup: Whether the command runs even after `Adb.stop`.

        Returns:
          The outputs and the exit status of the command. A status other than 0 is not an error.
        """
        line = " ".join(shlex.quote(part) for part in command)
        if changes and self.dry_run:
            self._adb.show(["shell", line], self.serial)
            return Answer(0, "", "")
        arguments = ["shell", f"{line}; echo {_EXIT_MARKER}$?"]
        answer = self._adb.call(arguments, self.serial, timeout, check=False, cleanup=cleanup)
        match = _EXIT_LINE.search(answer.stdout)
        if match is None:
            # Messages of the command and of the client are mixed; only the client's count here.
            lines = answer.stderr.splitlines()
            self._adb.raise_known_error(
                " ".join(text for text in lines if text.startswith(("error:", "adb:"))), self.serial
            )
            raise DeviceLostError(f"{self.serial}: the connection broke while '{line[:120]}' ran")
        return Answer(int(match[1]), answer.stdout[: match.start()], answer.stderr)

    def push(self, file: Path, remote: str) -> None:
        """Copies a file to the phone.

        Args:
          file: The file on this computer.
          remote: Its path on the phone.

        Raises:
          ToolError: the phone's storage is full.
        """
        self._transfer(["push", str(file.absolute()), remote], file.stat().st_size)

    def pull(self, remote: str, file: Path, size: int) -> None:
        """Copies a file from the phone.

        Args:
          remote: The file on the phone.
          file: Its path on this computer.
          size: About how many bytes it has, which sets the time limit.
        """
        self._transfer(["pull", remote, str(file.absolute())], size)

    def install(self, apk: Path) -> None:
        """Installs an app, and replaces an older one with the same signature.

        Args:
          apk: The Android package.

        Raises:
          ToolError: the phone refuses the package.
        """
        arguments = ["install", "-r", "-g", "-t", str(apk.absolute())]
        answer = self._transfer(arguments, apk.stat().st_size)
        failure = re.search(r"Failure \[(.*?)\]|INSTALL_\w+", answer.text)
        if failure is not None:
            raise ToolError(f"{self.serial}: the phone refuses {apk}: {failure[0]}")

    def uninstall(self, package: str) -> None:
        """Removes an app, also after `Adb.stop`. It is no error if it is not installed.

        Args:
          package: Name of the app's package.
        """
        arguments = ["uninstall", package]
        if self.dry_run:
            self._adb.show(arguments, self.serial)
        else:
            self._adb.call(arguments, self.serial, check=False, cleanup=True)

    def _transfer(self, arguments: list[str], size: int) -> Answer:
        if self.dry_run:
            self._adb.show(arguments, self.serial)
            return Answer(0, "", "")
        timeout = CALL_TIMEOUT + size / _SLOWEST_BYTES_PER_SECOND
        return self._adb.call(arguments, self.serial, timeout)


def _command_text(arguments: Sequence[str]) -> str:
    return " ".join(arguments).removesuffix(f"; echo {_EXIT_MARKER}$?")[:120]


def _decoded(output: bytes) -> str:
    return output.decode("utf-8", "replace").replace("\r\n", "\n")


def _find(path: str | os.PathLike[str] | None) -> str:
    given = os.fspath(path) if path is not None else os.environ.get(PATH_VARIABLE)
    if given:
        found = shutil.which(given)
        if found is None:
            where = "--adb" if path is not None else f"${PATH_VARIABLE}"
            raise AdbError(f"{where}: {given} is not a program; {_INSTALL}")
        return found
    homes = [os.environ.get(name) for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")]
    places = ["adb", *(str(Path(home) / "platform-tools" / "adb") for home in homes if home)]
    for place in places:
        if found := shutil.which(place):
            return found
    raise AdbError(f"adb, which talks to phones, was not found: {_INSTALL}")


def _listed_device(line: str) -> ListedDevice:
    serial, _, state = line.partition("\t")
    # adb explains this state alone: 'no permissions (user in plugdev group; ...); see [...]'.
    known = "no permissions"
    if state.startswith(known):
        return ListedDevice(serial, known, state.removeprefix(known).strip())
    return ListedDevice(serial.strip(), state.strip() or "unknown", "")


@dataclass(frozen=True)
class _Server:
    """Where the adb server is.

    Attributes:
      options: The client's options that say so.
      address: Host and port, or a path of a Unix socket; None if it cannot be contacted from here.
      name: What error messages call it.
    """

    options: tuple[str, ...]
    address: tuple[str, int] | str | None
    name: str

    @classmethod
    def find(cls, port: int | None) -> _Server:
        """Follows adb's own rules: options, then $ADB_SERVER_SOCKET, then the other variables."""
        given = os.environ.get(SOCKET_VARIABLE)
        if port is None and given:
            return cls(("-L", given), _socket_address(given), f"${SOCKET_VARIABLE} ({given})")
        number = str(port or os.environ.get(PORT_VARIABLE) or DEFAULT_PORT)
        if not _is_port(number):
            raise AdbError(
                f"${PORT_VARIABLE} is {number!r}; it must be a port, a number from 1 to 65535"
            )
        host = os.environ.get(ADDRESS_VARIABLE)
        if host:
            return cls(("-H", host, "-P", number), (host, int(number)), f"{host}, port {number},")
        return cls(("-P", number), ("127.0.0.1", int(number)), f"port {number}")

    def __str__(self) -> str:
        """Returns the name."""
        return self.name

    def version(self) -> int | None:
        """Asks a running server for its version; returns None if no server is running.

        The client cannot be used for this, because it kills a server of another version. Request
        and answer follow adb's smart-socket protocol: OKAY before the answer, then the length as
        four hexadecimal digits, then the text.
        """
        if self.address is None:
            return None
        try:
            with self._connect(self.address) as connection:
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
                f"the program that listens on {self} is not an adb server: it answers"
                f" {received!r}; choose another --adb-port"
            ) from error

    @staticmethod
    def _connect(address: tuple[str, int] | str) -> socket.socket:
        if isinstance(address, tuple):
            return socket.create_connection(address, timeout=3)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(3)
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


def _socket_address(given: str) -> tuple[str, int] | str | None:
    """Reads a socket as adb writes it: tcp:PORT, tcp:HOST:PORT, localfilesystem:PATH and others."""
    kind, _, place = given.partition(":")
    if kind == "localfilesystem":
        return place
    if kind == "localabstract":
        return f"\0{place}"
    if kind != "tcp":
        return None  # Such as vsock; adb itself says if it does not know the kind.
    host, _, port = place.rpartition(":")
    if not _is_port(port):
        raise AdbError(
            f"${SOCKET_VARIABLE} is {given!r}; a TCP socket is tcp:PORT or tcp:HOST:PORT, with a"
            " port from 1 to 65535"
        )
    return host.strip("[]") or "127.0.0.1", int(port)
