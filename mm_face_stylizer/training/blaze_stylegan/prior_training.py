"""Trains the face prior on latents of portraits, by flow matching.

Encoded portraits are maps of at most 16 x 16 places, on which a small network learns within about
an hour what would take days on pixels. Points on straight lines from noise to portraits are drawn,
and the prior's velocity learns the lines' direction. That needs no adversary, and the loss shows
the progress. The released weights are an average over the last steps. Sources: Lipman et al., "Flow
Matching for Generative Modeling" (2023); times are drawn as in Esser et al., "Scaling Rectified
Flow Transformers" (2024), more of them in the middle, where there is most to learn.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.models.blaze_stylegan.encoder import coarse_encoder
from mm_face_stylizer.models.blaze_stylegan.face_prior import FacePrior
from mm_face_stylizer.models.blaze_stylegan.networks import Networks, joined
from mm_face_stylizer.pixels import from_pixels, to_pixels
from mm_face_stylizer.training.draws import Draws
from mm_face_stylizer.training.portraits import Portraits
from mm_face_stylizer.training.run import TrainingRun, learning_rate, step_seed, update_average

_BATCH = 32
_SHEET_FACES = 32
_SHEET_COLUMNS = 8
_CLIP_NORM = 1.0


@dataclasses.dataclass(frozen=True)
class PriorStage:
    """The only stage of the training.

    Attributes:
      steps: Number of steps.
      average: Decay of the moving average of the weights; smaller in the first steps.
    """

    steps: int = 7000
    average: float = 0.999


@dataclasses.dataclass(frozen=True)
class PriorOptions:
    """What a training of the face prior depends on.

    Attributes:
      stage: Number of steps and averaging.
      batch_size: Portraits a step.
      learning_rate: Peak learning rate of Adam; see `run.learning_rate`.
      seed: Seed of initial weights, batches, times and noise.
    """

    stage: PriorStage = PriorStage()
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0

    @property
    def stages(self) -> tuple[PriorStage, ...]:
        """The stage, as a sequence, because other trainings have several."""
        return (self.stage,)


class PriorTraining(TrainingRun):
    """A resumable training of a preset's face prior in a folder.

    Attributes:
      options: What the run depends on.
    """

    title = "Face prior"

    def __init__(
        self,
        options: PriorOptions,
        networks: Networks,
        portraits: Portraits,
        folder: str | os.PathLike,
    ):
        """Encodes the portraits, and restores the last checkpoint of the folder if there is one.

        Args:
          options: What the run depends on.
          networks: The preset's networks, which do not change: a copy of the prior is trained.
          portraits: Portraits to train on.
          folder: Where checkpoints, sheets and logs go; made if it is missing.
        """
        super().__init__(folder, options.stage.steps)
        self.options = options
        self._networks = networks
        keras.utils.set_random_seed(options.seed)
        self._prior = _new_prior_like(networks.prior)
        latents = coarse_latents(networks, portraits.training())
        self._prior.fit_latents(latents)
        self._portraits = self._prior.coordinates(latents)
        self._average = _new_prior_like(self._prior)
        for average, weight in zip(self._average.weights, self._prior.weights, strict=True):
            average.assign(weight)
        self._optimizer = keras.optimizers.Adam(options.learning_rate, 0.9, 0.99)
        self._optimizer.build(self._prior.trainable_variables)
        self._train_step = self._compile()
        self._restore(prior=self._prior, average=self._average, optimizer=self._optimizer)

    def released(self) -> Networks:
        """Returns the preset's networks with the averaged prior."""
        return dataclasses.replace(self._networks, prior=self._average)

    def _train(self, step: int) -> Mapping[str, tf.Tensor]:
        options = self.options
        self._optimizer.learning_rate.assign(
            learning_rate(options.learning_rate, step, self.total_steps, step)
        )
        random = np.random.default_rng((options.seed, step))
        chosen = random.integers(0, len(self._portraits), options.batch_size)
        values = self._train_step(self._portraits[chosen], step_seed(options.seed, step))
        update_average(
            self._average.trainable_variables,
            self._prior.trainable_variables,
            options.stage.average,
            step,
        )
        return values

    def _compile(self):
        count = self.options.batch_size

        @graph_function
        def train_step(portraits, seed):
            draws = Draws(seed)
            noise = draws.normal(portraits.shape)
            time = tf.sigmoid(draws.normal((count,)))
            position = time[:, tf.newaxis]
            variables = self._prior.trainable_variables
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                points = position * portraits + (1.0 - position) * noise
                velocity = self._prior.velocity(points, time)
                errors = self._prior.by_map(tf.square(velocity - (portraits - noise)))
                # All maps have the same weight, because the code, though small, matters most.
                losses = {f"map{side}": tf.reduce_mean(error) for side, error in errors.items()}
                loss = tf.add_n(list(losses.values())) / len(losses)
            gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), _CLIP_NORM)
            self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
            return {"velocity": loss} | losses

        return train_step

    def _sheet(self, step: int) -> ContactSheet:
        faces = to_pixels(self.released().generated_faces(_SHEET_FACES, seed=0))
        rows = np.split(faces, _SHEET_FACES // _SHEET_COLUMNS)
        return ContactSheet(rows, [f"drawn after {step} steps", *[""] * (len(rows) - 1)])


def coarse_latents(networks: Networks, photos: np.ndarray) -> dict[str, np.ndarray]:
    """Encodes photos and their mirror images to the latents that the face prior draws.

    Args:
      networks: Networks whose encoder is used, and whose prior determines the latents.
      photos: uint8 [count, side, side, 3].

    Returns:
      `code` and the prior's spatial latents, float32 [2 * count, side, side, channels].
    """
    encoder = coarse_encoder(networks.encoder, networks.prior.spatial_sides)
    encode = graph_function(encoder, reduce_retracing=True)
    parts = []
    for step in (1, -1):
        for start in range(0, len(photos), _BATCH):
            latents = encode(from_pixels(photos[start : start + _BATCH, :, ::step]))
            parts.append({name: value.numpy() for name, value in latents.items()})
    return joined(parts)


def _new_prior_like(prior: FacePrior) -> FacePrior:
    """Builds an untrained prior of the same configuration."""
    fresh = FacePrior(**prior.get_config())
    fresh.build()
    return fresh
