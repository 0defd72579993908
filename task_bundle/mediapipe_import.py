"""Importing MediaPipe without TensorFlow."""

import importlib
import sys
import threading
from types import ModuleType

from task_bundle.errors import MissingDependencyError

_lock = threading.Lock()


def import_mediapipe(name: str = "mediapipe") -> ModuleType:
    """Imports mediapipe or one of its modules, keeping it from importing TensorFlow on the way.

    MediaPipe 0.10 takes two optional helpers (a documentation decorator, a file opener) from
    TensorFlow where that is installed, which costs seconds and hundreds of megabytes, and falls
    back where it is not. Here it always falls back, unless TensorFlow is loaded already. While it
    loads, another thread's first `import tensorflow` would fail: import TensorFlow before, or
    after.

    Args:
      name: the dotted module name.

    Returns:
      The module.

    Raises:
      MissingDependencyError: mediapipe is not installed, cannot be loaded, or has no such module.
    """
    if name in sys.modules:
        return importlib.import_module(name)  # Waits if another thread is still at it.
    with _lock:
        hidden = "tensorflow" not in sys.modules
        if hidden:
            # None in sys.modules makes `import tensorflow` an ImportError.
            sys.modules["tensorflow"] = None  # type: ignore[assignment]
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise MissingDependencyError(f"cannot import {name}: {error}") from error
        finally:
            if hidden:
                sys.modules.pop("tensorflow", None)
