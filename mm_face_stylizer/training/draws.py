"""Random numbers inside a training step's graph."""

from __future__ import annotations

from collections.abc import Sequence

from mm_face_stylizer._keras import tf


class Draws:
    """Draws numbers that follow from a seed, each time other ones.

    Stateless, so that a resumed run draws what the interrupted one would have drawn, and that XLA
    compiles the step to the same numbers wherever it runs.
    """

    def __init__(self, seed: tf.Tensor):
        """Starts.

        Args:
          seed: int32 [2], see `run.step_seed`.
        """
        self._seed = seed
        self._count = 0

    def _next_seed(self) -> tf.Tensor:
        self._count += 1
        return self._seed + tf.constant([0, self._count])

    def normal(self, shape: Sequence[int]) -> tf.Tensor:
        """Standard normal numbers, float32."""
        return tf.random.stateless_normal(shape, self._next_seed())

    def uniform(self, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        """Numbers evenly from [low, high), float32."""
        return tf.random.stateless_uniform(shape, self._next_seed(), low, high)
