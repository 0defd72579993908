"""Imports MediaPipe without TensorFlow and without Matplotlib."""

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from task_bundle.errors import MissingDependencyError

_lock = threading.Lock()


def import_mediapipe(name: str = "mediapipe") -> ModuleType:
    """Imports mediapipe or one of its modules without TensorFlow and Matplotlib.

    If TensorFlow is installed, MediaPipe 0.10 imports it for two optional helpers (a documentation
    decorator and a file opener), which costs seconds and hundreds of megabytes. Without it,
    MediaPipe uses its own fallbacks. This function makes it use the fallbacks unless TensorFlow is
    loaded already.

    MediaPipe imports Matplotlib for one function that plots landmarks. That costs half a second,
    and fails or warns where no folder can be written, as in containers. This function makes
    MediaPipe import it when it plots.

    During the call, `import tensorflow` and `import matplotlib` fail in other threads, so programs
    that use them should import them before or after.

    Args:
      name: the dotted module name.

    Returns:
      The module.

    Raises:
      MissingDependencyError: mediapipe is not installed, cannot be loaded, or has no such module.
    """
    if name in sys.modules:
        return importlib.import_module(name)  # Waits if another thread is still importing it.
    with _lock, _without_tensorflow(), _deferred_matplotlib():
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise MissingDependencyError(f"cannot import {name}: {error}") from error


@contextlib.contextmanager
def _without_tensorflow() -> Iterator[None]:
    if "tensorflow" in sys.modules:
        yield
        return
    # None in sys.modules makes `import tensorflow` raise ImportError.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop("tensorflow", None)


class _DeferredModule(ModuleType):
    """Stands for a module that is imported when one of its names is used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            raise AttributeError(f"{self.__name__} cannot be used while mediapipe is imported")
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def _deferred_matplotlib() -> Iterator[None]:
    if "matplotlib" in sys.modules:
        yield
        return
    package = _DeferredModule("matplotlib")
    pyplot = _DeferredModule("matplotlib.pyplot")
    vars(package)["pyplot"] = pyplot
    modules = {module.__name__: module for module in (package, pyplot)}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
