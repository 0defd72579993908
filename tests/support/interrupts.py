"""Ctrl-C for child processes."""

import signal


def heed_interrupts() -> None:
    """Undoes, before a program starts, that background jobs of a shell ignore interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
