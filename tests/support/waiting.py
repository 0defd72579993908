"""Waiting for what another thread or process is about to do."""

import time
from collections.abc import Callable

_PATIENCE = 60.0


def wait_for(condition: Callable[[], object]) -> None:
    """Returns as soon as the condition holds.

    Raises:
      AssertionError: it does not come to hold.
    """
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
