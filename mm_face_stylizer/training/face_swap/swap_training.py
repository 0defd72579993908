"""Training of the face swapping networks on the teacher's pictures.

Source: Xu et al., "MobileFaceSwap" (2022), section 3.2: distillation with loss reweighting.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.models.face_swap.config import FaceSwapConfig
from mm_face_stylizer.models.face_swap.identity import Identity, IdentityNetwork
from mm_face_stylizer.models.face_swap.networks import FaceSwapNetworks
from mm_face_stylizer.models.patch_discriminator import Discriminator
from mm_face_stylizer.pixels import from_pixels, to_pixels
from mm_face_stylizer.training import losses
from mm_face_stylizer.training.face_swap.pairs import SwapPairs
from mm_face_stylizer.training.face_swap.swap_losses import Features, SwapLosses, SwapWeights
from mm_face_stylizer.training.run import TrainingRun, learning_rate, update_average

# The discriminator learns at this fraction of the generator's rate, and half as wide as others:
# faces are all alike.
_DISCRIMINATOR_RATE, _DISCRIMINATOR_WIDTH = 0.5, 0.5
# Every so many steps the identity network is asked, which takes as long as all else.
_IDENTITY_EVERY = 3
# People on a sheet: as sources, and as targets.
_SHEET_SOURCES, _SHEET_TARGETS = 4, 8


@dataclasses.dataclass(frozen=True)
class SwapStage:
    """The one stretch of the training.

    Attributes:
      steps: Number of steps.
      weights: Weights of the terms of the loss.
      average: Decay per step of the exponential moving average of the weights.
    """

    steps: int = 6000
    weights: SwapWeights = SwapWeights()
    average: float = 0.998


@dataclasses.dataclass(frozen=True)
class SwapOptions:
    """Hyperparameters of the training.

    Attributes:
      config: Configuration of the networks.
      stage: The stage.
      batch_size: Pairs per step.
      learning_rate: Peak learning rate of Adam; see `run.learning_rate`.
      seed: Seed of the initial weights and of the batches.
      conv_dtype: Data type in which pointwise convolutions are computed.
    """

    config: FaceSwapConfig
    stage: SwapStage = SwapStage()
    batch_size: int = 8
    learning_rate: float = 1e-3
    seed: int = 0
    conv_dtype: str = "float32"

    @property
    def stages(self) -> tuple[SwapStage, ...]:
        """The stage as a tuple, for code shared with trainings of several stages."""
        return (self.stage,)


class SwapTraining(TrainingRun):
    """A training run of the face swapping networks that can be resumed from its folder.

    Attributes:
      options: Hyperparameters of the run.
    """

    title = "Face swap"

    def __init__(
        self,
        options: SwapOptions,
        pairs: SwapPairs,
        identity: IdentityNetwork,
        folder: str | os.PathLike,
        features: Features | None = None,
        start: Mapping[str, np.ndarray] | None = None,
    ):
        """Builds the networks, and restores the latest checkpoint in the folder, if any.

        Args:
          options: Hyperparameters of the run.
          pairs: Pairs of `options.config.image_size` pixels.
          identity: The network that tells people apart.
          folder: Folder for checkpoints, contact sheets and logs; created if it is missing.
          features: See `SwapLosses`.
          start: Weights of other networks of the same configuration to start from.
        """
        super().__init__(folder, options.stage.steps)
        self.options = options
        self._pairs = pairs
        keras.utils.set_random_seed(options.seed)
        config, weights = options.config, options.stage.weights
        self._trained = FaceSwapNetworks.build(config, options.conv_dtype)
        if start is not None:
            _copy(FaceSwapNetworks.from_weights(config, start), self._trained)
        self._average = dataclasses.replace(
            FaceSwapNetworks.build(config), mean=pairs.identity.mean()
        )
        _copy(self._trained, self._average)
        self._losses = SwapLosses(weights, identity, features)
        self._discriminator = Discriminator(_DISCRIMINATOR_WIDTH, name="discriminator")
        self._discriminator.build()
        self._variables = [
            *self._trained.generator.trainable_variables,
            *self._trained.injection.trainable_variables,
        ]
        self._optimizer = keras.optimizers.Adam(1e-3, 0.5, 0.99)
        self._optimizer.build(self._variables)
        self._discriminator_optimizer = keras.optimizers.Adam(1e-3, 0.5, 0.99)
        self._discriminator_optimizer.build(self._discriminator.trainable_variables)
        self._steps = {asked: graph_function(self._step_of(asked)) for asked in (False, True)}
        self._restore(
            generator=self._trained.generator,
            injection=self._trained.injection,
            average_generator=self._average.generator,
            average_injection=self._average.injection,
            discriminator=self._discriminator,
            optimizer=self._optimizer,
            discriminator_optimizer=self._discriminator_optimizer,
        )

    def released(self) -> FaceSwapNetworks:
        """Returns the networks with the moving averages of the weights."""
        return self._average

    def _train(self, step: int) -> Mapping[str, tf.Tensor]:
        options = self.options
        random = np.random.default_rng((options.seed, step))
        batch = self._pairs.batch(random, options.batch_size)
        rate = learning_rate(options.learning_rate, step, self.total_steps, step)
        self._optimizer.learning_rate.assign(rate)
        self._discriminator_optimizer.learning_rate.assign(_DISCRIMINATOR_RATE * rate)
        arrays = dataclasses.astuple(batch)
        values = self._steps[step % _IDENTITY_EVERY == 0](*(tf.constant(a) for a in arrays))
        for average, trained in zip(_parts(self._average), _parts(self._trained), strict=True):
            update_average(average.weights, trained.weights, options.stage.average, step)
        return values

    def _step_of(self, with_identity: bool):
        """Returns the function that trains on a batch."""
        adversarial = self.options.stage.weights.adversarial

        def train(features, embedding, textures, photos, pictures, masks):
            photos, pictures = (tf.cast(x, tf.float32) / 127.5 - 1.0 for x in (photos, pictures))
            masks = tf.cast(masks, tf.float32)[..., tf.newaxis] / 255.0
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._variables)
                people = self._trained.injection((features, embedding, textures))
                result = self._trained.generator((photos, people), training=True)
                values = self._losses(result, pictures, masks, embedding, with_identity)
                loss = values["loss"]
                if adversarial:
                    values["generator"] = losses.generator_loss(self._discriminator(result.picture))
                    loss += adversarial * values["generator"]
            gradients = tape.gradient(loss, self._variables)
            # What the configuration switches off gets none.
            self._optimizer.apply_gradients(
                [
                    (tf.zeros_like(variable) if gradient is None else gradient, variable)
                    for gradient, variable in zip(gradients, self._variables, strict=True)
                ]
            )
            if adversarial:
                values["discriminator"] = self._train_discriminator(result.picture, photos)
            return values

        return train

    def _train_discriminator(self, fakes, reals):
        """Trains on photos as real: the teacher's pictures have seams of their own."""
        variables = self._discriminator.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = losses.discriminator_loss(self._discriminator(reals), self._discriminator(fakes))
        gradients = tape.gradient(loss, variables)
        self._discriminator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    def _sheet(self, step: int) -> ContactSheet:
        people = np.linspace(0, len(self._pairs.photos) - 1, _SHEET_SOURCES + _SHEET_TARGETS)
        people = people.astype(int)
        sources, targets = people[:_SHEET_SOURCES], people[_SHEET_SOURCES:]
        photos, known = self._pairs.photos, self._pairs.identity
        blank = np.full_like(photos[0], 255)
        rows = [[blank, *photos[targets]]]
        for source in sources:
            person = known[source : source + 1]
            rows.append([photos[source], *swapped(self._average, person, photos[targets])])
        return ContactSheet(rows, [f"{step} steps, {self.options.config.image_size} px"])


def swapped(networks: FaceSwapNetworks, person: Identity, photos: np.ndarray) -> np.ndarray:
    """Gives photos the face of one person.

    Args:
      networks: The networks.
      person: The person.
      photos: uint8 [count, side, side, 3].

    Returns:
      uint8 of the same shape.
    """
    weights = networks.injection(dataclasses.astuple(person.mean()))
    result = networks.generator((from_pixels(photos), weights), training=False)
    return to_pixels(result.picture.numpy())


def _parts(networks):
    return networks.generator, networks.injection


def _copy(source, target):
    for one, other in zip(_parts(source), _parts(target), strict=True):
        other.set_weights(one.get_weights())
