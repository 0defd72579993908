"""A pool of earlier results that a discriminator sees beside the latest ones."""

from __future__ import annotations

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training import distribution


class PicturePool(tf.Module):
    """Keeps results, and returns for each new one either itself or an earlier one.

    Half of the time, a discriminator sees a picture from the pool, whose place the new one takes.
    It so remembers what generators did before. Source: Shrivastava et al., "Learning from Simulated
    and Unsupervised Images through Adversarial Training" (2017), section 2.3.
    """

    def __init__(self, size: int, side: int):
        """Makes an empty pool.

        Args:
          size: Number of pictures; 0 returns new pictures always.
          side: Side of the pictures in pixels.
        """
        super().__init__()
        self._size = size
        shape = (max(1, size), side, side, 3)
        # Of half precision, which has all values of a byte: bytes cannot be sent to other machines.
        self._pictures = tf.Variable(tf.zeros(shape, tf.float16), trainable=False)
        self._count = tf.Variable(0, dtype=tf.int32, trainable=False)

    def exchanged(self, pictures: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Puts pictures in, and returns as many.

        Args:
          pictures: This replica's, float32 [batch, side, side, 3] in [-1, 1].
          draws: Uniform random numbers in [0, 1) for the pictures of all replicas, [all, 2].

        Returns:
          Pictures of the same shape; no gradient flows through them.
        """
        pictures = tf.stop_gradient(pictures)
        if not self._size:
            return pictures
        # All replicas keep the same pool, so that checkpoints have all of it.
        everything = distribution.gathered(pictures)
        stored, count = tf.identity(self._pictures), tf.identity(self._count)
        returned = []
        for index in range(draws.shape[0]):
            new = everything[index]
            is_full = count >= self._size
            chosen = tf.cast(draws[index, 0] * self._size, tf.int32)
            place = tf.where(is_full, chosen, count)
            old = tf.cast(stored[place], tf.float32) / 127.5 - 1.0
            takes_old = is_full & (draws[index, 1] < 0.5)
            returned.append(tf.where(takes_old, old, new))
            if_stored = tf.cast(tf.round((new + 1.0) * 127.5), tf.float16)
            value = tf.where(takes_old | ~is_full, if_stored, stored[place])
            stored = tf.tensor_scatter_nd_update(stored, [[place]], [value])
            count = tf.where(is_full, count, count + 1)
        self._pictures.assign(stored)
        self._count.assign(count)
        return distribution.own_rows(tf.stack(returned))
