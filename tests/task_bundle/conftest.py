"""Models that the tests of bundles share."""

import pytest
from native import HAS_WHEEL_MODELS

from task_bundle.faces.face_models import FaceModels, find_face_models


@pytest.fixture
def wheel_models() -> FaceModels:
    """The models of mediapipe 0.10's wheel, adapted; the tests' cache is empty."""
    if not HAS_WHEEL_MODELS:
        pytest.skip("this mediapipe's wheel has no face models; 0.10.21's has")
    return find_face_models()
