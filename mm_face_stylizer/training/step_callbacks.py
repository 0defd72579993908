"""Calls Keras callbacks from a training that is not Keras' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mm_face_stylizer._keras import keras
from mm_face_stylizer.errors import InvalidArgumentError

# They set the learning rate of `model.optimizer`, and here is none: the rate has its schedule.
_OF_THE_RATE = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def check_callbacks(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Checks that all callbacks are of tf_keras, and leave the learning rate alone.

    Raises:
      TypeError: An element is no callback of tf_keras.
      ValueError: A callback sets the learning rate.
    """
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                f"callbacks has {callback!r}; it must be a list of "
                "tf_keras.callbacks.Callback (Keras 2)"
            )
        if isinstance(callback, _OF_THE_RATE):
            raise InvalidArgumentError(
                f"callbacks has a {type(callback).__name__}; the learning rate follows a schedule"
                " of its own, from the one in HParams"
            )


class StepCallbacks:
    """Calls callbacks of Keras; as in Model Maker, a step is an epoch of one batch."""

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback], model: keras.Model, steps: int
    ):
        """Tells the callbacks what is trained.

        Args:
          callbacks: The callbacks.
          model: The network that is trained, which they know as `model`.
          steps: Number of the last step.

        Raises:
          TypeError: An element is no callback of tf_keras.
        """
        check_callbacks(callbacks)
        self._model = model
        self._list = keras.callbacks.CallbackList(
            list(callbacks), model=model, epochs=steps, steps=1, verbose=0
        )

    def begin(self, step: int) -> None:
        """Begins the training with a step, counted from 0."""
        # The network may have been trained before.
        self._model.stop_training = False
        self._list.on_train_begin()
        self._next(step)

    def end_step(self, step: int, losses: Mapping[str, float]) -> bool:
        """Ends a step, and begins the next one.

        Args:
          step: Number of completed steps.
          losses: The losses of the step by name, which the callbacks get as logs.

        Returns:
          Whether a callback has asked to stop the training, by `model.stop_training`.
        """
        self._list.on_train_batch_end(0, dict(losses))
        self._list.on_epoch_end(step - 1, dict(losses))
        stops = bool(self._model.stop_training)
        if not stops:
            self._next(step)
        return stops

    def end(self) -> None:
        """Ends the training."""
        self._list.on_train_end()

    def _next(self, step: int) -> None:
        self._list.on_epoch_begin(step)
        self._list.on_train_batch_begin(0)
