"""Random numbers inside a training step's graph."""

from __future__ import annotations

from collections.abc import Sequence

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training.distribution import own_rows, replica_count


class Draws:
    """A stream of random numbers that depends on a seed only.

    The generators are stateless, so that a resumed run draws what the interrupted one would have
    drawn, and that XLA gives the same numbers on every device. All replicas draw numbers for the
    whole batch, and each takes its part.
    """

    def __init__(self, seed: tf.Tensor):
        """Starts the stream.

        Args:
          seed: int32 [2], see `run.step_seed`.
        """
        self._seed = seed
        self._count = 0

    def _next_seed(self) -> tf.Tensor:
        self._count += 1
        return self._seed + tf.constant([0, self._count])

    def normal(self, shape: Sequence[int], batch_axis: int = 0) -> tf.Tensor:
        """Draws standard normal float32 numbers; `shape` is that of this replica's part."""
        whole = _whole(shape, batch_axis)
        return own_rows(tf.random.stateless_normal(whole, self._next_seed()), batch_axis)

    def uniform(
        self, shape: Sequence[int], low: float = 0.0, high: float = 1.0, batch_axis: int = 0
    ) -> tf.Tensor:
        """Draws uniform float32 numbers in [low, high); `shape` is that of this replica's part."""
        whole = _whole(shape, batch_axis)
        drawn = tf.random.stateless_uniform(whole, self._next_seed(), low, high)
        return own_rows(drawn, batch_axis)


def _whole(shape: Sequence[int], batch_axis: int) -> list[int]:
    """Returns the shape of all replicas' parts together."""
    whole = list(shape)
    whole[batch_axis] *= replica_count()
    return whole
