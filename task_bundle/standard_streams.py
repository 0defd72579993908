"""Standard input, output and error of a program, which its parent may have closed."""

import contextlib
import os
import select
import sys


def open_missing() -> None:
    """Opens those of the standard streams that are closed, on the null device.

    Services and schedulers start programs without them. Python then has None in their place, and
    the next file that is opened gets their descriptor: what native libraries log would be written
    into a picture.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def output_error(error: Exception) -> OSError | None:
    """Returns why standard output cannot be written; None if it can.

    After a failure, what is still written to standard output is discarded, so that Python does not
    try again when it ends.

    Args:
      error: What the program has failed with, perhaps because of this.
    """
    try:
        sys.stdout.flush()
    except OSError as failure:
        _discard_output()
        return failure
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        # Of a stream without a buffer, nothing is left that could fail again.
        _discard_output()
        return error
    return None


def _nobody_reads() -> bool:
    if not hasattr(select, "poll"):  # On Windows.
        return False
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _discard_output() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    # A stream of another class has no descriptor.
    with contextlib.suppress(OSError):
        os.dup2(null, sys.stdout.fileno())
    os.close(null)
