"""An upscaler with its weights: what a preset of this family holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.srresnet.config import UpscalerConfig
from mm_face_stylizer.models.srresnet.network import ResidualUpscaler
from mm_face_stylizer.models.weights import (
    assign_weights,
    named_weights,
    weights_of_parts,
    without_initializers,
)
from mm_face_stylizer.practice_faces import calibration_pictures

_PART = "upscaler"


class InferenceUpscaler(keras.Model):
    """Maps a picture in [0, 1] to the large picture in [0, 1].

    Attributes:
      side: Side of the small picture in pixels.
    """

    def __init__(self, network: ResidualUpscaler, side: int):
        """Shares the network; nothing is copied."""
        super().__init__(name="inference_upscaler")
        self.side = side
        self._network = network

    def call(self, picture: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Enlarges one picture.

        Args:
          picture: [batch, side, side, 3] in [0, 1].
          training: Accepted for the Keras contract; the network is in inference mode.

        Returns:
          [batch, scale * side, scale * side, 3] in [0, 1].
        """
        del training
        return self._network.clipped(picture)


@dataclasses.dataclass(frozen=True)
class UpscalerNetworks:
    """The network of an upscaler.

    Attributes:
      config: The configuration.
      network: The network, from pictures in [-1, 1] to pictures in about [-1, 1].
    """

    config: UpscalerConfig
    network: ResidualUpscaler

    @classmethod
    def build(cls, config: UpscalerConfig, conv_dtype: str = "float32") -> UpscalerNetworks:
        """Builds an untrained network; `conv_dtype` is as for `ResidualUpscaler`."""
        return cls(config, ResidualUpscaler(config, conv_dtype, name=_PART))

    @classmethod
    def from_weights(
        cls, config: UpscalerConfig, weights: Mapping[str, np.ndarray]
    ) -> UpscalerNetworks:
        """Builds a network and fills it.

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
        """Returns all weights by `upscaler/layer/weight`, float32."""
        return weights_of_parts({_PART: self.network})

    def take_over(self, weights: Mapping[str, np.ndarray]) -> int:
        """Assigns those of another upscaler's weights that fit; the others stay as they are.

        An upscaler to four times the side may so start from one to twice the side.

        Args:
          weights: As `weights` returns them.

        Returns:
          The number of weights that fit.
        """
        count = 0
        for name, variable in named_weights(self.network).items():
            value = weights.get(f"{_PART}/{name}")
            if value is not None and value.shape == tuple(variable.shape):
                variable.assign(value.astype(np.float32))
                count += 1
        return count

    def inference(self, side: int | None = None) -> InferenceUpscaler:
        """Returns the model for inference.

        Args:
          side: Side of the small picture in pixels; `config.image_size` if None.

        Raises:
          InvalidArgumentError: The side is not divisible by the network's stride.
        """
        side = side or self.config.image_size
        if side % self.config.stride:
            raise InvalidArgumentError(
                f"the picture's side is {side} px; this upscaler needs a multiple of "
                f"{self.config.stride}"
            )
        return InferenceUpscaler(self.network, side)

    def calibration_pictures(self) -> np.ndarray:
        """Returns the package's practice faces, float32 [32, side, side, 3] in [0, 1]."""
        return calibration_pictures(self.config.image_size)
