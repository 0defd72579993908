"""The device's own clock, which a test may speed up or advance instead of waiting."""

import threading
from time import monotonic


class Clock:
    """Seconds since the device was made.

    Args:
      speed: Device seconds per real second.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._start = monotonic()
        self._ahead = 0.0
        self._changed = threading.Condition()

    def now(self) -> float:
        """Returns the time on the device in seconds."""
        return (monotonic() - self._start) * self._speed + self._ahead

    def advance(self, seconds: float) -> None:
        """Advances the clock, and wakes the threads that wait for it."""
        with self._changed:
            self._ahead += seconds
            self._changed.notify_all()

    def wait_until(self, moment: float, stop: threading.Event) -> bool:
        """Waits until `moment` on the device's clock; returns False if `stop` was set before."""
        with self._changed:
            while (rest := moment - self.now()) > 0:
                if stop.is_set():
                    return False
                self._changed.wait(min(rest / self._speed, 0.05))
        return not stop.is_set()
