"""Ends programs that a system shuts down as Ctrl-C does, so that they clean up."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The program was asked to end by a signal.

    Attributes:
      number: the number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def raise_on_termination() -> Iterator[None]:
    """Raises `Terminated` in the main thread when the process gets SIGTERM or SIGHUP.

    These come from `docker stop`, systemd, job schedulers, and terminals that are closed; by
    default they end the process at once and leave its temporary files behind. Signals that are
    ignored, as by nohup, or handled already, stay so. A second signal ends the process at once.
    """
    before = {}

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated(number)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
