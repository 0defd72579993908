"""The face prior learns to draw latents that no discriminator tells from those of portraits.

Encoded portraits are tiny pictures, sixteen pixels wide, and a small StyleGAN on them learns in
minutes what would take days on pixels. It starts from the linear prior, whose faces are whole but
soft, and trains against a discriminator with R1; what is released is the average of its weights
over the last steps.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.models.encoder import coarse_encoder
from mm_face_stylizer.models.face_prior import NOISE_DIM, FacePrior
from mm_face_stylizer.models.latent_discriminator import LatentDiscriminator
from mm_face_stylizer.networks import Networks, from_pixels, joined, to_pixels
from mm_face_stylizer.training import losses
from mm_face_stylizer.training.draws import Draws
from mm_face_stylizer.training.portraits import Portraits
from mm_face_stylizer.training.regularizers import gradient_penalty
from mm_face_stylizer.training.run import TrainingRun, learning_rate, step_seed

_BATCH = 32
_SHEET_FACES = 32
_SHEET_COLUMNS = 8


@dataclasses.dataclass(frozen=True)
class PriorStage:
    """All of the training: it has one stretch.

    Attributes:
      steps: Number of steps.
      penalty_weight: Weight of R1.
      penalty_every: R1 is computed every so many steps, and weighted as many times.
      average: Share of the average of the generator's weights that each step keeps.
    """

    steps: int = 4000
    penalty_weight: float = 0.5
    penalty_every: int = 8
    average: float = 0.99


@dataclasses.dataclass(frozen=True)
class PriorOptions:
    """What a training of the face prior depends on.

    Attributes:
      stage: The training.
      batch_size: Portraits a step.
      learning_rate: Peak learning rate of both networks' Adam; see `run.learning_rate`.
      seed: Seed of initial weights, batches and noise.
    """

    stage: PriorStage = PriorStage()
    batch_size: int = 32
    learning_rate: float = 2e-3
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
        self._discriminator = LatentDiscriminator(
            self._prior.coordinate_shapes, networks.config.width
        )
        self._discriminator.build()
        self._optimizers = []
        for network in (self._prior, self._discriminator):
            optimizer = keras.optimizers.Adam(options.learning_rate, 0.0, 0.99)
            optimizer.build(network.trainable_variables)
            self._optimizers.append(optimizer)
        self._steps = {penalised: self._compile(penalised) for penalised in (False, True)}
        self._restore(
            prior=self._prior,
            average=self._average,
            discriminator=self._discriminator,
            optimizer=self._optimizers[0],
            discriminator_optimizer=self._optimizers[1],
        )

    def released(self) -> Networks:
        """The preset's networks with the prior as far as it is trained."""
        return dataclasses.replace(self._networks, prior=self._average)

    def _train(self, step: int) -> Mapping[str, tf.Tensor]:
        options = self.options
        rate = learning_rate(options.learning_rate, step, self.total_steps, step)
        for optimizer in self._optimizers:
            optimizer.learning_rate.assign(rate)
        random = np.random.default_rng((options.seed, step))
        chosen = random.integers(0, len(next(iter(self._portraits.values()))), options.batch_size)
        reals = {side: tf.constant(maps[chosen]) for side, maps in self._portraits.items()}
        penalised = step % options.stage.penalty_every == 0
        return self._steps[penalised](reals, step_seed(options.seed, step))

    def _compile(self, penalised: bool):
        """A step's graph, with R1 or without."""
        stage, count = self.options.stage, self.options.batch_size
        generator_optimizer, discriminator_optimizer = self._optimizers

        @graph_function
        def train_step(reals, seed):
            noise = Draws(seed).normal((count, NOISE_DIM))
            variables = self._prior.trainable_variables
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                fakes = self._prior.draw(noise)
                generator = losses.generator_loss(self._discriminator(fakes))
            updates = tape.gradient(generator, variables)

            judges = self._discriminator.trainable_variables
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(judges)
                if penalised:
                    logits, penalty = gradient_penalty(self._discriminator, reals)
                else:
                    logits, penalty = self._discriminator(reals), 0.0
                fakes = {side: tf.stop_gradient(maps) for side, maps in fakes.items()}
                discriminator = losses.discriminator_loss(logits, self._discriminator(fakes))
                weight = stage.penalty_weight * stage.penalty_every
                total = discriminator + weight * penalty
            gradients = tape.gradient(total, judges)
            discriminator_optimizer.apply_gradients(zip(gradients, judges, strict=True))
            generator_optimizer.apply_gradients(zip(updates, variables, strict=True))
            for average, variable in zip(self._average.trainable_variables, variables, strict=True):
                average.assign(stage.average * average + (1.0 - stage.average) * variable)
            return {
                "generator": generator,
                "discriminator": discriminator,
                # Near one, the discriminator knows its portraits by heart.
                "certain": tf.reduce_mean(tf.sign(logits)),
            }

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
