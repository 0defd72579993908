"""Pretraining: encoder and synthesis network learn to reconstruct portraits, from small to large.

The published recipe distills a teacher and then inverts it. With a few thousand portraits, training
encoder and synthesis network jointly as an autoencoder gives better faces in the same time. The
losses are L1 on every head, distances of face-mesh features, and finally a patch discriminator, for
sharpness. Training can also start from a released preset.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.models.blaze_stylegan.config import COARSE_SPATIAL_SIDES, NetworksConfig
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.training import distribution, losses
from mm_face_stylizer.training.adversary import Adversary
from mm_face_stylizer.training.blaze_stylegan.reconstruction_sheet import reconstruction_sheet
from mm_face_stylizer.training.blaze_stylegan.schedules import PretrainingOptions, Stage
from mm_face_stylizer.training.portraits import Portraits
from mm_face_stylizer.training.run import TrainingRun, forget_moments, learning_rate, stage_at

_CLIP_NORM = 5.0
# Learning rate of the discriminator, as a fraction of the peak rate. It is constant, because the
# discriminator joins late and must keep up until the end.
_DISCRIMINATOR_RATE = 0.1


class Pretraining(TrainingRun):
    """A resumable pretraining run in a folder.

    Attributes:
      options: What the run depends on.
      networks: The networks that are trained, among them `w_avg`, a variable.
    """

    title = "Pretraining"

    def __init__(
        self,
        options: PretrainingOptions,
        portraits: Portraits,
        face_mesh: FaceMeshFeatures,
        folder: str | os.PathLike,
        start: Networks | None = None,
    ):
        """Builds the networks and restores the last checkpoint of the folder, if there is one.

        Args:
          options: What the run depends on.
          portraits: Portraits to train on.
          face_mesh: Network of the perceptual features.
          folder: Where checkpoints, sheets and logs go; made if it is missing.
          start: Networks of the same configuration to start from; None for random weights.

        Raises:
          ValueError: The configuration of `start` differs.
        """
        super().__init__(folder, options.total_steps)
        self.distribution.share(options.batch_size)
        self.options = options
        self._portraits = portraits
        self._face_mesh = face_mesh
        keras.utils.set_random_seed(options.seed)
        config = NetworksConfig(options.image_size, options.spatial_sides, options.width)
        networks = Networks.build(config, options.conv_dtype)
        if start is not None:
            networks = networks.assign(start)
        w_avg = tf.Variable(networks.w_avg, name="w_avg")
        self.networks = dataclasses.replace(networks, w_avg=w_avg)
        self._generator_variables = [
            *networks.encoder.trainable_variables,
            *networks.synthesis.trainable_variables,
            w_avg,
        ]
        self._optimizer = keras.optimizers.Adam(options.learning_rate, 0.5, 0.99)
        self._optimizer.build(self._generator_variables)
        self._adversary = Adversary(
            networks.discriminator, options.image_size, _DISCRIMINATOR_RATE * options.learning_rate
        )
        self._compiled: tuple[int, Any] = (-1, None)
        self._restore(
            encoder=networks.encoder,
            synthesis=networks.synthesis,
            discriminator=networks.discriminator,
            w_avg=w_avg,
            optimizer=self._optimizer,
            discriminator_optimizer=self._adversary.optimizer,
        )

    def _train(self, step: int):
        index, step_of_stage = stage_at(self.options.stages, step)
        if index != self._compiled[0]:
            self._compiled = index, self._compile(self.options.stages[index])
            if step_of_stage == 0:
                forget_moments(self._optimizer)
        peak = self.options.learning_rate
        self._optimizer.learning_rate.assign(
            learning_rate(peak, step, self.total_steps, step_of_stage)
        )
        # A restored checkpoint sets the rate that it was saved with.
        self._adversary.optimizer.learning_rate.assign(_DISCRIMINATOR_RATE * peak)
        return self._compiled[1](*self._inputs(step, step_of_stage, index))

    def _inputs(self, step: int, step_of_stage: int, stage_index: int):
        batch = self._portraits.batch(self.options.batch_size, self.options.seed, step)
        random = np.random.default_rng((self.options.seed, step, 1))
        dropout = self.options.stages[stage_index].spatial_dropout
        kept = _kept_latents(random, self.options.batch_size, dropout, self.options.spatial_sides)
        crop = self._adversary.random_crop(random)
        return (
            tf.constant(batch.images),
            tf.constant(batch.color),
            {name: tf.constant(value) for name, value in kept.items()},
            crop,
            tf.constant(np.float32(min(1.0, step_of_stage / 300))),
        )

    def _compile(self, stage: Stage):
        """Compiles the training step of a stage."""
        size = stage.image_size
        frozen = stage.frozen_statistics or bool(stage.trained_from)
        trained = self._trained_variables(stage)

        def train_step(images, color, kept, crop, ramp):
            images, color = distribution.own_rows(images), distribution.own_rows(color)
            photos = tf.cast(images, tf.float32) / 127.5 - 1.0
            photos = tf.einsum("bhwc,bdc->bhwd", photos, color[:, :, :3])
            photos = tf.clip_by_value(photos + color[:, tf.newaxis, tf.newaxis, :, 3], -1, 1)
            target = losses.shrunken(photos, size)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(trained)
                latents = self.networks.latents(photos, training=not frozen)
                for name, keep in kept.items():
                    keep = tf.reshape(distribution.own_rows(keep), (-1, 1, 1, 1))
                    latents[name] = latents[name] * keep
                outputs = self.networks.synthesis(latents, finest=size)["image"]
            # Losses are differentiated with respect to the images first. There, the adversarial
            # gradient can be scaled relative to all others without a second backward pass.
            with tf.GradientTape() as loss_tape:
                loss_tape.watch(outputs)
                targets = losses.image_pyramid(target, len(outputs))
                values = {"l1": losses.pyramid_l1(outputs, targets)}
                values["finest_l1"] = losses.l1(outputs[-1], target)
                loss = values["l1"] + stage.finest_weight * values["finest_l1"]
                if stage.colour_weight:
                    values["colour"] = losses.color_error(outputs[-1], target)
                    loss += stage.colour_weight * values["colour"]
                if stage.detail_weight:
                    values["detail"] = losses.detail_distance(outputs[-1], target)
                    loss += stage.detail_weight * values["detail"]
                if stage.perceptual_weight:
                    count = self.distribution.part(stage.perceptual_images)
                    wanted = self._face_mesh(target[:count])
                    seen = self._face_mesh(
                        losses.with_colors_of(outputs[-1][:count], target[:count])
                    )
                    # The two coarsest maps are left out, because they hardly change with the
                    # picture.
                    values["features"] = losses.feature_distance(
                        seen.features[:4], wanted.features[:4]
                    )
                    values["landmarks"] = losses.l1(seen.landmarks, wanted.landmarks)
                    loss += stage.perceptual_weight * values["features"]
                    loss += stage.landmark_weight * values["landmarks"]
            gradients = loss_tape.gradient(loss, outputs)
            if stage.by_visibility:
                factors = tf.reshape(losses.visibility(target), (-1, 1, 1, 1))
                gradients = [factors * gradient for gradient in gradients]
            if stage.adversarial_share:
                adversarial, extra = self._adversary.train(outputs[-1], target, crop, gradients[-1])
                gradients[-1] += stage.adversarial_share * ramp * adversarial
                values |= extra
            updates = tape.gradient(outputs, trained, output_gradients=gradients)
            pairs = [
                (gradient, variable)
                for gradient, variable in zip(updates, trained, strict=True)
                if gradient is not None
            ]
            distribution.apply_gradients(self._optimizer, *zip(*pairs, strict=True), _CLIP_NORM)
            return values

        return self.distribution.compiled(train_step)

    def _trained_variables(self, stage: Stage) -> list[tf.Variable]:
        if not stage.trained_from:
            return self._generator_variables
        return self.networks.synthesis.trainable_from(stage.trained_from)

    def _sheet(self, step: int) -> ContactSheet:
        index, _ = stage_at(self.options.stages, step - 1)
        finest = self.options.stages[index].image_size
        return reconstruction_sheet(self.networks, self._portraits.held_out(32), finest)


def starting_networks(start: Networks, options: PretrainingOptions) -> Networks:
    """Changes a preset's networks to the configuration of a run that starts from them.

    Args:
      start: The preset's networks.
      options: What the run depends on; either the image size or the spatial latents may differ.

    Raises:
      ValueError: The networks cannot be changed so.
    """
    if options.image_size != start.config.image_size:
        return start.with_image_size(options.image_size)
    if options.spatial_sides != start.config.spatial_sides:
        return start.with_spatial_latents(options.spatial_sides)
    return start


def _kept_latents(
    random: np.random.Generator, count: int, dropout: float, sides: Sequence[int]
) -> dict[str, np.ndarray]:
    """Draws which spatial latents each picture keeps: 1 or 0, [count] each, by name."""
    draws = random.random(count)
    without = {side: dropout if side in COARSE_SPATIAL_SIDES else 2 * dropout for side in sides}
    return {
        f"spatial_{side}": (draws >= share).astype(np.float32) for side, share in without.items()
    }
