"""What the installed mediapipe has; 0.10.21 is the last with FaceStylizer and face models."""

import pytest

from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.tflite import schema

HAS_NATIVE = hasattr(import_mediapipe("mediapipe.tasks.python.vision"), "FaceStylizer")
_FOLDER = schema.mediapipe_folder()
HAS_WHEEL_MODELS = _FOLDER is not None and (_FOLDER / "modules" / "face_landmark").is_dir()
native = pytest.mark.skipif(not HAS_NATIVE, reason="this mediapipe has no FaceStylizer")
