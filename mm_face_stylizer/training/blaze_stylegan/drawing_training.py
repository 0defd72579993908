"""Training of a drawing network: one synthesis network learns to draw many styles.

A copy of a preset's synthesis network is trained on paintings of many people in many styles. Each
style has a code, a learned offset that is added to the w+ latents of a photo; with the code of a
style the network draws photos in that style. A network that has learned many styles learns a new
one, such as a user's, in about a hundred steps. The preset's own synthesis network, which
reconstructs photos, is not changed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.models.blaze_stylegan.drawing import Drawing
from mm_face_stylizer.models.blaze_stylegan.generator import Synthesis, copied
from mm_face_stylizer.models.blaze_stylegan.networks import Networks, joined, rows_of
from mm_face_stylizer.pixels import from_pixels, to_pixels
from mm_face_stylizer.training.blaze_stylegan.painted_pairs import PaintedPairs
from mm_face_stylizer.training.blaze_stylegan.painting_step import (
    PaintingStep,
    PaintingWeights,
    draw,
)
from mm_face_stylizer.training.run import TrainingRun, learning_rate, update_average

# Shallow activations describe strokes and textures; deeper ones describe what a picture shows.
FEATURE_TAPS = ("stem", "expand1", "expand3")
# Pictures per call of a network when photos are encoded or drawn.
_BATCH = 4
# Maximum number of columns and of style rows of a contact sheet.
_SHEET_PEOPLE, _SHEET_STYLES = 8, 16


@dataclasses.dataclass(frozen=True)
class DrawingStage:
    """The only stage of the training.

    Attributes:
      steps: Number of steps.
      average: Decay per step of the exponential moving average of the weights. It starts lower and
        rises to this value during the first steps.
      weights: Weights of the terms of the loss.
    """

    steps: int = 10_000
    average: float = 0.998
    weights: PaintingWeights = PaintingWeights()


@dataclasses.dataclass(frozen=True)
class DrawingOptions:
    """Hyperparameters of the training of a drawing network.

    Attributes:
      stage: The stage.
      batch_size: Pairs of photo and painting per step.
      learning_rate: Peak learning rate of Adam; see `run.learning_rate`.
      seed: Seed of the initial weights and of the batches.
      conv_dtype: Data type in which the synthesis network computes its convolutions.
    """

    stage: DrawingStage = DrawingStage()
    batch_size: int = 6
    learning_rate: float = 2e-3
    seed: int = 0
    conv_dtype: str = "float32"

    @property
    def stages(self) -> tuple[DrawingStage, ...]:
        """The stage as a tuple, for code shared with trainings of several stages."""
        return (self.stage,)


class DrawingTraining(TrainingRun):
    """A training run of a drawing network that can be resumed from its folder.

    Attributes:
      options: Hyperparameters of the run.
    """

    title = "Drawing"

    def __init__(
        self,
        options: DrawingOptions,
        networks: Networks,
        pairs: PaintedPairs,
        folder: str | os.PathLike,
        features: Callable[[tf.Tensor], Sequence[tf.Tensor]] | None = None,
    ):
        """Encodes the photos, and restores the latest checkpoint in the folder, if any.

        Args:
          options: Hyperparameters of the run.
          networks: The preset's networks; they are not changed.
          pairs: Photos and their paintings.
          folder: Folder for checkpoints, contact sheets and logs; created if it is missing.
          features: See `PaintingStep`.
        """
        super().__init__(folder, options.stage.steps)
        self.options = options
        self._networks = networks
        self._pairs = pairs
        self._latents = encoded(networks, pairs.photos)
        self._people = encoded(networks, pairs.held_out[:_SHEET_PEOPLE])
        keras.utils.set_random_seed(options.seed)
        self._synthesis = copied(networks.synthesis, noise=True, conv_dtype=options.conv_dtype)
        self._average = copied(networks.synthesis, noise=True)
        shape = (len(pairs.styles), *networks.w_avg.shape[1:])
        self._codes = tf.Variable(tf.zeros(shape), name="codes")
        self._average_codes = tf.Variable(tf.zeros(shape), trainable=False, name="average_codes")
        self._paint = PaintingStep(self._synthesis, self._codes, features, options.stage.weights)
        self._restore(
            synthesis=self._synthesis,
            codes=self._codes,
            average=self._average,
            average_codes=self._average_codes,
            discriminator=self._paint.discriminator,
            optimizer=self._paint.optimizer,
            discriminator_optimizer=self._paint.discriminator_optimizer,
        )

    def released(self) -> Drawing:
        """Returns the drawing network with moving averages of its weights and codes."""
        return Drawing(
            self._pairs.styles,
            self._average,
            self._average_codes.numpy(),
            self._paint.discriminator,
        )

    def _train(self, step: int) -> Mapping[str, tf.Tensor]:
        options = self.options
        random = np.random.default_rng((options.seed, step))
        batch = self._pairs.batch(random, options.batch_size)
        values = self._paint(
            rows_of(self._latents, batch.photos),
            batch.styles,
            self._pairs.photos[batch.photos],
            batch.paintings,
            self._paint.random_crop(random),
            learning_rate(options.learning_rate, step, self.total_steps, step),
        )
        update_average(
            [*self._average.weights, self._average_codes],
            [*self._synthesis.weights, self._codes],
            options.stage.average,
            step,
        )
        return values

    def _sheet(self, step: int) -> ContactSheet:
        drawing = self.released()
        people = self._pairs.held_out[:_SHEET_PEOPLE]
        count = len(drawing.styles)
        shown = np.linspace(0, count - 1, min(_SHEET_STYLES, count)).astype(int)
        rows = [list(people)]
        rows += [list(drawn(drawing.synthesis, self._people, drawing.codes[i])) for i in shown]
        captions = [f"photos; {step} steps", *(drawing.styles[i] for i in shown)]
        return ContactSheet(rows, captions)


def encoded(networks: Networks, photos: np.ndarray) -> dict[str, np.ndarray]:
    """Encodes photos to the latents that the synthesis network takes.

    Args:
      networks: The preset's networks, whose encoder is used.
      photos: uint8 [count, side, side, 3], RGB in [0, 255].

    Returns:
      The latents by name, float16 [count, ...].
    """
    parts = []
    for start in range(0, len(photos), _BATCH):
        latents = networks.latents(from_pixels(photos[start : start + _BATCH]))
        parts.append({name: value.numpy().astype(np.float16) for name, value in latents.items()})
    return joined(parts)


def drawn(synthesis: Synthesis, latents: Mapping[str, np.ndarray], code: np.ndarray) -> np.ndarray:
    """Draws photos in one style.

    Args:
      synthesis: The synthesis network of a drawing network.
      latents: Latents of the photos, as `encoded` returns them.
      code: Code of the style, [rows, 512], which is added to w+.

    Returns:
      Pictures, uint8 [count, side, side, 3], RGB in [0, 255].
    """
    pictures = []
    for start in range(0, len(latents["inputs"]), _BATCH):
        rows = {
            name: tf.constant(value, tf.float32)
            for name, value in rows_of(latents, slice(start, start + _BATCH)).items()
        }
        pictures.append(to_pixels(draw(synthesis, rows, code[np.newaxis]).numpy()))
    return np.concatenate(pictures)
