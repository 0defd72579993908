"""The real adb client with a private server, apart from the user's server, keys and devices."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

MISSING: Final = "adb is missing; install Debian's package adb, or Android's platform-tools"

_TIMEOUT_SECONDS: Final = 20.0


def find_adb() -> str | None:
    """Returns the path of Google's client, or None if it is not installed."""
    return shutil.which("adb")


class AdbEnvironment:
    """A private adb server, which `with AdbEnvironment() as adb:` starts and ends.

    Attributes:
      adb: Path of the client.
      variables: Environment for every adb call: os.environ with a private HOME and the port of the
        private server.
    """

    def __init__(self) -> None:
        adb = find_adb()
        if adb is None:
            raise FileNotFoundError(MISSING)
        self.adb = adb

    def __enter__(self) -> "AdbEnvironment":
        self._home = Path(tempfile.mkdtemp(prefix="adb-home-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("ADB_", "ANDROID_"))
        }
        self.variables = clean | {
            "HOME": str(self._home),
            "ANDROID_SDK_HOME": str(self._home),
            "ANDROID_ADB_SERVER_PORT": str(port),
            # The server must find no emulators, USB devices or network devices, but only what
            # `adb connect` names. Older servers only know the first of these variables.
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",
            "ADB_EMU": "0",
            "ADB_USB": "0",
            "ADB_MDNS": "0",
            "ADB_MDNS_AUTO_CONNECT": "",
        }
        self._log = open(self._home / "server.log", "wb")
        self._server = subprocess.Popen(
            [self.adb, "server", "nodaemon"],
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            if self._server.poll() is not None:
                break
            time.sleep(0.01)
        log = (self._home / "server.log").read_text(errors="replace")
        self.__exit__()
        raise RuntimeError(f"the adb server did not start:\n{log}")

    def __exit__(self, *unused: object) -> None:
        # If the server crashed, a client has started another one, which this ends.
        self.run("kill-server")
        try:
            self._server.wait(_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._log.close()
        shutil.rmtree(self._home)

    def run(
        self,
        *arguments: str | os.PathLike[str],
        serial: str | None = None,
        stdin: bytes | None = None,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs adb, and returns its exit status and output.

        Args:
          arguments: Arguments of adb.
          serial: Serial number of the device as adb lists it; None for no device.
          stdin: Input of adb; None for an empty one.
          timeout: Time limit in seconds.

        Raises:
          subprocess.TimeoutExpired: adb exceeded the time limit.
        """
        command = [self.adb, *(["-s", serial] if serial else []), *arguments]
        return subprocess.run(
            command,
            env=self.variables,
            input=b"" if stdin is None else stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def shell(
        self, serial: str, command: str, *, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a command on a device."""
        return self.run("shell", command, serial=serial, timeout=timeout)

    def connect(self, address: str) -> None:
        """Connects a device, again if necessary, and waits until adb lists it as ready.

        Raises:
          RuntimeError: the device did not connect.
        """
        # Without this, a server that lost a device only tries again every ten seconds.
        self.run("disconnect", address)
        answer = ""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            state = self.state(address)
            if state == "device":
                return
            if state is None:
                # The server has not tried yet, or the restarting device does not listen yet.
                answer = self.run("connect", address).stdout.decode()
            time.sleep(0.02)
        raise RuntimeError(f"adb connect {address}: {answer.strip()}; now {self.state(address)}")

    def state(self, address: str) -> str | None:
        """Returns the state that adb lists, such as "device" or "offline"; None if unlisted."""
        for line in self.run("devices").stdout.decode().splitlines()[1:]:
            serial, _, state = line.partition("\t")
            if serial == address:
                return state
        return None
