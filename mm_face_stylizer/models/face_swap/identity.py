"""Who somebody is: what a face recognition network sees of a person's photos, and the texture."""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_face_stylizer._keras import graph_function, tf
from mm_face_stylizer.models.face_recognition import FACE_SIDE, face_recognition_network

# Side and channels of the feature map, and numbers of the embedding.
FEATURE_SIDE, FEATURE_CHANNELS, DIMENSIONS = 4, 256, 128
# Photos of one person are nearer to each other than this; those of two people hardly ever are.
SAME_PERSON = 0.45
_BATCH = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Identity:
    """People, as the networks of face swapping know them.

    Attributes:
      features: The last feature map of each photo, float32 [photos, 4, 4, 256].
      embedding: The embedding of each photo, float32 [photos, 128].
      textures: The face of each photo on the standard mesh, see `face_texture`, uint8
        [photos, side, side, 3].
    """

    features: np.ndarray
    embedding: np.ndarray
    textures: np.ndarray

    def __getitem__(self, rows: np.ndarray | slice) -> Identity:
        """Chooses photos."""
        return Identity(self.features[rows], self.embedding[rows], self.textures[rows])

    def mean(self) -> Identity:
        """Takes all photos for those of one person; arrays of length 1."""
        means = (
            np.mean(values, axis=0, keepdims=True, dtype=np.float32)
            for values in (self.features, self.embedding, self.textures)
        )
        features, embedding, texture = means
        return Identity(features, embedding, np.round(texture).astype(np.uint8))

    def distances(self) -> np.ndarray:
        """Distance of each photo's embedding to each other's, [photos, photos]."""
        differences = self.embedding[:, np.newaxis] - self.embedding
        return np.linalg.norm(differences, axis=2)


class IdentityNetwork:
    """dlib's face recognition network, differentiable, for pictures of any side."""

    def __init__(self):
        """Reads the weights.

        Raises:
          FaceRecognitionWeightsError: The extra `evaluation` is not installed.
        """
        self._network = face_recognition_network(with_features=True)
        self._compiled = graph_function(self.__call__)

    def __call__(self, pictures: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Describes aligned faces.

        Args:
          pictures: [batch, side, side, 3] in [-1, 1].

        Returns:
          Features [batch, 4, 4, 256] and embeddings [batch, 128].
        """
        if pictures.shape[1] != FACE_SIDE:
            pictures = tf.image.resize(pictures, (FACE_SIDE, FACE_SIDE), antialias=True)
        features, embedding = self._network(pictures)
        return features, embedding

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """Returns the embeddings of aligned faces, float32 [count, 128].

        Args:
          pictures: uint8 [count, side, side, 3].
        """
        return self.of(pictures, pictures[..., :0]).embedding

    def of(self, pictures: np.ndarray, textures: np.ndarray) -> Identity:
        """Describes people.

        Args:
          pictures: Their aligned faces, uint8 [count, side, side, 3].
          textures: Their textures, uint8 [count, side, side, 3].
        """
        parts = []
        for start in range(0, len(pictures), _BATCH):
            batch = pictures[start : start + _BATCH]
            # The last batch is filled up: another size would be traced anew.
            filled = np.resize(batch, (_BATCH, *batch.shape[1:])) if start else batch
            outputs = self._compiled(tf.constant(filled.astype(np.float32) / 127.5 - 1.0))
            parts.append([values.numpy()[: len(batch)] for values in outputs])
        features, embedding = (np.concatenate(values) for values in zip(*parts, strict=True))
        return Identity(features, embedding, textures)
