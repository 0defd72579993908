"""Imports MediaPipe without TensorFlow."""

import importlib
import sys
import threading
from types import ModuleType

from task_bundle.errors import MissingDependencyError

_lock = threading.Lock()


def import_mediapipe(name: str = "mediapipe") -> ModuleType:
    """Imports mediapipe or one of its modules without letting it import TensorFlow.

    If TensorFlow is installed, MediaPipe 0.10 imports it for two optional helpers (a documentation
    decorator and a file opener), which costs seconds and hundreds of megabytes. Without it,
    MediaPipe uses its own fallbacks. This function makes it use the fallbacks unless TensorFlow is
    loaded already. During the call, `import tensorflow` fails in other threads, so programs that
    use both should import TensorFlow before or after.

    Args:
      name: the dotted module name.

    Returns:
      The module.

    Raises:
      MissingDependencyError: mediapipe is not installed, cannot be loaded, or has no such module.
    """
    if name in sys.modules:
        return importlib.import_module(name)  # Waits if another thread is still importing it.
    with _lock:
        hidden = "tensorflow" not in sys.modules
        if hidden:
            # None in sys.modules makes `import tensorflow` raise ImportError.
            sys.modules["tensorflow"] = None  # type: ignore[assignment]
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise MissingDependencyError(f"cannot import {name}: {error}") from error
        finally:
            if hidden:
                sys.modules.pop("tensorflow", None)
