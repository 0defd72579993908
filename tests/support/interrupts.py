"""Ctrl-C and hang-ups for child processes."""

import signal


def heed_interrupts() -> None:
    """Undoes, before a program starts, that it would ignore Ctrl-C and hang-ups.

    Background jobs of a shell ignore the former, and what `nohup` runs the latter.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
