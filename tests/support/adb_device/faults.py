"""What can go wrong with the device, set by a test and triggered by what the host does."""

import dataclasses
import errno
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .device import AdbDevice


class Faults:
    """The device's faults; none at first. Each method sets one, and `clear` mends them all.

    Those that need a moment to happen take it from the host's own doings: a number of bytes pushed,
    or the first counted inference of a run of benchmark_model.
    """

    def __init__(self, device: "AdbDevice") -> None:
        self._device = device
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._room: int | None = None
        self._push_pull: int | None = None
        self._push_reboot: tuple[int, float] | None = None
        self._run_pull = False
        self._run_reboot: float | None = None
        self._kill: dict[str, int] | None = None
        self._garbage: bytes | None = None

    def clear(self) -> None:
        """Mends everything: room on the disk, a cable, a key that is trusted, a full battery."""
        with self._lock:
            self._reset()
        self._device.mend()

    # What a test may do at any time.

    def offline(self) -> None:
        """The device stops talking: the host lists it as offline."""
        self._device.go_offline()

    def unauthorized(self) -> None:
        """Nobody taps "Allow" on the device: the host lists it as unauthorized."""
        self._device.distrust()

    def pull_cable(self) -> None:
        """Drops the connection; nobody answers until `device.plug_in()`."""
        self._device.unplug()

    def reboot(self, seconds: float = 20.0) -> None:
        """Reboots at once; the device answers again after `seconds` of its own clock."""
        self._device.reboot(seconds)

    def low_battery(self, level: int = 4) -> None:
        """The battery is at `level` percent and not charging."""
        self._device.battery = dataclasses.replace(
            self._device.battery, level=level, usb_powered=False
        )

    def thermal_throttling(
        self,
        *,
        degrees_per_run: float = 8.0,
        cooling_per_second: float = 0.1,
        slowdown: float = 2.0,
    ) -> None:
        """Runs heat the device, idling cools it; see `Thermal` for the numbers."""
        thermal = self._device.thermal
        thermal.degrees_per_run = degrees_per_run
        thermal.cooling_per_second = cooling_per_second
        thermal.slowdown = slowdown

    # What happens later.

    def disk_full(self, after_bytes: int = 0) -> None:
        """The disk takes `after_bytes` more, of pushes and of what benchmark_model writes."""
        with self._lock:
            self._room = after_bytes

    def pull_cable_during_push(self, after_bytes: int = 0) -> None:
        """Pulls the cable as soon as so many bytes of files have been pushed."""
        with self._lock:
            self._push_pull = after_bytes

    def reboot_during_push(self, after_bytes: int = 0, seconds: float = 20.0) -> None:
        """Reboots as soon as so many bytes of files have been pushed."""
        with self._lock:
            self._push_reboot = (after_bytes, seconds)

    def pull_cable_during_run(self) -> None:
        """Pulls the cable in the next run of benchmark_model."""
        with self._lock:
            self._run_pull = True

    def reboot_during_run(self, seconds: float = 20.0) -> None:
        """Reboots in the next run of benchmark_model."""
        with self._lock:
            self._run_reboot = seconds

    def kill_binary(self, number: int = signal.SIGSEGV, after_inferences: int = 1) -> None:
        """Every run of benchmark_model dies of a signal after so many counted inferences."""
        with self._lock:
            self._kill = {"signal": int(number), "after": after_inferences}

    def garbage_output(
        self, data: bytes = b"\x00\xff\x1b[2J??? Inference (avg): nan\n\xfe"
    ) -> None:
        """Every run of benchmark_model prints this instead of its results."""
        with self._lock:
            self._garbage = data

    # What the device asks and tells.

    @property
    def room(self) -> int | None:
        """How many bytes the disk still takes; None if there is room enough."""
        return self._room

    def on_write(self, size: int) -> None:
        """Something is about to be written.

        Raises:
          OSError: ENOSPC, there is no room.
        """
        with self._lock:
            if self._room is None:
                return
            if size > self._room:
                self._room = 0
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._room -= size

    def on_push(self, size: int) -> None:
        """Something of a file was pushed."""
        with self._lock:
            pull = reboot = None
            if self._push_pull is not None:
                self._push_pull -= size
                if self._push_pull < 0:
                    pull, self._push_pull = True, None
            if self._push_reboot is not None:
                left, seconds = self._push_reboot
                self._push_reboot = (left - size, seconds)
                if left < size:
                    reboot, self._push_reboot = seconds, None
        if pull:
            self._device.unplug()
        if reboot is not None:
            self._device.reboot(reboot)

    def on_run(self) -> dict[str, object]:
        """A run starts; returns what it has to suffer."""
        with self._lock:
            return {
                "kill": self._kill,
                "garbage": None if self._garbage is None else self._garbage.decode("latin-1"),
            }

    def on_first_inference(self) -> None:
        """A run is about to do its first counted inference."""
        with self._lock:
            pull, self._run_pull = self._run_pull, False
            reboot, self._run_reboot = self._run_reboot, None
        if pull:
            self._device.unplug()
        if reboot is not None:
            self._device.reboot(reboot)
