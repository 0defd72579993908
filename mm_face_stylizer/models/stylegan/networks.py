"""All networks of the teacher together: what its training writes and distillation reads."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.mapping import LATENT_DIM
from mm_face_stylizer.models.stylegan.discriminator import StyleGanDiscriminator
from mm_face_stylizer.models.stylegan.generator import (
    StyleGanMapping,
    StyleGanSynthesis,
    teacher_rows,
)
from mm_face_stylizer.models.weights import (
    W_AVG,
    assign_weights,
    joined_weights,
    without_initializers,
)
from mm_face_stylizer.pixels import to_pixels
from mm_face_stylizer.preset import Preset

_BATCH = 16


@dataclasses.dataclass(frozen=True)
class TeacherConfig:
    """What determines the teacher's graphs.

    Attributes:
      image_size: Side of the pictures in pixels.
      width: Factor on the channels; 1.0 is the published network. The mapping network and the
        latents always have 512.
    """

    image_size: int = 256
    width: float = 1.0


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Mapping network, synthesis network, discriminator and mean latent.

    Attributes:
      config: What the networks were built from.
      mapping: Noise to w.
      synthesis: Latents to pictures.
      discriminator: Pictures to logits.
      w_avg: Mean of w, float32 [512]; a variable while it is trained.
    """

    config: TeacherConfig
    mapping: StyleGanMapping
    synthesis: StyleGanSynthesis
    discriminator: StyleGanDiscriminator
    w_avg: np.ndarray | tf.Variable

    @classmethod
    def build(cls, config: TeacherConfig, conv_dtype: str = "float32") -> Teacher:
        """Builds an untrained teacher; the global seed decides its weights.

        Args:
          config: What to build.
          conv_dtype: Precision of the 3x3 convolutions, `float32` or `bfloat16`.
        """
        mapping = StyleGanMapping(teacher_rows(config.image_size))
        synthesis = StyleGanSynthesis(config.image_size, config.width, conv_dtype)
        discriminator = StyleGanDiscriminator(config.image_size, config.width, conv_dtype)
        for network in (mapping, synthesis, discriminator):
            network.build()
        return cls(config, mapping, synthesis, discriminator, np.zeros(LATENT_DIM, np.float32))

    @classmethod
    def load(cls, folder: str | pathlib.Path) -> Teacher:
        """Opens a teacher that `mm-face-stylizer pretrain-teacher` wrote.

        Args:
          folder: Folder with `card.json` and `weights.npz`.

        Raises:
          PresetError: The folder does not hold a teacher, or the card is not that of its weights.
        """
        return Preset.find(folder).filled(TeacherConfig, cls)

    @classmethod
    def from_weights(cls, config: TeacherConfig, weights: Mapping[str, np.ndarray]) -> Teacher:
        """Builds a teacher and fills it.

        Raises:
          ValueError: A weight is missing, left over, or of the wrong shape.
        """
        with without_initializers():
            teacher = cls.build(config)
        assign_weights(teacher._parts(), weights)
        return dataclasses.replace(teacher, w_avg=weights[W_AVG].astype(np.float32))

    def with_image_size(self, image_size: int, conv_dtype: str = "float32") -> Teacher:
        """Returns copies of the networks that draw the same pictures upsampled to this side.

        New heads contribute nothing at first, and the discriminator's new blocks pass on their
        input, so that it still recognizes faces: an untrained one would give the generator poor
        gradients for long.

        Args:
          image_size: Side of the pictures in pixels, at least the present one.
          conv_dtype: See `build`.

        Raises:
          ValueError: `image_size` is smaller than the present one.
        """
        if image_size < self.config.image_size:
            raise InvalidArgumentError(
                f"A teacher of {self.config.image_size} px cannot go on at {image_size} px; it can "
                f"at {self.config.image_size} px and more."
            )
        grown = Teacher.build(dataclasses.replace(self.config, image_size=image_size), conv_dtype)
        known, weights = self.weights(), grown.weights()
        for name, value in weights.items():
            same = name in known and known[name].shape == value.shape
            weights[name] = known[name] if same else _pass_through_weight(name, value, known)
        assign_weights(grown._parts(), weights)
        return dataclasses.replace(grown, w_avg=np.array(self.w_avg, np.float32))

    def weights(self) -> dict[str, np.ndarray]:
        """Returns all weights by network and layer, float32, including `w_avg`."""
        return joined_weights(self._parts(), self.w_avg)

    def _parts(self) -> dict[str, keras.Model]:
        return {
            "mapping": self.mapping,
            "synthesis": self.synthesis,
            "discriminator": self.discriminator,
        }

    def latents(self, noise: tf.Tensor, truncation: float = 1.0) -> tf.Tensor:
        """Maps noise to w+ latents.

        Args:
          noise: [batch, 512], standard normal.
          truncation: Factor on the distance from the mean, from 0 to 1. Smaller ones give fewer
            malformed, but less diverse faces (Karras et al., 2019, appendix B).

        Returns:
          [batch, rows, 512].
        """
        w = self.mapping([noise, tf.zeros((tf.shape(noise)[0], 0))])
        return self.w_avg + truncation * (w - self.w_avg)

    def pictures(self, count: int, seed: int, truncation: float = 1.0) -> np.ndarray:
        """Draws random faces, with the constant noise.

        Args:
          count: Number of faces.
          seed: Seed of the latents.
          truncation: As in `latents`.

        Returns:
          uint8 [count, side, side, 3].
        """
        noise = np.random.default_rng(seed).standard_normal((count, LATENT_DIM)).astype(np.float32)
        parts = []
        for start in range(0, count, _BATCH):
            latents = self.latents(noise[start : start + _BATCH], truncation)
            parts.append(to_pixels(self.synthesis({"inputs": latents})["image"][-1].numpy()))
        return np.concatenate(parts)

    def with_exact_mean(self, count: int = 10_000, seed: int = 0) -> Teacher:
        """Returns the same networks with `w_avg` measured as the mean of w over `count` draws."""
        noise = np.random.default_rng(seed).standard_normal((count, LATENT_DIM)).astype(np.float32)
        w = self.mapping([noise, tf.zeros((count, 0))])[:, 0]
        return dataclasses.replace(self, w_avg=tf.reduce_mean(w, axis=0).numpy())


def _pass_through_weight(
    name: str, value: np.ndarray, known: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Returns the initial value of a new layer's weight with which its block passes on its input.

    Args:
      name: Name of the weight.
      value: The weight's random initial value, which is kept where any value will do.
      known: Weights of the smaller teacher.
    """
    if name.startswith("discriminator/from_rgb/"):
        # Finer maps may have fewer channels.
        return known[name][..., : value.shape[-1]]
    if name.endswith("_skip/kernel"):
        channels, filters = value.shape[2:]
        # At run time the kernel is scaled by channels^-1/2, and its sum with the other branch by
        # 2^-1/2.
        return np.sqrt(2.0 * channels) * np.eye(channels, filters)[np.newaxis, np.newaxis]
    network, _, layer = name.partition("/")
    if layer.endswith({"synthesis": "_to_rgb/kernel", "discriminator": "_conv1/kernel"}[network]):
        return np.zeros_like(value)
    return value
