"""The networks of face swapping: those of a preset, and those of one person, which are exported."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.face_swap.config import FaceSwapConfig
from mm_face_stylizer.models.face_swap.generator import PersonWeights, SwapGenerator
from mm_face_stylizer.models.face_swap.identity import (
    DIMENSIONS,
    FEATURE_CHANNELS,
    FEATURE_SIDE,
    Identity,
)
from mm_face_stylizer.models.face_swap.injection import InjectionNetwork
from mm_face_stylizer.models.weights import assign_weights, weights_of_parts, without_initializers
from mm_face_stylizer.practice_faces import calibration_pictures

_GENERATOR, _INJECTION = "generator", "injection"
_MEANS = ("mean/features", "mean/embedding", "mean/texture")


class PersonStylizer(keras.Model):
    """Gives photos the face of one person; the person's weights are its own.

    Attributes:
      side: Side of the pictures in pixels.
      generator: The generator.
      kernels: The person's kernels, as variables.
      maps: The person's maps, as variables.
    """

    def __init__(self, generator: SwapGenerator, person: PersonWeights):
        """Shares the generator's layers, and copies the person's weights.

        Args:
          generator: The generator.
          person: Weights of one person.
        """
        super().__init__(name="person_stylizer")
        self.side = generator.config.image_size
        self.generator = generator
        self.kernels = [
            tuple(
                tf.Variable(value, name=f"layer{index}/{name}", dtype=tf.float32)
                for name, value in zip(("depthwise", "pointwise"), pair, strict=True)
            )
            for index, pair in enumerate(person.kernels)
        ]
        self.maps = [
            tf.Variable(value, name=f"map{index}", dtype=tf.float32)
            for index, value in enumerate(person.maps)
        ]

    @property
    def person(self) -> PersonWeights:
        """The person's weights."""
        return PersonWeights(self.kernels, self.maps)

    def call(self, photo: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Swaps the faces of photos.

        Args:
          photo: [batch, side, side, 3] in [0, 1].
          training: Accepted for the Keras contract; the network is in inference mode.

        Returns:
          The photos with the person's face, of the same form.
        """
        del training
        picture = self.generator((photo * 2.0 - 1.0, self.person), training=False).picture
        return tf.clip_by_value((picture + 1.0) / 2.0, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class PersonNetworks:
    """The networks of one person, which `export_stylizer` takes.

    Attributes:
      config: The configuration.
      stylizer: The generator with the person's kernels.
    """

    config: FaceSwapConfig
    stylizer: PersonStylizer

    def inference(self) -> PersonStylizer:
        """Returns the model for inference."""
        return self.stylizer

    def calibration_pictures(self) -> np.ndarray:
        """Returns the package's practice faces, float32 [count, side, side, 3] in [0, 1]."""
        return calibration_pictures(self.config.image_size)


@dataclasses.dataclass(frozen=True)
class FaceSwapNetworks:
    """The networks that swap faces for anybody.

    Attributes:
      config: The configuration.
      generator: What swaps faces.
      injection: What makes its kernels for a person.
      mean: The mean person of the training, whose face is exported if no other is given.
    """

    config: FaceSwapConfig
    generator: SwapGenerator
    injection: InjectionNetwork
    mean: Identity

    @classmethod
    def build(cls, config: FaceSwapConfig, conv_dtype: str = "float32") -> FaceSwapNetworks:
        """Builds untrained networks; `conv_dtype` is as for `SwapGenerator`."""
        return cls(
            config,
            SwapGenerator(config, conv_dtype, name=_GENERATOR),
            InjectionNetwork(config, name=_INJECTION),
            Identity(
                np.ones((1, FEATURE_SIDE, FEATURE_SIDE, FEATURE_CHANNELS), np.float32),
                np.ones((1, DIMENSIONS), np.float32),
                np.full((1, config.image_size, config.image_size, 3), 127, np.uint8),
            ),
        )

    @classmethod
    def from_weights(
        cls, config: FaceSwapConfig, weights: Mapping[str, np.ndarray]
    ) -> FaceSwapNetworks:
        """Builds networks and fills them.

        Args:
          config: The configuration.
          weights: As `weights` returns them, of any float precision.

        Raises:
          ValueError: A weight is missing, left over, or of the wrong shape.
        """
        with without_initializers():
            networks = cls.build(config)
        parts = {_GENERATOR: networks.generator, _INJECTION: networks.injection}
        assign_weights(parts, dict(weights), others=_MEANS)
        features, embedding, texture = (np.asarray(weights[name], np.float32) for name in _MEANS)
        mean = Identity(features, embedding, np.round(texture).astype(np.uint8))
        return dataclasses.replace(networks, mean=mean)

    def weights(self) -> dict[str, np.ndarray]:
        """Returns all weights by `part/layer/weight`, float32."""
        means = dataclasses.astuple(self.mean)
        means = {name: x.astype(np.float32) for name, x in zip(_MEANS, means, strict=True)}
        parts = {_GENERATOR: self.generator, _INJECTION: self.injection}
        return means | weights_of_parts(parts)

    def of_person(self, identity: Identity) -> PersonNetworks:
        """Makes the networks of one person, in no time: nothing is trained.

        Args:
          identity: One person; what is known of several photos is averaged.
        """
        person = self.injection(dataclasses.astuple(identity.mean()))
        return PersonNetworks(self.config, PersonStylizer(self.generator, person))

    def inference(self) -> PersonStylizer:
        """Returns the model of the mean person."""
        return self.of_person(self.mean).inference()

    def calibration_pictures(self) -> np.ndarray:
        """Returns photos for int8, float32 [count, side, side, 3] in [0, 1]."""
        return self.of_person(self.mean).calibration_pictures()
