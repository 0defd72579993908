"""The face prior learns where latents of portraits lie, by flow matching.

Encoded portraits are tiny pictures, sixteen pixels wide, and a small network on them learns in an
hour or so what would take days on pixels. Points on straight lines from noise to portraits are
drawn, and the prior's velocity learns the lines' direction: no adversary, and a loss that tells how
far it is. What is released is the average of its weights over the last steps. Sources: Lipman et
al., "Flow Matching for Generative Modeling" (2023); times are drawn as in Esser et al., "Scaling
Rectified Flow Transformers" (2024), more of them in the middle, where most is to be learned.
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
from mm_face_stylizer.training.run import TrainingRun, learning_rate, step_seed

_BATCH = 32
_SHEET_FACES = 32
_SHEET_COLUMNS = 8
_CLIP_NORM = 1.0


@dataclasses.dataclass(frozen=True)
class PriorStage:
    """All of the training: it has one stretch.

    Attributes:
      steps: Number of steps.
      average: Share of the average of the weights that each step keeps, once there were enough.
    """

    steps: int = 7000
    average: float = 0.999


@dataclasses.dataclass(frozen=True)
class PriorOptions:
    """What a training of the face prior depends on.

    Attributes:
      stage: The training.
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
        """The stage, as other trainings have several."""
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
          networks: The preset's; only a copy of its prior is trained.
          portraits: Portraits to train on.
          folder: Where checkpoints, sheets and logs go; made if it is missing.
        """
        super().__init__(folder, options.stage.steps)
        self.options = options
        self._networks = networks
        keras.utils.set_random_seed(options.seed)
        self._prior = _like(networks.prior)
        latents = coarse_latents(networks, portraits.training())
        self._prior.fit_latents(latents)
        self._portraits = self._prior.coordinates(latents)
        self._average = _like(self._prior)
        for average, weight in zip(self._average.weights, self._prior.weights, strict=True):
            average.assign(weight)
        self._optimizer = keras.optimizers.Adam(options.learning_rate, 0.9, 0.99)
        self._optimizer.build(self._prior.trainable_variables)
        self._train_step = self._compile()
        self._restore(prior=self._prior, average=self._average, optimizer=self._optimizer)

    def released(self) -> Networks:
        """The preset's networks with the prior as far as it is trained."""
        return dataclasses.replace(self._networks, prior=self._average)

    def _train(self, step: int) -> Mapping[str, tf.Tensor]:
        options = self.options
        self._optimizer.learning_rate.assign(
            learning_rate(options.learning_rate, step, self.total_steps, step)
        )
        random = np.random.default_rng((options.seed, step))
        chosen = random.integers(0, len(self._portraits), options.batch_size)
        # The first weights are nothing to average.
        kept = np.float32(min(options.stage.average, (step + 1) / (step + 20)))
        return self._train_step(self._portraits[chosen], kept, step_seed(options.seed, step))

    def _compile(self):
        count = self.options.batch_size

        @graph_function
        def train_step(portraits, kept, seed):
            draws = Draws(seed)
            noise = draws.normal(portraits.shape)
            time = tf.sigmoid(draws.normal((count,)))
            way = time[:, tf.newaxis]
            variables = self._prior.trainable_variables
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                velocity = self._prior.velocity(way * portraits + (1.0 - way) * noise, time)
                errors = self._prior.by_map(tf.square(velocity - (portraits - noise)))
                # Each map counts alike: a code of few numbers says more than any other.
                losses = {f"map{side}": tf.reduce_mean(error) for side, error in errors.items()}
                loss = tf.add_n(list(losses.values())) / len(losses)
            gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), _CLIP_NORM)
            self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
            for average, variable in zip(self._average.trainable_variables, variables, strict=True):
                average.assign(kept * average + (1.0 - kept) * variable)
            return {"velocity": loss} | losses

        return train_step

    def _sheet(self, step: int) -> ContactSheet:
        faces = to_pixels(self.released().generated_faces(_SHEET_FACES, seed=0))
        rows = np.split(faces, _SHEET_FACES // _SHEET_COLUMNS)
        return ContactSheet(rows, [f"drawn after {step} steps", *[""] * (len(rows) - 1)])


def coarse_latents(networks: Networks, photos: np.ndarray) -> dict[str, np.ndarray]:
    """What the face prior draws, of photos and of their mirror images.

    Args:
      networks: Whose encoder and prior.
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


def _like(prior: FacePrior) -> FacePrior:
    """A prior of the same shape, with fresh weights."""
    fresh = FacePrior(**prior.get_config())
    fresh.build()
    return fresh
