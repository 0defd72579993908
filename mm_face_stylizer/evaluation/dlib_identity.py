"""Face identity by dlib's face recognition network."""

from __future__ import annotations

from typing import Any

import numpy as np

from mm_face_stylizer._keras import graph_function
from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures, at_side
from mm_face_stylizer.models.face_recognition import FACE_SIDE, face_recognition_network
from mm_face_stylizer.pixels import from_pixels

_BATCH = 8


class DlibIdentitySpace:
    """The embedding of a network trained on millions of photos, beside `IdentitySpace`.

    It answers whether a face recognizer, and mostly also a friend, still takes the output for the
    same person. In strongly abstract drawings it finds fewer people than `IdentitySpace`, which
    looks for what is left of the photo's edges.
    """

    def __init__(self) -> None:
        """Builds the network.

        Raises:
          FaceRecognitionWeightsError: The weights of the network are not installed.
        """
        self._network: Any = graph_function(face_recognition_network(), reduce_retracing=True)

    def embed(self, portraits: Pictures) -> Numbers:
        """Embeds aligned faces.

        Args:
          portraits: uint8 [count, side, side, 3] RGB, aligned as the runtime crops faces. Pictures
            of another side than 256 px are resized to 256 px.

        Returns:
          float64 [count, 128]. Two photos of the same person have a Euclidean distance below about
          0.45.
        """
        embedded = [
            self._network(from_pixels(at_side(portraits[start : start + _BATCH], FACE_SIDE)))
            for start in range(0, len(portraits), _BATCH)
        ]
        return np.asarray(np.concatenate(embedded), np.float64)
