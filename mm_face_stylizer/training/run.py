"""The training loop that all long trainings share, with checkpoints, logs and sample sheets."""

from __future__ import annotations

import abc
import math
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.errors import DivergenceError
from mm_face_stylizer.training.distribution import Distribution
from mm_face_stylizer.training.training_log import TrainingLog

_CHECKPOINT_SECONDS = 90.0
_LOG_EVERY = 20
_SHEET_EVERY = 400
_SHEET_SIDE = 192
_WARM_UP_STEPS = 100
# Final learning rate as a fraction of the peak. It is high, because stages change what is learned,
# and the last one must still be able to learn.
_FINAL_RATE = 0.15


class TrainingRun(abc.ABC):
    """A resumable training in a folder.

    A run that is killed loses only the steps since its last checkpoint, which is at most 90 seconds
    and one step old. A step must depend on nothing but the tracked variables and the number of the
    step; then a resumed run ends like one that was never interrupted.

    A run made in the scope of a `Distribution` trains on all of its replicas. Only the chief writes
    files, and all workers resume from those.

    Attributes:
      folder: Where checkpoints, sheets, curves and logs go.
      total_steps: Steps of the whole training.
      distribution: The replicas that each step runs on.
    """

    title = "Training"

    def __init__(self, folder: str | os.PathLike, total_steps: int):
        """Makes the folder.

        Args:
          folder: Folder of the run.
          total_steps: Steps of the whole training.
        """
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.total_steps = total_steps
        self.distribution = Distribution.current()
        self._checkpoint_seconds = _CHECKPOINT_SECONDS
        self._step = tf.Variable(0, dtype=tf.int64, name="step")
        self._seconds = tf.Variable(0.0, dtype=tf.float64, name="seconds")

    def _restore(self, **tracked: Any) -> None:
        """Restores the last checkpoint, if there is one.

        Args:
          **tracked: Everything that training changes, by its name in the checkpoint.

        Raises:
          WorkerError: Not all workers see the same checkpoint.
        """
        checkpoint = tf.train.Checkpoint(**tracked, step=self._step, seconds=self._seconds)
        # The checkpoint creates this counter, a variable, on first access, which must be the same
        # moment for all workers.
        checkpoint.save_counter  # noqa: B018
        self._checkpoints = tf.train.CheckpointManager(
            checkpoint, str(self.folder / "checkpoints"), max_to_keep=2
        )
        # TensorFlow names the checkpoint in its index only after both files are complete, so a run
        # killed while saving falls back to the one before.
        self._checkpoints.restore_or_initialize()
        self.distribution.check_same(
            self.step, f"The workers' checkpoints in {self.folder} differ; they are of the steps"
        )
        if self.distribution.is_chief:
            self._log = TrainingLog(self.folder, self.title, self.step)

    @abc.abstractmethod
    def _train(self, step: int) -> Mapping[str, tf.Tensor]:
        """Does a step, counted from 0, and returns its losses."""

    @abc.abstractmethod
    def _sheet(self, step: int) -> ContactSheet:
        """Draws samples that show the networks' quality after a number of steps."""

    @property
    def step(self) -> int:
        """Steps done so far."""
        return int(self._step.numpy())

    @property
    def hours(self) -> float:
        """Hours that these steps took, without those lost in crashes."""
        return float(self._seconds.numpy()) / 3600.0

    def run(self, on_step: Callable[[int, dict[str, float]], None] | None = None) -> None:
        """Trains to the end; the chief saves a checkpoint every 90 seconds.

        All variables have the same values on all replicas, so that saving needs no other worker.

        Args:
          on_step: Called after each step with its number, counted from 1, and its losses.

        Raises:
          FloatingPointError: A loss is not finite.
        """
        saved = counted = time.monotonic()
        history: list[dict[str, float]] = []
        is_chief = self.distribution.is_chief
        with tqdm(
            total=self.total_steps,
            initial=self.step,
            desc=self.title,
            unit="step",
            disable=not is_chief,
        ) as bar:
            while self.step < self.total_steps:
                values = {name: float(value) for name, value in self._train(self.step).items()}
                if not math.isfinite(sum(values.values())):
                    raise DivergenceError(f"A loss is not finite at step {self.step}: {values}.")
                self._step.assign_add(1)
                step, last = self.step, self.step == self.total_steps
                history.append(values)
                bar.update()
                if on_step is not None:
                    on_step(step, values)
                if not is_chief:
                    continue
                if step % _LOG_EVERY == 0 or last:
                    means = self._log.add(step, history)
                    bar.set_postfix({name: f"{value:.3f}" for name, value in means.items()})
                    history = []
                if step % _SHEET_EVERY == 0 or last:
                    sheet = self._sheet(step)
                    path = self.folder / f"samples_{step:06d}.png"
                    sheet.save(path, side=_SHEET_SIDE, overwrite=True)
                    self._log.draw()
                now = time.monotonic()
                self._seconds.assign_add(now - counted)
                counted = now
                if now - saved >= self._checkpoint_seconds or last:
                    self._checkpoints.save(step)
                    saved = time.monotonic()


class Stage(Protocol):
    """A stretch of training with settings of its own."""

    steps: int


def stage_at(stages: Sequence[Stage], step: int) -> tuple[int, int]:
    """Returns the index of the stage that a step belongs to, and the step's number in that stage.

    Raises:
      ValueError: The step comes after the last stage.
    """
    for index, stage in enumerate(stages):
        if step < stage.steps:
            return index, step
        step -= stage.steps
    raise ValueError("The run is over.")


def learning_rate(peak: float, step: int, total_steps: int, step_of_stage: int) -> float:
    """Returns the learning rate: a cosine decay to 15 % of the peak, with a warm-up in each stage.

    Args:
      peak: Peak learning rate.
      step: Number of the step, from 0.
      total_steps: Steps of all stages.
      step_of_stage: Number of the step in its stage, whose first hundred steps are the warm-up.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * step / total_steps))
    decay = _FINAL_RATE + (1 - _FINAL_RATE) * cosine
    return peak * decay * min(1.0, (step_of_stage + 1) / _WARM_UP_STEPS)


def update_average(
    averages: Sequence[tf.Variable], variables: Sequence[tf.Variable], decay: float, step: int
) -> None:
    """Updates exponential moving averages of weights.

    Args:
      averages: The averages.
      variables: The weights, in the same order.
      decay: Decay per step once training is under way. It starts lower, which keeps the untrained
        weights out of the average.
      step: Number of the step, from 0.
    """
    kept = np.float32(min(decay, (step + 1) / (step + 20)))
    for average, variable in zip(averages, variables, strict=True):
        average.assign(kept * average + (1.0 - kept) * variable)


def forget_moments(optimizer: keras.optimizers.Optimizer) -> None:
    """Resets Adam, whose bias correction would be wrong for weights that join late."""
    for variable in optimizer.variables:
        if variable is not optimizer.learning_rate:
            variable.assign(tf.zeros_like(variable))


def step_seed(seed: int, step: int) -> tf.Tensor:
    """Returns the seed of all random numbers of a step's graph, int32 [2], by run seed and step."""
    random = np.random.default_rng((seed, step, 2))
    return tf.constant(random.integers(0, 2**31 - 1, 2, np.int32))
