"""The tests in MediaPipe's wheel, on our bundles and on a portrait that is ours to use."""

import unittest

import numpy as np
import pytest
from PIL import Image

from mm_face_stylizer._keras import keras
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models.blaze_stylegan.config import NetworksConfig
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from task_bundle import TaskBundle
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.tflite.schema import mediapipe_folder

_TESTS = "mediapipe.tasks.python.test"


def _in_wheel(name):
    folder = mediapipe_folder()
    return folder is not None and (folder / f"tasks/python/test/vision/{name}.py").is_file()


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (_in_wheel("face_stylizer_test") and _in_wheel("face_aligner_test")),
        reason="this mediapipe has no tests of FaceStylizer and FaceAligner in its wheel",
    ),
]


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory, grace_hopper, face_models):
    """What the tests ask for by name: a portrait, a landmarker and a stylizer, the last untrained.

    The tests' regions of interest decide where in the picture the face must be and where not.
    """
    folder = tmp_path_factory.mktemp("testdata")
    portrait = Image.new("RGB", (820, 1024), "gray")
    portrait.paste(Image.fromarray(np.asarray(grace_hopper)).resize((384, 450)), (214, 0))
    portrait.save(folder / "portrait.jpg", quality=95)
    (folder / "face_landmarker_v2.task").write_bytes(face_models.landmarker_task())
    keras.utils.set_random_seed(0)
    networks = Networks.build(NetworksConfig(image_size=256, width=0.125))
    bundle = TaskBundle.build(export_stylizer(networks), face_models)
    bundle.save(folder / "face_stylizer_color_ink.task")
    return folder


@pytest.mark.parametrize(
    ("module", "case"),
    [("face_stylizer_test", "FaceStylizerTest"), ("face_aligner_test", "FaceAlignerTest")],
)
def test_the_wheels_own_tests_pass(stand_ins, monkeypatch, module, case):
    def find(path):
        return str(stand_ins / path.rpartition("/")[2])

    monkeypatch.setattr(import_mediapipe(f"{_TESTS}.test_utils"), "get_test_data_path", find)
    tests = getattr(import_mediapipe(f"{_TESTS}.vision.{module}"), case)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(tests).run(result)
    assert not result.failures + result.errors, (result.failures + result.errors)[0][1]
    assert result.testsRun == 10 and not result.skipped
