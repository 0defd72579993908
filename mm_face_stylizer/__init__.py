"""Trains face stylizers from a few pictures of a style and exports them as `.task` bundles.

The names are those of `mediapipe_model_maker.face_stylizer`. Importing the package does not import
TensorFlow; `FaceStylizer`, which needs it, is loaded when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mm_face_stylizer.dataset import Dataset
from mm_face_stylizer.face_stylizer_options import FaceStylizerOptions
from mm_face_stylizer.hyperparameters import HParams
from mm_face_stylizer.model_options import FaceStylizerModelOptions as ModelOptions
from mm_face_stylizer.model_spec import SupportedModels

if TYPE_CHECKING:
    from mm_face_stylizer.face_stylizer import FaceStylizer

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "FaceStylizer",
    "FaceStylizerOptions",
    "HParams",
    "ModelOptions",
    "SupportedModels",
]


def __getattr__(name: str) -> Any:
    """Loads `FaceStylizer`, and with it TensorFlow, when it is first used (PEP 562)."""
    if name != "FaceStylizer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = importlib.import_module("mm_face_stylizer.face_stylizer").FaceStylizer
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names, loaded or not."""
    return sorted({*globals(), *__all__})
