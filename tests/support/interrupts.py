"""Ctrl-C and hang-ups for child processes."""

import signal


def heed_interrupts() -> None:
    """Undoes, before a program starts, that it would ignore Ctrl-C and hang-ups.

    Background jobs of a shell ignore the former, and what `nohup` runs the latter.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def let_programs_heed_interrupts() -> None:
    """Has the same effect on all programs that this process starts, which itself ignores as before.

    A program inherits that a signal is ignored, but not that it has a handler. `heed_interrupts` as
    a `preexec_fn` needs a copy of the whole process for each program, which takes long where
    TensorFlow is loaded.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
