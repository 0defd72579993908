"""A translator with its weights: what a preset of this family holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.translator.blocks import EPSILON
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.network import Translator
from mm_face_stylizer.models.weights import assign_weights, weights_of_parts, without_initializers
from mm_face_stylizer.practice_faces import calibration_pictures

_PART = "translator"
_SMALLEST = 1e-12


class InferenceTranslator(keras.Model):
    """Maps a photo in [0, 1] to the translated picture in [0, 1].

    The class-activation attention is one convolution here.

    Attributes:
      side: Side of the pictures in pixels.
    """

    def __init__(self, network: Translator):
        """Shares the network, except for its attention, which is folded now.

        Args:
          network: A trained generator.
        """
        super().__init__(name="inference_translator")
        self.side = network.config.image_size
        self._network = network
        folded = network.folded_attention()
        self._attention = None if folded is None else tuple(tf.constant(x) for x in folded)

    def call(self, picture: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Translates one photo.

        Args:
          picture: [batch, side, side, 3] in [0, 1].
          training: Accepted for the Keras contract; the network has no mode.

        Returns:
          [batch, side, side, 3] in [0, 1].
        """
        del training
        x = picture * 2.0 - 1.0
        if self._attention is None:
            translated = self._network(x)
        else:
            translated = self._network.folded(x, self._attention)
        return translated * 0.5 + 0.5


@dataclasses.dataclass(frozen=True)
class TranslatorNetworks:
    """The generator of a translator, from photos to the style.

    Attributes:
      config: The configuration.
      network: The generator, from pictures in [-1, 1] to pictures in [-1, 1].
    """

    config: TranslatorConfig
    network: Translator

    @classmethod
    def build(cls, config: TranslatorConfig, conv_dtype: str = "float32") -> TranslatorNetworks:
        """Builds an untrained generator; `conv_dtype` is as for `Translator`."""
        return cls(config, Translator(config, conv_dtype, name=_PART))

    @classmethod
    def from_weights(
        cls, config: TranslatorConfig, weights: Mapping[str, np.ndarray]
    ) -> TranslatorNetworks:
        """Builds a generator and fills it.

        Args:
          config: The configuration.
          weights: As `weights` returns them, of any float precision.

        Raises:
          ValueError: A weight is missing, left over, or of the wrong shape.
        """
        with without_initializers():
            networks = cls.build(config)
        assign_weights({_PART: networks.network}, weights, others=())
        return networks

    def weights(self) -> dict[str, np.ndarray]:
        """Returns all weights by `translator/layer/weight`, float32."""
        return weights_of_parts({_PART: self.network})

    def balanced(self, photos: np.ndarray) -> TranslatorNetworks:
        """Returns a translator that computes the same, and loses less when it is quantized.

        Instance normalization removes the scale of each channel before it, so that any will do.
        With equal spreads int8 has enough levels for the variances of all channels.

        Args:
          photos: What channels are observed on, float32 [count, side, side, 3] in [0, 1].
        """
        copy = TranslatorNetworks.from_weights(self.config, self.weights())
        variances: dict[str, list[np.ndarray]] = {}
        for unit in copy.network.units():
            seen = variances.setdefault(unit.name, [])
            unit.observer = lambda x, seen=seen: seen.append(
                tf.math.reduce_variance(x, axis=(1, 2)).numpy()
            )
        for photo in photos:
            copy.network(photo[np.newaxis] * 2.0 - 1.0)
        for unit in copy.network.units():
            unit.observer = None
            variance = np.maximum(np.concatenate(variances[unit.name]).mean(axis=0), _SMALLEST)
            unit.convolution.kernel.assign(unit.convolution.kernel / np.sqrt(variance))
            # What the normalization adds to small variances takes a share of them.
            share = np.sqrt(variance / (variance + EPSILON))
            unit.normalization.gain.assign(unit.normalization.gain * share)
        return copy

    def inference(self) -> InferenceTranslator:
        """Returns the model for inference."""
        return InferenceTranslator(self.network)

    def calibration_pictures(self) -> np.ndarray:
        """Returns the package's practice faces, float32 [32, side, side, 3] in [0, 1]."""
        return calibration_pictures(self.config.image_size)
