"""Keeps processes that were forked after MediaPipe was used from hanging or crashing in it.

A forked process has the objects of its parent but not their threads. Whatever it then does with
MediaPipe waits for these threads or crashes: using, closing and deleting a task, and also creating
a new one. Tasks are therefore created with `create_task`, and calls begin with `check_process`.
"""

import ctypes
import os
import weakref
from collections.abc import Callable
from typing import Any

from task_bundle.errors import ForkedProcessError

# The process in which MediaPipe's first task was created.
_process: int | None = None
_tasks: "weakref.WeakSet[Any]" = weakref.WeakSet()


def create_task(create: Callable[[], Any]) -> Any:
    """Creates a task of MediaPipe.

    Args:
      create: returns the task.

    Returns:
      The task.

    Raises:
      ForkedProcessError: see `check_process`.
    """
    global _process
    check_process()
    _process = os.getpid()
    task = create()
    _tasks.add(task)
    return task


def is_forked() -> bool:
    """Returns whether this process was forked after a task of MediaPipe was created."""
    return _process is not None and _process != os.getpid()


def check_process() -> None:
    """Checks that MediaPipe's tasks can be used in this process.

    Raises:
      ForkedProcessError: this process was forked after a task of MediaPipe was created.
    """
    if is_forked():
        raise ForkedProcessError(
            "this process was forked after MediaPipe was used, and MediaPipe's threads do not exist"
            " here: create the first stylizer after the fork (gunicorn: in each worker, without"
            " preload), or start processes by 'spawn' (multiprocessing, DataLoader)"
        )


def _keep_tasks() -> None:
    """Keeps the parent's tasks forever, because deleting one crashes the forked process."""
    for task in list(_tasks):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))


if hasattr(os, "register_at_fork"):  # Not on Windows, which has no fork.
    os.register_at_fork(after_in_child=_keep_tasks)
