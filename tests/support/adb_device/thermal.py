"""The temperatures of the device: runs heat it, idle time cools it, and the status follows."""

import dataclasses
import os
import threading
from typing import Final

from .clock import Clock

# Skin temperatures in degrees Celsius at which Android reports LIGHT, MODERATE, SEVERE, CRITICAL,
# EMERGENCY and SHUTDOWN (1 to 6), from a Pixel's thermal_info_config.json.
SKIN_THRESHOLDS: Final = (39.0, 43.0, 45.0, 46.5, 52.0, 55.0)
SEVERE: Final = 3

_AMBIENT_SKIN: Final = 30.5
_AMBIENT_BATTERY: Final = 27.0
# Warming of the battery as a share of that of the skin.
_BATTERY_SHARE: Final = 0.8


@dataclasses.dataclass(frozen=True)
class Reading:
    """Temperatures in degrees Celsius, and Android's thermal status, 0 to 6."""

    skin: float
    battery: float
    cpu: float
    status: int


class Thermal:
    """The device's temperatures.

    Attributes:
      degrees_per_run: Degrees that the skin gains at the start of a run of a benchmark.
      cooling_per_second: Degrees that the skin loses per second of the device's clock without runs.
      slowdown: Factor by which inferences take longer at SEVERE and above.
      override: Status set by `cmd thermalservice override-status`; None if none is set.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._heat = 0.0
        self._since = clock.now()
        self._running: set[int] = set()
        self.degrees_per_run = 0.1
        self.cooling_per_second = 0.05
        self.slowdown = 2.0
        self.override: int | None = None
        self._cached = self._reading()

    def read(self) -> Reading:
        """Returns the present temperatures."""
        with self._lock:
            self._cool()
            reading = self._reading()
            if reading.status != self._cached.status:
                self._cached = reading
            return reading

    @property
    def cached(self) -> Reading:
        """The temperatures when the status last changed, which is all that the framework knows."""
        self.read()
        return self._cached

    def set_skin(self, degrees: float) -> None:
        """Sets the temperature of the skin."""
        with self._lock:
            self._cool()
            self._heat = degrees - _AMBIENT_SKIN

    def start_run(self, pid: int) -> None:
        """Handles the start of a benchmark in a process."""
        with self._lock:
            self._cool()
            self._running.add(pid)
            self._heat += self.degrees_per_run

    def end_run(self, pid: int) -> None:
        """Handles the end of a benchmark."""
        with self._lock:
            self._cool()
            self._running.discard(pid)

    def _cool(self) -> None:
        now = self._clock.now()
        # Runs that were killed have not reported their end.
        self._running = {pid for pid in self._running if os.path.exists(f"/proc/{pid}")}
        if not self._running:
            self._heat = max(0.0, self._heat - self.cooling_per_second * (now - self._since))
        self._since = now

    def _reading(self) -> Reading:
        skin = _AMBIENT_SKIN + self._heat
        status = sum(skin >= threshold for threshold in SKIN_THRESHOLDS)
        return Reading(
            skin=skin,
            battery=_AMBIENT_BATTERY + _BATTERY_SHARE * self._heat,
            cpu=skin + 8.0,
            status=status if self.override is None else self.override,
        )
