"""Trains face stylizers on a few images of a style and exports them as `.task` bundles.

The public names are the same as in `mediapipe_model_maker.face_stylizer`. Importing this package
does not import TensorFlow; the first access to `FaceStylizer` does.
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
    """Imports `FaceStylizer`, and with it TensorFlow, on the first access (PEP 562)."""
    if name != "FaceStylizer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = importlib.import_module("mm_face_stylizer.face_stylizer").FaceStylizer
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names, including `FaceStylizer` before its first access."""
    return sorted({*globals(), *__all__})
