"""A phone that listens on a TCP port and speaks adb's protocol."""

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import socket
import string
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from . import tool_files
from .adb_key import PublicKey
from .clock import Clock
from .connection import Connection
from .disk import Disk
from .faults import Faults
from .packages import Packages
from .phone import Phone
from .thermal import Thermal
from .tool_server import ToolServer

# Features of adbd in Android 14, without those that need a compressor, and without "abb", in whose
# place hosts use shell commands.
FEATURES: Final = (
    "shell_v2",
    "cmd",
    "stat_v2",
    "ls_v2",
    "fixed_push_mkdir",
    "apex",
    "fixed_push_symlink_timestamp",
    "abb_exec",
    "sendrecv_v2",
)

DEVICE_VARIABLE: Final = "ADB_DEVICE_ID"


@dataclasses.dataclass(frozen=True)
class Battery:
    """Charge of the battery, 0 to 100, and whether USB charges it."""

    level: int = 85
    usb_powered: bool = True


class AdbDevice:
    """A simulated phone, which `with AdbDevice() as device:` starts, and ends without leftovers.

    Args:
      phone: Model of the phone.
      serial: The phone's own serial number; the host uses `address` instead.
      features: Features that its adbd offers the host.
      authorize: Which keys it trusts: None if hosts need no key, True to trust each key that is
        offered, False to trust none, as if nobody taps "Allow".
      clock_speed: Device seconds per real second.

    Attributes:
      address: "127.0.0.1:PORT", for `adb connect`, and then the serial number that adb lists.
      disk: Files of the phone; `device.disk.host_path("/data/local/tmp/x")` is one.
      faults: Faults of the phone.
      clock, thermal, battery, packages: Further state, for tests to read and to set.
      properties: Values that getprop returns.
      settings: Values that `settings` returns, by "namespace/key".
      screen_on: Whether the screen is on.
      commands: Tools that were run, each a list of words, oldest first.
    """

    def __init__(
        self,
        phone: Phone | None = None,
        *,
        serial: str | None = None,
        features: tuple[str, ...] = FEATURES,
        authorize: bool | None = None,
        clock_speed: float = 1.0,
    ) -> None:
        self.phone = phone or Phone()
        self.serial = serial or "".join(random.choices(string.ascii_uppercase + "0123456789", k=14))
        self.features = features
        self.trusted_keys: list[PublicKey] = []
        self.clock = Clock(clock_speed)
        self.thermal = Thermal(self.clock)
        self.faults = Faults(self)
        self.battery = Battery()
        self.packages = Packages(self)
        self.properties = self.phone.properties(self.serial)
        self.settings: dict[str, str] = {"global/stay_on_while_plugged_in": "0"}
        self.screen_on = True
        self.commands: list[list[str]] = []
        self._authorize = authorize
        self._offline = False
        self._state = threading.RLock()
        self._stopping = threading.Event()
        self._connections: list[Connection] = []
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.is_down = False
        # The shell of a phone is mksh, which is closer to bash than to dash.
        shell = shutil.which("bash")
        if shell is None:
            raise FileNotFoundError("the simulated device runs commands with bash; install bash")
        self.shell = shell

    # Starting and stopping.

    def __enter__(self) -> "AdbDevice":
        self.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()

    def start(self) -> None:
        """Creates the disk, and starts to listen."""
        folder = Path(tempfile.mkdtemp(prefix="adb-device-"))
        self.disk = Disk(folder)
        self._id = uuid.uuid4().hex
        self._boot()
        tool_files.install(self.disk)
        self._tools = ToolServer(self)
        self._tools.start()
        self.environment = {
            "ADB_DEVICE_ROOT": str(self.disk.root),
            "ADB_DEVICE_SOCKET": self._tools.name,
            DEVICE_VARIABLE: self._id,
            "ANDROID_DATA": "/data",
            "ANDROID_ROOT": "/system",
            "EXTERNAL_STORAGE": "/sdcard",
            "HOME": str(self.disk.root),
            "HOSTNAME": self.phone.device,
            "LANG": "C.UTF-8",
            "LOGNAME": "shell",
            "PATH": str(self.disk.root / "system/bin"),
            "SHELL": "/bin/sh",
            "TERM": "dumb",
            "TMPDIR": str(self.disk.root / "data/local/tmp"),
            "USER": "shell",
        }
        self._listener = _bind()
        self.address = "{}:{}".format(*self._listener.getsockname())
        self._listen()

    def stop(self) -> None:
        """Ends every process and connection, and removes the disk."""
        self._stopping.set()
        self.unplug()
        self._kill_processes()
        for thread in [*self._threads, *list(self._connections)]:
            thread.join()
        self._tools.stop()
        self._kill_processes()
        if self._listener:
            self._listener.close()
        shutil.rmtree(self.disk.root)

    def _boot(self) -> None:
        root = self.disk.root
        tmp = root / "data/local/tmp"
        tmp.mkdir(parents=True, exist_ok=True)
        (root / "storage/emulated/0").mkdir(parents=True, exist_ok=True)
        links = {"sdcard": "storage/emulated/0", "mnt/sdcard": "storage/emulated/0"}
        for name, target in (links | {"bin": "system/bin", "etc": "system/etc"}).items():
            link = root / name
            link.parent.mkdir(exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(root / target)
        tmp.chmod(0o771)
        self._booted = self.clock.now()
        boot_id = {"proc/sys/kernel/random/boot_id": f"{uuid.uuid4()}\n"}
        for name, text in (self.phone.pseudo_files() | boot_id).items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.properties["sys.boot_completed"] = "1"
        self.screen_on = True

    # The cable.

    @property
    def banner(self) -> str:
        """Description of the device in the handshake."""
        names = ("ro.product.name", "ro.product.model", "ro.product.device")
        properties = "".join(f"{name}={self.properties[name]};" for name in names)
        return f"{properties}features={','.join(self.features)}"

    def plug_in(self) -> None:
        """Listens again after the cable was pulled."""
        with self._state:
            if not self.is_down:
                self._listen()

    def unplug(self) -> None:
        """Drops all connections and accepts no new ones; processes on the device continue."""
        with self._state:
            if self._listener:
                with contextlib.suppress(OSError):
                    # This refuses connections but keeps the port, which no other program can take.
                    self._listener.shutdown(socket.SHUT_RDWR)
            for connection in self._connections:
                connection.close()

    def reboot(self, seconds: float = 20.0) -> None:
        """Ends all processes but keeps the disk; the device answers again after `seconds`."""
        with self._state:
            if self.is_down:
                return
            self.is_down = True
            back = self.clock.now() + seconds
        self._kill_processes()
        self.unplug()
        self._kill_processes()
        thread = threading.Thread(
            target=self._come_back, args=(back,), name="adb device boots", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _come_back(self, moment: float) -> None:
        if self.clock.wait_until(moment, self._stopping):
            self._boot()
            with self._state:
                self.is_down = False
                self._listen()

    def _listen(self) -> None:
        if self._stopping.is_set():
            return
        assert self._listener
        self._listener.listen()
        thread = threading.Thread(target=self._accept, name="adb device listens", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        assert self._listener
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return  # The cable was pulled.
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, peer)
            with self._state:
                self._connections.append(connection)
            connection.start()

    def on_disconnect(self, connection: Connection) -> None:
        """Handles the end of a connection."""
        with self._state, contextlib.suppress(ValueError):
            self._connections.remove(connection)

    @property
    def is_connected(self) -> bool:
        """Whether a connection of a host is open or still closing."""
        return bool(self._connections)

    # Authorization.

    def on_greeting(self, connection: Connection) -> None:
        """Handles the first message of a host."""
        if self._offline:
            return
        if self._authorize is None:
            connection.greet()
        else:
            connection.ask_for_key()

    def on_key_offered(self, key: PublicKey) -> bool:
        """Handles the key that a host offers; returns whether it is trusted from now on."""
        if not self._authorize:
            return False
        self.trusted_keys.append(key)
        return True

    def distrust(self) -> None:
        """Trusts no key any longer, and asks connected hosts for their keys."""
        self._authorize = False
        self.trusted_keys = []
        for connection in list(self._connections):
            connection.go_offline()
            connection.ask_for_key()

    def go_offline(self) -> None:
        """Keeps the connections but no longer answers."""
        self._offline = True
        for connection in list(self._connections):
            connection.go_offline()

    def mend(self) -> None:
        """Undoes all faults of the device."""
        was_closed = self._offline or self._authorize is False
        self._offline = False
        if self._authorize is False:
            self._authorize = True
        self.battery = Battery()
        self.thermal.degrees_per_run = 0.1
        self.thermal.override = None
        if was_closed:
            for connection in list(self._connections):
                connection.greet()

    # Processes.

    @property
    def uptime(self) -> float:
        """Seconds since the device booted."""
        return self.clock.now() - self._booted

    def processes(self) -> Iterator[tuple[int, list[str]]]:
        """Yields the processes on the device, each with its command line."""
        marker = f"{DEVICE_VARIABLE}={self._id}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if marker in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
                    yield int(entry.name), [os.fsdecode(word) for word in words]
            except OSError:
                continue  # The process has ended, or belongs to another user.

    def _kill_processes(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            alive = [pid for pid, words in self.processes() if words]
            if not alive:
                return
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    def sleep(self, seconds: float) -> None:
        """Waits for seconds of the device's clock, or until the device stops."""
        self.clock.wait_until(self.clock.now() + seconds, self._stopping)


def _bind() -> socket.socket:
    """Returns a socket bound to a free port by its number, which keeps the port after shutdown."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = probe.getsockname()
        listener = socket.socket()
        # This allows to listen again while closed connections are still in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError:
            listener.close()  # Another program took the port first.
            continue
        return listener
