"""Processes that share work, and end with the process that started them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def worker_pool(
    workers: int, prepare: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Starts worker processes, and ends them at once when the block is left by an error.

    An executor alone would first finish what was submitted, so that a command that is told to end
    went on for minutes. What the workers write must survive that they are ended at any time.

    Args:
      workers: Number of processes. They are spawned, not forked, because MediaPipe and LiteRT use
        threads.
      prepare: Called once in each process.
      arguments: Its arguments.

    Returns:
      A context manager of the executor.
    """
    before = set(multiprocessing.active_children())
    with concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), prepare, arguments
    ) as pool:
        try:
            yield pool
        except BaseException:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            # The executor's own thread waits for the processes. Waiting for them here, too, would
            # be a race: the system reports the end of a process to one of the two alone.
            pool.shutdown(cancel_futures=True)
            raise
