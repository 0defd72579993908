"""Learning to draw: one synthesis network learns many styles at once, before a user's style comes.

A preset's synthesis network is trained on paintings of many people in many styles. What a style
adds to w+, its code, is learned beside it: the network with the code of a style that it knows is a
stylizer at no cost of its own, and a network that has learned to draw many styles learns one more
in a hundred steps. The preset's own synthesis network, which reconstructs photos, stays as it is.
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
from mm_face_stylizer.training.run import TrainingRun, learning_rate

# Strokes and their surroundings; deeper activations say what a picture shows.
FEATURE_TAPS = ("stem", "expand1", "expand3")
_BATCH = 4
_SHEET_PEOPLE, _SHEET_STYLES = 8, 16


@dataclasses.dataclass(frozen=True)
class DrawingStage:
    """All of the training: it has one stretch.

    Attributes:
      steps: Number of steps.
      average: Share of the average of the weights that each step keeps, once there were enough.
      weights: Weights of the loss.
    """

    steps: int = 10_000
    average: float = 0.998
    weights: PaintingWeights = PaintingWeights()


@dataclasses.dataclass(frozen=True)
class DrawingOptions:
    """What a training depends on.

    Attributes:
      stage: The training.
      batch_size: Pairs a step.
      learning_rate: Peak learning rate of Adam; see `run.learning_rate`.
      seed: Seed of initial weights and batches.
      conv_dtype: Precision of the synthesis network's convolutions.
    """

    stage: DrawingStage = DrawingStage()
    batch_size: int = 6
    learning_rate: float = 2e-3
    seed: int = 0
    conv_dtype: str = "float32"

    @property
    def stages(self) -> tuple[DrawingStage, ...]:
        """The stage, as other trainings have several."""
        return (self.stage,)


class DrawingTraining(TrainingRun):
    """A resumable training of a drawing network in a folder.

    Attributes:
      options: What the run depends on.
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
        """Encodes the photos, and restores the last checkpoint of the folder if there is one.

        Args:
          options: What the run depends on.
          networks: The preset's; they stay as they are.
          pairs: Photos and their paintings.
          folder: Where checkpoints, sheets and logs go; made if it is missing.
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
        """The network and its codes, averaged over the last steps."""
        return Drawing(self._pairs.styles, self._average, self._average_codes.numpy())

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
        # The first weights are nothing to average.
        kept = min(options.stage.average, (step + 1) / (step + 20))
        for average, variable in zip(
            [*self._average.weights, self._average_codes],
            [*self._synthesis.weights, self._codes],
            strict=True,
        ):
            average.assign(kept * average + (1.0 - kept) * variable)
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
    """Latents of photos, as the synthesis network takes them, in float16.

    Args:
      networks: Whose encoder.
      photos: uint8 [count, side, side, 3].
    """
    parts = []
    for start in range(0, len(photos), _BATCH):
        latents = networks.latents(from_pixels(photos[start : start + _BATCH]))
        parts.append({name: value.numpy().astype(np.float16) for name, value in latents.items()})
    return joined(parts)


def drawn(synthesis: Synthesis, latents: Mapping[str, np.ndarray], code: np.ndarray) -> np.ndarray:
    """Pictures of people in one style, uint8 [count, side, side, 3].

    Args:
      synthesis: A network that has learned to draw.
      latents: Of the people's photos.
      code: The style's, [rows, 512].
    """
    pictures = []
    for start in range(0, len(latents["inputs"]), _BATCH):
        rows = {
            name: tf.constant(value, tf.float32)
            for name, value in rows_of(latents, slice(start, start + _BATCH)).items()
        }
        pictures.append(to_pixels(draw(synthesis, rows, code[np.newaxis]).numpy()))
    return np.concatenate(pictures)
