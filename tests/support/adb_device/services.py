"""The services that a host may open, by the names in AOSP's adb/SERVICES.TXT."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from .shell_service import ShellService
from .sync_service import SyncService

if TYPE_CHECKING:
    from .connection import Stream
    from .device import AdbDevice


def find(device: "AdbDevice", destination: str) -> Callable[["Stream"], None] | None:
    """Returns the function that serves a destination, or None if there is no such service."""
    name, _, rest = destination.partition(":")
    kind, *options = name.split(",")
    if kind == "shell":
        protocol = "v2" in options
        terminal = "pty" in options or (not rest and "raw" not in options)
        return functools.partial(_shell, device, rest, protocol, terminal)
    services: dict[str, Callable[[Stream], None]] = {
        "exec": functools.partial(_shell, device, rest, False, False),
        "abb_exec": functools.partial(_binder, device, rest),
        "sync": lambda stream: SyncService(device, stream).run(),
        "reboot": functools.partial(_reboot, device),
        "root": functools.partial(_say, "adbd cannot run as root in production builds\n"),
        "remount": functools.partial(_say, 'Not running as root. Try "adb root" first.\n'),
    }
    return services.get(kind)


def _shell(
    device: "AdbDevice", command: str, protocol: bool, terminal: bool, stream: "Stream"
) -> None:
    ShellService(device, stream, command, protocol=protocol, terminal=terminal).run()


def _binder(device: "AdbDevice", arguments: str, stream: "Stream") -> None:
    """Runs a command given as separate words, without a shell; newer hosts install apps so."""
    words = "cmd\0" + arguments
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words.split("\0"))
    ShellService(device, stream, quoted, protocol=False).run()


def _reboot(device: "AdbDevice", stream: "Stream") -> None:
    device.reboot()


def _say(text: str, stream: "Stream") -> None:
    stream.write(text.encode())
