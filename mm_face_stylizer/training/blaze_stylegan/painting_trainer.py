"""Few-shot training of a drawing network on paintings in one new style.

The painter paints practice faces in the user's style, and a copy of the preset's drawing network is
trained on those pairs. Training starts from the code of the known style that is most similar to the
paintings. Source: Futschik et al.,
"Real-Time Patch-Based Stylization of Portraits Using Generative Adversarial Network" (2019).
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.errors import DivergenceError
from mm_face_stylizer.models.blaze_stylegan.drawing import Drawing
from mm_face_stylizer.models.blaze_stylegan.generator import copied
from mm_face_stylizer.models.blaze_stylegan.networks import Networks, rows_of
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.painting.painter import Painter
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.training.blaze_stylegan.drawing_training import encoded
from mm_face_stylizer.training.blaze_stylegan.painting_step import (
    PaintingStep,
    PaintingWeights,
)

# Number of practice faces for which the most suitable style picture is chosen.
_CONSULTED = 12
# Threads that paint.
_PAINTING_THREADS = 2
# Number of practice faces on which the known styles are compared with the user's.
_COMPARED = 2
# The learning rate is constant up to the first fraction of the steps, then falls linearly to the
# second fraction of its peak. Without the decay the result would depend on the last batches.
_DECAY_FROM, _FINAL_RATE = 0.6, 0.1
# Name of the user's style in the network that was trained on it.
_STYLE = "style"


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


@dataclasses.dataclass(frozen=True)
class TrainingState:
    """What a training needs to go on where it stopped.

    Attributes:
      photos: The practice faces, uint8 [count, side, side, 3], RGB in [0, 255].
      paintings: Their paintings, of the same form.
      variables: What `PaintingStep.state` returned.
      random: State of the bit generator of NumPy that selects the batches.
      history: For each loss name, one value per step.
      start: See `PaintingTrainer`.
      likeness: See `PaintingTrainer`.
    """

    photos: np.ndarray
    paintings: np.ndarray
    variables: Sequence[np.ndarray]
    random: dict[str, Any]
    history: dict[str, list[float]]
    start: str
    likeness: float

    def drawing(self, like: Drawing) -> Drawing:
        """Returns the trained network without a training step.

        Args:
          like: A drawing network of the same preset; it is not changed.

        Raises:
          ValueError: The variables are of another network.
        """
        synthesis = copied(like.synthesis)
        codes, *weights = self.variables[: 1 + len(synthesis.weights)]
        for variable, value in zip(synthesis.weights, weights, strict=True):
            variable.assign(value)
        return Drawing((_STYLE,), synthesis, codes)


class PaintingTrainer:
    """Trains a copy of a drawing network on one style.

    Attributes:
      picture: Index of the style picture that the practice faces are painted with.
      start: Name of the known style whose code the training starts from.
      likeness: Likeness of the paintings to the photos, in [0, 1]; see `Painting`.
      step: The training step, which another training may use after this one.
      history: For each loss name, one value per step so far.
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
        step: PaintingStep | None = None,
        progress: Callable[[Sequence[Portrait]], Iterable[Portrait]] = iter,
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
          step: A step of `new_step` whose graph is compiled already; a new one if None.
          progress: Wraps the practice faces while they are painted, as tqdm does.
        """
        self.picture = 0
        painter = Painter(styles, likeness, colors, options.seed)
        if len(styles) > 1:
            # Two pictures of a style contradict each other in colors and shapes, and a network
            # that learns from both blurs them.
            self.picture = painter.most_suitable(practice[:_CONSULTED], finds_face)
            painter = painter.only(self.picture)
        self.likeness = painter.likeness
        photos = np.stack([portrait.pixels for portrait in practice])
        # Two threads, since NumPy and OpenCV compute without Python's lock; more would wait for it.
        with concurrent.futures.ThreadPoolExecutor(_PAINTING_THREADS) as pool:
            painted = pool.map(lambda portrait: painter.paint(portrait).picture, practice)
            paintings = np.stack([next(painted) for _ in progress(practice)])
        self._prepare(networks, photos, paintings, options)
        if step is None:
            step = new_step(drawing, options, face_mesh, features)
        else:
            step.begin(drawing.synthesis, drawing.codes[:1], None)
        self.step = step
        self.start = drawing.styles[self._nearest(drawing.codes)]
        known = drawing.only(self.start)
        step.begin(drawing.synthesis, known.codes, known.discriminator)

    @classmethod
    def resumed(
        cls, networks: Networks, state: TrainingState, options: PaintingOptions, step: PaintingStep
    ) -> Self:
        """Goes on with a training.

        Args:
          networks: See `__init__`.
          state: What `state` returned.
          options: See `__init__`.
          step: A step of `new_step`, with the same options.

        Raises:
          ValueError: The state is not one of such a step.
        """
        trainer = cls.__new__(cls)
        trainer.picture, trainer.start, trainer.likeness = 0, state.start, state.likeness
        trainer._prepare(networks, state.photos, state.paintings, options)
        trainer._random.bit_generator.state = state.random
        trainer.history = {name: list(values) for name, values in state.history.items()}
        step.restore(state.variables)
        trainer.step = step
        return trainer

    def _prepare(self, networks, photos, paintings, options: PaintingOptions) -> None:
        self._options = options
        self._photos, self._paintings = photos, paintings
        self._latents = encoded(networks, photos)
        self._random = np.random.default_rng(options.seed)
        self.history: dict[str, list[float]] = {}

    def _nearest(self, codes: np.ndarray) -> int:
        """Returns the index of the code whose drawings differ least from the paintings."""
        some = slice(0, _COMPARED)
        latents, paintings = rows_of(self._latents, some), self._paintings[some]
        return int(np.argmin([self.step.distance(latents, paintings, code) for code in codes]))

    def state(self) -> TrainingState:
        """Returns what the training needs to go on later, as copies."""
        return TrainingState(
            self._photos,
            self._paintings,
            self.step.state(),
            self._random.bit_generator.state,
            {name: list(values) for name, values in self.history.items()},
            self.start,
            self.likeness,
        )

    @property
    def drawing(self) -> Drawing:
        """The network, which further steps change; its only style is the user's."""
        return Drawing((_STYLE,), self.step.synthesis, self.step.codes.numpy())

    def fit(
        self,
        on_step: Callable[[int, dict[str, float]], None] | None = None,
        steps: int | None = None,
    ) -> dict[str, list[float]]:
        """Trains.

        Args:
          on_step: Called after each step with the number of completed steps and the losses of the
            step by name. An exception that it raises ends the training, which another call goes on
            with.
          steps: Number of steps; those of the options if None. After earlier steps the learning
            rate is that of one training of them all.

        Returns:
          `history`.

        Raises:
          FloatingPointError: The loss is not finite.
        """
        options, random = self._options, self._random
        rows = list(options.swap_rows)
        done = len(self.history.get("loss", ()))
        total = done + (options.steps if steps is None else steps)
        for step in range(done, total):
            chosen = random.integers(0, len(self._photos), options.batch_size)
            others = random.integers(0, len(self._photos), options.batch_size)
            latents = rows_of(self._latents, chosen)
            own = latents["inputs"].astype(np.float32)
            own[:, rows] *= options.alpha
            own[:, rows] += (1.0 - options.alpha) * self._latents["inputs"][others][:, rows]
            values = self.step(
                latents | {"inputs": own},
                np.zeros(len(chosen), np.int32),
                self._photos[chosen],
                self._paintings[chosen],
                self.step.random_crop(random),
                options.learning_rate * _decay((step + 1) / total),
            )
            values = {name: float(value) for name, value in values.items()}
            if not math.isfinite(values["loss"]):
                raise DivergenceError(
                    f"The loss is not finite at step {step + 1}; "
                    f"a learning rate below {options.learning_rate:g} may help."
                )
            for name, value in values.items():
                self.history.setdefault(name, []).append(value)
            if on_step is not None:
                on_step(step + 1, values)
        return self.history


def new_step(
    drawing: Drawing,
    options: PaintingOptions,
    face_mesh: FaceMeshFeatures | None = None,
    features: Callable[[tf.Tensor], Sequence[tf.Tensor]] | None = None,
) -> PaintingStep:
    """Makes the training step of one style.

    Args:
      drawing: The preset's drawing network; it is not changed.
      options: Of these, weights, betas and data type are the step's.
      face_mesh: See `PaintingTrainer`.
      features: See `PaintingStep`.
    """
    return PaintingStep(
        copied(drawing.synthesis, conv_dtype=options.conv_dtype),
        tf.Variable(drawing.codes[:1], name="codes"),
        features,
        options.weights,
        options.betas,
        face_mesh,
    )


def _decay(progress: float) -> float:
    if progress <= _DECAY_FROM:
        return 1.0
    return 1.0 - (1.0 - _FINAL_RATE) * (progress - _DECAY_FROM) / (1.0 - _DECAY_FROM)
