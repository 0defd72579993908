"""Adversarial training against a patch discriminator."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.patch_discriminator import Discriminator
from mm_face_stylizer.training import distribution, losses


class Adversary:
    """A discriminator with its optimizer, applied to random crops.

    Attributes:
      optimizer: Adam of the discriminator.
    """

    def __init__(self, discriminator: Discriminator, image_size: int, learning_rate: float):
        """Makes the optimizer.

        Args:
          discriminator: The network to train.
          image_size: Side in pixels of the pictures; crops are half as wide.
          learning_rate: Learning rate of Adam.
        """
        self._discriminator = discriminator
        self._side = image_size // 2
        self.optimizer = keras.optimizers.Adam(learning_rate, 0.0, 0.99)
        self.optimizer.build(discriminator.trainable_variables)

    def random_crop(self, random: np.random.Generator) -> tf.Tensor:
        """Draws the first row and column of a crop, int32 [2]."""
        return tf.constant(random.integers(0, self._side + 1, 2).astype(np.int32))

    def train(
        self, fakes: tf.Tensor, reals: tf.Tensor, crop: tf.Tensor, other_gradient: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Trains the discriminator on the same crop of all pictures.

        Args:
          fakes: Pictures that a generator made, [batch, image_size, image_size, 3].
          reals: As many real pictures.
          crop: As `random_crop` draws it.
          other_gradient: Gradient of all other losses with respect to `fakes`.

        Returns:
          The gradient of the generator's loss with respect to `fakes`, scaled to the norm of
          `other_gradient`, and the losses by name.
        """

        def cropped(images):
            rows = slice(crop[0], crop[0] + self._side)
            columns = slice(crop[1], crop[1] + self._side)
            return tf.ensure_shape(images[:, rows, columns], (None, self._side, self._side, 3))

        with tf.GradientTape() as tape:
            tape.watch(fakes)
            generator = losses.generator_loss(self._discriminator(cropped(fakes)))
        gradient = tape.gradient(generator, fakes)
        gradient *= distribution.norm(other_gradient) / (distribution.norm(gradient) + 1e-12)

        variables = self._discriminator.trainable_variables
        with tf.GradientTape() as tape:
            discriminator = losses.discriminator_loss(
                self._discriminator(cropped(reals)),
                self._discriminator(cropped(tf.stop_gradient(fakes))),
            )
        distribution.apply_gradients(
            self.optimizer, tape.gradient(discriminator, variables), variables
        )
        return gradient, {"generator": generator, "discriminator": discriminator}
