"""Inversion: an encoder learns to find the latents from which the synthesis network draws a photo.

Source: the published recipe (Jia et al., "MediaPipe FaceStylizer", 2023): the synthesis network is
frozen, and the encoder learns from photos and from generated pictures. The losses are L1, content
(deep features), style (Gram matrices of shallow features), and for generated pictures, whose
latents are known, the distance of the latents. Features are the face mesh's. A later stage may
train the synthesis network with the encoder.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.models.mapping import LATENT_DIM
from mm_face_stylizer.training import distribution, losses
from mm_face_stylizer.training.blaze_stylegan.reconstruction_sheet import reconstruction_sheet
from mm_face_stylizer.training.draws import Draws
from mm_face_stylizer.training.portraits import Portraits
from mm_face_stylizer.training.run import (
    TrainingRun,
    forget_moments,
    learning_rate,
    stage_at,
    step_seed,
)

_CLIP_NORM = 5.0
# Feature maps of the face mesh, finest first, for the style loss and for the content loss.
_STYLE_MAPS, _CONTENT_MAPS = slice(0, 3), slice(1, 5)


@dataclasses.dataclass(frozen=True)
class InversionStage:
    """A stretch of training with the same losses.

    Attributes:
      steps: Number of steps.
      generated_share: Fraction of each batch that the synthesis network generates.
      l1_weight: Weight of the L1 of all heads.
      content_weight: Weight of the distance of deep face-mesh features.
      style_weight: Weight of the distance of shallow features' Gram matrices.
      embedding_weight: Weight of `embedding_distance` for generated pictures.
      landmark_weight: Weight of the landmarks' mean distance, as a fraction of the side.
      perceptual_images: Pictures of each batch, portraits first, for which features are computed.
      trains_synthesis: Whether the synthesis network is trained, too: joint refinement.
      frozen_statistics: Whether batch normalization keeps the statistics that it has.
    """

    steps: int
    generated_share: float = 0.25
    l1_weight: float = 1.0
    content_weight: float = 0.15
    style_weight: float = 0.05
    embedding_weight: float = 0.1
    landmark_weight: float = 2.0
    perceptual_images: int = 6
    trains_synthesis: bool = False
    frozen_statistics: bool = False


FROZEN_STAGES = (InversionStage(5000), InversionStage(2000, frozen_statistics=True))
JOINT_STAGES = (
    *FROZEN_STAGES,
    InversionStage(3000, trains_synthesis=True, frozen_statistics=True),
)


@dataclasses.dataclass(frozen=True)
class InversionOptions:
    """What the training of an encoder depends on.

    Attributes:
      stages: Stretches of training, in order.
      batch_size: Pictures a step.
      learning_rate: Peak learning rate of Adam; it decays to 15 % along a cosine over all stages.
      seed: Seed of batches and latents.
    """

    stages: tuple[InversionStage, ...] = FROZEN_STAGES
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    seed: int = 0


class Inversion(TrainingRun):
    """A resumable training of an encoder in a folder.

    Attributes:
      options: What the run depends on.
      networks: The networks that the run was given; their encoder is trained in place.
    """

    title = "Inversion"

    def __init__(
        self,
        options: InversionOptions,
        networks: Networks,
        portraits: Portraits,
        face_mesh: FaceMeshFeatures,
        folder: str | os.PathLike,
    ):
        """Restores the last checkpoint of the folder, if there is one.

        Args:
          options: What the run depends on.
          networks: Networks whose synthesis and mapping networks are already trained.
          portraits: Photos to learn from.
          face_mesh: Perceptual space.
          folder: Where checkpoints, sheets and logs go; made if it is missing.

        Raises:
          ValueError: The portraits' side is not the networks', or the batch cannot be shared among
            replicas.
        """
        size = networks.config.image_size
        if portraits.side != size:
            raise InvalidArgumentError(
                f"The portraits have {portraits.side} pixels a side; the networks need {size}."
            )
        super().__init__(folder, sum(stage.steps for stage in options.stages))
        self.options = options
        self._share = self.distribution.share(options.batch_size)
        self.networks = networks
        self._portraits = portraits
        self._face_mesh = face_mesh
        self._optimizer = keras.optimizers.Adam(options.learning_rate, 0.5, 0.99)
        self._optimizer.build(
            [
                *networks.encoder.trainable_variables,
                *networks.synthesis.trainable_variables,
            ]
        )
        self._compiled: tuple[int, Any] = (-1, None)
        self._restore(
            encoder=networks.encoder, synthesis=networks.synthesis, optimizer=self._optimizer
        )

    def _train(self, step: int):
        options = self.options
        index, step_of_stage = stage_at(options.stages, step)
        if index != self._compiled[0]:
            self._compiled = index, self._compile(options.stages[index])
            if step_of_stage == 0:
                forget_moments(self._optimizer)
        self._optimizer.learning_rate.assign(
            learning_rate(options.learning_rate, step, self.total_steps, step_of_stage)
        )
        batch = self._portraits.batch(options.batch_size, options.seed, step)
        return self._compiled[1](tf.constant(batch.images), step_seed(options.seed, step))

    def _compile(self, stage: InversionStage):
        """Compiles the training step of a stage."""
        networks = self.networks
        variables = list(networks.encoder.trainable_variables)
        if stage.trains_synthesis:
            variables += networks.synthesis.trainable_variables
        generated = int(round(stage.generated_share * self._share))

        def train_step(images, seed):
            photo_count = self._share - generated
            # Generated pictures take the place of the last portraits of the batch.
            photos = distribution.own_rows(images)[:photo_count]
            photos = tf.cast(photos, tf.float32) / 127.5 - 1.0
            noise = Draws(seed).normal((generated, LATENT_DIM))
            known = networks.mapping([noise, tf.zeros((generated, 0))])
            pictures = networks.synthesis({"inputs": known})["image"][-1]
            photos = tf.concat([photos, tf.clip_by_value(pictures, -1.0, 1.0)], axis=0)
            with tf.GradientTape() as tape:
                # Gradients are computed only for `variables`, which has the trained networks.
                latents = networks.latents(photos, training=not stage.frozen_statistics)
                outputs = networks.synthesis(latents)["image"]
                values = self._losses(stage, photos, outputs)
                if generated:
                    found = latents["inputs"][photo_count:]
                    values["embedding"] = embedding_distance(found, known, networks.w_avg)
                loss = tf.add_n(
                    [getattr(stage, f"{name}_weight") * value for name, value in values.items()]
                )
            gradients = tape.gradient(loss, variables)
            distribution.apply_gradients(self._optimizer, gradients, variables, _CLIP_NORM)
            return values

        return self.distribution.compiled(train_step)

    def _losses(self, stage, photos, outputs):
        """Returns the losses of the pictures by the names of their weights."""
        targets = losses.image_pyramid(photos, len(outputs))
        values = {"l1": losses.pyramid_l1(outputs, targets)}
        if stage.content_weight or stage.style_weight or stage.landmark_weight:
            count = self.distribution.part(stage.perceptual_images)
            wanted = self._face_mesh(photos[:count])
            seen = self._face_mesh(losses.with_colors_of(outputs[-1][:count], photos[:count]))
            values["content"] = losses.feature_distance(
                seen.features[_CONTENT_MAPS], wanted.features[_CONTENT_MAPS]
            )
            values["style"] = losses.gram_distance(
                seen.features[_STYLE_MAPS],
                [losses.gram_matrix(features) for features in wanted.features[_STYLE_MAPS]],
            )
            values["landmark"] = losses.l1(seen.landmarks, wanted.landmarks)
        return values

    def _sheet(self, step: int) -> ContactSheet:
        return reconstruction_sheet(self.networks, self._portraits.held_out(32), generated=True)


def embedding_distance(found: tf.Tensor, known: tf.Tensor, w_avg: tf.Tensor) -> tf.Tensor:
    """Returns the mean squared distance of latents, relative to that of `known` from `w_avg`.

    Args:
      found: Latents [batch, rows, 512].
      known: The correct latents; no gradient flows into them.
      w_avg: Mean latent [1, rows, 512].

    Returns:
      Scalar: 0 for the correct latents, 1 for an encoder that always returns the mean.
    """
    known = tf.stop_gradient(known)
    spread = distribution.mean(tf.reduce_mean(tf.square(known - w_avg))) + 1e-8
    return tf.reduce_mean(tf.square(found - known)) / spread
