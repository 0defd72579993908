"""Few-shot training of a drawing network on paintings in one new style.

The painter paints practice faces in the user's style, and a copy of the preset's drawing network is
trained on those pairs. Training starts from the code of the known style that is most similar to the
paintings. Source: Futschik et al.,
"Real-Time Patch-Based Stylization of Portraits Using Generative Adversarial Network" (2019).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from mm_face_stylizer._keras import graph_function, tf
from mm_face_stylizer.errors import DivergenceError
from mm_face_stylizer.models.blaze_stylegan.drawing import Drawing
from mm_face_stylizer.models.blaze_stylegan.generator import Synthesis, copied
from mm_face_stylizer.models.blaze_stylegan.networks import Networks, rows_of
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.painting.painter import Painter
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.pixels import from_pixels
from mm_face_stylizer.training import losses
from mm_face_stylizer.training.blaze_stylegan.drawing_training import encoded
from mm_face_stylizer.training.blaze_stylegan.painting_step import (
    PaintingStep,
    PaintingWeights,
    draw,
)

# Number of practice faces for which the most suitable style picture is chosen.
_CONSULTED = 12
# Number of practice faces on which the known styles are compared with the user's.
_COMPARED = 2
# The learning rate is constant up to the first fraction of the steps, then falls linearly to the
# second fraction of its peak. Without the decay the result would depend on the last batches.
_DECAY_FROM, _FINAL_RATE = 0.6, 0.1


@dataclasses.dataclass(frozen=True)
class PaintingOptions:
    """Hyperparameters of a few-shot training on paintings.

    Attributes:
      steps: Number of steps.
      batch_size: Pairs of photo and painting per step.
      learning_rate: Peak learning rate of Adam.
      betas: Decay rates of Adam's first and second moments.
      swap_rows: Rows of w+ that are mixed with those of other faces, so that the drawn style does
        not depend on them.
      alpha: Weight of a face's own latent in those rows, in [0, 1].
      weights: Weights of the terms of the loss.
      seed: Seed of the paintings and of the batches.
      conv_dtype: Data type in which the synthesis network computes its convolutions.
    """

    steps: int = 100
    batch_size: int = 4
    learning_rate: float = 8e-4
    betas: tuple[float, float] = (0.0, 0.99)
    swap_rows: Sequence[int] = (4, 5, 10, 11)
    alpha: float = 0.1
    weights: PaintingWeights = PaintingWeights()
    seed: int = 0
    conv_dtype: str = "float32"


class PaintingTrainer:
    """Trains a copy of a drawing network on one style.

    Attributes:
      picture: Index of the style picture that the practice faces are painted with.
      start: Name of the known style whose code the training starts from.
      likeness: Likeness of the paintings to the photos, in [0, 1]; see `Painting`.
    """

    def __init__(
        self,
        networks: Networks,
        drawing: Drawing,
        styles: Sequence[Portrait],
        practice: Sequence[Portrait],
        options: PaintingOptions,
        face_mesh: FaceMeshFeatures | None = None,
        features: Callable[[tf.Tensor], Sequence[tf.Tensor]] | None = None,
        likeness: float | None = None,
        colors: str = "style",
        finds_face: Callable[[np.ndarray], bool] | None = None,
    ):
        """Paints the practice faces, and selects the known style that training starts from.

        Args:
          networks: The preset's networks; they are not changed.
          drawing: The preset's drawing network; it is not changed.
          styles: Pictures of the style.
          practice: Practice faces to paint.
          options: Hyperparameters of the training.
          face_mesh: The face-mesh network for the terms `content` and `style`.
          features: See `PaintingStep`.
          likeness: Likeness of the paintings to the photos, in [0, 1]; chosen by `Painter` if None.
          colors: `style` or `photo`; see `Painter`.
          finds_face: See `Painter.most_suitable`.
        """
        self._options = options
        self.picture = 0
        painter = Painter(styles, likeness, colors, options.seed)
        if len(styles) > 1:
            # Two pictures of a style contradict each other in colors and shapes, and a network
            # that learns from both blurs them.
            self.picture = painter.most_suitable(practice[:_CONSULTED], finds_face)
            painter = Painter([styles[self.picture]], likeness, colors, options.seed)
        self.likeness = painter.likeness
        self._photos = np.stack([portrait.pixels for portrait in practice])
        self._paintings = np.stack([painter.paint(portrait).picture for portrait in practice])
        self._latents = encoded(networks, self._photos)
        synthesis = copied(drawing.synthesis, conv_dtype=options.conv_dtype)
        self.start = drawing.styles[self._nearest(synthesis, drawing.codes)]
        known = drawing.only(self.start)
        codes = tf.Variable(known.codes, name="codes")
        self._step = PaintingStep(
            synthesis,
            codes,
            features,
            options.weights,
            options.betas,
            face_mesh,
            known.discriminator,
        )
        self._synthesis, self._codes = synthesis, codes

    def _nearest(self, synthesis: Synthesis, codes: np.ndarray) -> int:
        """Returns the index of the code whose drawings differ least from the paintings."""
        some = slice(0, _COMPARED)
        latents = {
            name: tf.constant(value, tf.float32)
            for name, value in rows_of(self._latents, some).items()
        }
        paintings = from_pixels(self._paintings[some])

        @graph_function
        def distance(code):
            return losses.l1(draw(synthesis, latents, code), paintings)

        distances = [float(distance(tf.constant(code[np.newaxis]))) for code in codes]
        return int(np.argmin(distances))

    @property
    def drawing(self) -> Drawing:
        """The network, which further steps change; its only style is the user's."""
        return Drawing(("style",), self._synthesis, self._codes.numpy())

    def fit(
        self, on_step: Callable[[int, dict[str, float]], None] | None = None
    ) -> dict[str, list[float]]:
        """Trains for the configured number of steps.

        Args:
          on_step: Called after each step with the number of completed steps and the losses of the
            step by name. An exception that it raises ends the training.

        Returns:
          For each loss name, one value per step.

        Raises:
          FloatingPointError: The loss is not finite.
        """
        options = self._options
        random = np.random.default_rng(options.seed)
        history: dict[str, list[float]] = {}
        rows = list(options.swap_rows)
        for step in range(options.steps):
            chosen = random.integers(0, len(self._photos), options.batch_size)
            others = random.integers(0, len(self._photos), options.batch_size)
            latents = rows_of(self._latents, chosen)
            own = latents["inputs"].astype(np.float32)
            own[:, rows] *= options.alpha
            own[:, rows] += (1.0 - options.alpha) * self._latents["inputs"][others][:, rows]
            values = self._step(
                latents | {"inputs": own},
                np.zeros(len(chosen), np.int32),
                self._photos[chosen],
                self._paintings[chosen],
                self._step.random_crop(random),
                options.learning_rate * self._decay(step),
            )
            values = {name: float(value) for name, value in values.items()}
            if not math.isfinite(values["loss"]):
                raise DivergenceError(
                    f"The loss is not finite at step {step + 1}; "
                    f"a learning rate below {options.learning_rate:g} may help."
                )
            for name, value in values.items():
                history.setdefault(name, []).append(value)
            if on_step is not None:
                on_step(step + 1, values)
        return history

    def _decay(self, step: int) -> float:
        progress = (step + 1) / self._options.steps
        if progress <= _DECAY_FROM:
            return 1.0
        return 1.0 - (1.0 - _FINAL_RATE) * (progress - _DECAY_FROM) / (1.0 - _DECAY_FROM)
