import dataclasses
import subprocess
import sys
import types

import pytest

import mm_face_stylizer
from mm_face_stylizer import FaceStylizerOptions, HParams, ModelOptions, SupportedModels

MODEL = SupportedModels.BLAZE_FACE_STYLIZER_256


def test_fields_are_model_makers():
    names = [field.name for field in dataclasses.fields(FaceStylizerOptions)]
    assert names == ["model", "model_options", "hparams"]
    options = FaceStylizerOptions(MODEL)
    assert options.model_options is None
    assert options.hparams is None


def test_objects_are_kept_as_they_are():
    model_options, hparams = ModelOptions(), HParams()
    options = FaceStylizerOptions(model=MODEL, model_options=model_options, hparams=hparams)
    assert options.model_options is model_options
    assert options.hparams is hparams
    theirs = types.SimpleNamespace(epochs=3)
    assert FaceStylizerOptions(MODEL, hparams=theirs).hparams is theirs


@pytest.mark.parametrize("model", [None, "blaze_face_stylizer_256", HParams()])
def test_an_unsupported_model_is_refused(model):
    with pytest.raises(TypeError, match="unsupported face stylizer"):
        FaceStylizerOptions(model)


def test_the_package_has_model_makers_names():
    assert set(mm_face_stylizer.__all__) == {
        "Dataset",
        "FaceStylizer",
        "FaceStylizerOptions",
        "HParams",
        "ModelOptions",
        "SupportedModels",
    }
    assert set(mm_face_stylizer.__all__) <= set(dir(mm_face_stylizer))
    assert mm_face_stylizer.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="has no attribute 'FaceStyliser'"):
        _ = mm_face_stylizer.FaceStyliser


def test_face_stylizer_is_loaded_when_it_is_asked_for():
    code = (
        "import sys, types, mm_face_stylizer;"
        "assert 'tensorflow' not in sys.modules and 'mediapipe' not in sys.modules;"
        "name = 'mm_face_stylizer.face_stylizer';"
        "assert name not in sys.modules;"
        "fake = sys.modules[name] = types.ModuleType(name);"
        "fake.FaceStylizer = object();"
        "assert mm_face_stylizer.FaceStylizer is fake.FaceStylizer;"
        "from mm_face_stylizer import FaceStylizer;"
        "assert FaceStylizer is fake.FaceStylizer"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
