"""Models that the tests of bundles share."""

from collections.abc import Callable

import conv_model
import pytest
from native import HAS_WHEEL_MODELS

from task_bundle.errors import FaceModelsError
from task_bundle.face_models import FaceModels, find_face_models

MakeModel = Callable[..., bytes]


@pytest.fixture
def any_face_models(make_stylizer: MakeModel) -> FaceModels:
    """Face models for tests that only pack them: real ones, or where there are none any model."""
    try:
        return find_face_models()
    except FaceModelsError:
        return FaceModels(make_stylizer(32), make_stylizer(16), "stand-ins")


@pytest.fixture
def wheel_models() -> FaceModels:
    """The models of mediapipe 0.10's wheel, adapted; the tests' cache is empty."""
    if not HAS_WHEEL_MODELS:
        pytest.skip("this mediapipe's wheel has no face models; 0.10.21's has")
    return find_face_models()


@pytest.fixture(scope="session")
def make_stylizer() -> MakeModel:
    """Returns a function that makes a 1x1 convolution; its arguments are defects to be found."""
    return conv_model.make_stylizer
