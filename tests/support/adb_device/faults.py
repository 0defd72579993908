"""Faults of the device, which a test sets and an action of the host triggers."""

import dataclasses
import errno
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .device import AdbDevice


class Faults:
    """The device's faults, none at first. Each method sets one, and `clear` removes them all.

    Faults that happen later are triggered by the host: by a number of pushed bytes, or by the first
    counted inference of a run of benchmark_model.
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
        """Removes all faults: full disk, pulled cable, untrusted key, low battery and so on."""
        with self._lock:
            self._reset()
        self._device.mend()

    # Faults that happen at once.

    def offline(self) -> None:
        """Makes the device stop answering, so that the host lists it as offline."""
        self._device.go_offline()

    def unauthorized(self) -> None:
        """Makes the device reject keys, so that the host lists it as unauthorized."""
        self._device.distrust()

    def pull_cable(self) -> None:
        """Drops the connection; the device does not answer until `device.plug_in()`."""
        self._device.unplug()

    def reboot(self, seconds: float = 20.0) -> None:
        """Reboots at once; the device answers again after `seconds` of its own clock."""
        self._device.reboot(seconds)

    def low_battery(self, level: int = 4) -> None:
        """Sets the battery to `level` percent and not charging."""
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
        """Makes runs heat the device, and idle time cool it; see `Thermal` for the numbers."""
        thermal = self._device.thermal
        thermal.degrees_per_run = degrees_per_run
        thermal.cooling_per_second = cooling_per_second
        thermal.slowdown = slowdown

    # Faults that happen later.

    def disk_full(self, after_bytes: int = 0) -> None:
        """Lets the disk accept `after_bytes` more, from pushes or from benchmark_model."""
        with self._lock:
            self._room = after_bytes

    def pull_cable_during_push(self, after_bytes: int = 0) -> None:
        """Pulls the cable after `after_bytes` bytes of files have been pushed."""
        with self._lock:
            self._push_pull = after_bytes

    def reboot_during_push(self, after_bytes: int = 0, seconds: float = 20.0) -> None:
        """Reboots after `after_bytes` bytes of files have been pushed."""
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
        """Kills each run of benchmark_model by a signal after some counted inferences."""
        with self._lock:
            self._kill = {"signal": int(number), "after": after_inferences}

    def garbage_output(
        self, data: bytes = b"\x00\xff\x1b[2J??? Inference (avg): nan\n\xfe"
    ) -> None:
        """Makes each run of benchmark_model print `data` in place of its results."""
        with self._lock:
            self._garbage = data

    # Called by the device.

    @property
    def room(self) -> int | None:
        """Bytes that the disk still accepts; None if it is not limited."""
        return self._room

    def on_write(self, size: int) -> None:
        """Counts bytes that are about to be written.

        Raises:
          OSError: ENOSPC if the disk is full.
        """
        with self._lock:
            if self._room is None:
                return
            if size > self._room:
                self._room = 0
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._room -= size

    def on_push(self, size: int) -> None:
        """Counts pushed bytes of a file, and triggers faults."""
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
        """Returns the faults of a run that starts: how it is killed, or what it prints."""
        with self._lock:
            return {
                "kill": self._kill,
                "garbage": None if self._garbage is None else self._garbage.decode("latin-1"),
            }

    def on_first_inference(self) -> None:
        """Triggers the faults that precede the first counted inference of a run."""
        with self._lock:
            pull, self._run_pull = self._run_pull, False
            reboot, self._run_reboot = self._run_reboot, None
        if pull:
            self._device.unplug()
        if reboot is not None:
            self._device.reboot(reboot)
