"""The loop that every training has: steps, checkpoints, log, sample sheets, resuming."""

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
from mm_face_stylizer.training.distribution import Distribution
from mm_face_stylizer.training.training_log import TrainingLog

_CHECKPOINT_SECONDS = 90.0
_LOG_EVERY = 20
_SHEET_EVERY = 400
_SHEET_SIDE = 192
_WARM_UP_STEPS = 100
# Of the peak rate: stages change what is learned, and the last one still has to learn.
_FINAL_RATE = 0.15


class TrainingRun(abc.ABC):
    """A resumable training in a folder.

    Killed at any moment, it loses the steps since its last checkpoint, which is at most 90 seconds
    and one step old. What a step does must follow from the tracked variables and the step's number
    alone; then a resumed run ends like one that was never interrupted.

    Made in the scope of a `Distribution`, it trains on all its replicas. The chief alone writes,
    and all workers resume from what it wrote.

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
          **tracked: Everything that training changes; the names are the checkpoint's.

        Raises:
          WorkerError: Not all workers see the same checkpoint.
        """
        checkpoint = tf.train.Checkpoint(**tracked, step=self._step, seconds=self._seconds)
        # Makes this counter, a variable, where all workers make it.
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
        """Draws what the networks can do after a number of steps."""

    @property
    def step(self) -> int:
        """Steps done so far."""
        return int(self._step.numpy())

    @property
    def hours(self) -> float:
        """Hours that these steps took, those between a checkpoint and a crash left out."""
        return float(self._seconds.numpy()) / 3600.0

    def run(self, on_step: Callable[[int, dict[str, float]], None] | None = None) -> None:
        """Trains to the end; the chief saves a checkpoint every 90 seconds.

        No variable has a value of its own on some replica, so saving needs no other worker.

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
                    raise FloatingPointError(f"A loss is not finite at step {self.step}: {values}.")
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
    """Index of the stage that a step belongs to, and the step's number inside it.

    Raises:
      ValueError: The step comes after the last stage.
    """
    for index, stage in enumerate(stages):
        if step < stage.steps:
            return index, step
        step -= stage.steps
    raise ValueError("The run is over.")


def learning_rate(peak: float, step: int, total_steps: int, step_of_stage: int) -> float:
    """The rate of a step: down a cosine to 15 % of the peak, and up again within each stage.

    Args:
      peak: Peak learning rate.
      step: Number of the step, from 0.
      total_steps: Steps of all stages.
      step_of_stage: Number of the step in its stage, whose first hundred warm up.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * step / total_steps))
    decay = _FINAL_RATE + (1 - _FINAL_RATE) * cosine
    return peak * decay * min(1.0, (step_of_stage + 1) / _WARM_UP_STEPS)


def forget_moments(optimizer: keras.optimizers.Optimizer) -> None:
    """Starts Adam anew: its bias correction is wrong for weights that join late."""
    for variable in optimizer.variables:
        if variable is not optimizer.learning_rate:
            variable.assign(tf.zeros_like(variable))


def step_seed(seed: int, step: int) -> tf.Tensor:
    """Seed of all that a step's graph draws, int32 [2]: the same for the same run and step."""
    random = np.random.default_rng((seed, step, 2))
    return tf.constant(random.integers(0, 2**31 - 1, 2, np.int32))
