"""Whether the installed mediapipe has Google's FaceStylizer; 0.10.21 is the last that does."""

import pytest

from task_bundle.mediapipe_import import import_mediapipe

HAS_NATIVE = hasattr(import_mediapipe("mediapipe.tasks.python.vision"), "FaceStylizer")
native = pytest.mark.skipif(not HAS_NATIVE, reason="this mediapipe has no FaceStylizer")
