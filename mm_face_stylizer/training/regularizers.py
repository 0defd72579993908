"""Regularizers of adversarial training: R1, path lengths, style mixing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training.draws import Draws


def gradient_penalty(
    discriminator: Callable[[Any], tf.Tensor], reals: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes R1, the squared gradient of the discriminator at real pictures.

    Source: Mescheder et al., "Which Training Methods for GANs do actually Converge?" (2018).

    Args:
      discriminator: Maps pictures, or maps by side, to logits.
      reals: [batch, side, side, 3], or a dictionary of maps with as many axes.

    Returns:
      The logits, and the penalty, a mean over the batch.
    """
    with tf.GradientTape() as tape:
        tape.watch(reals)
        logits = discriminator(reals)
        total = tf.reduce_sum(logits)
    gradients = tf.nest.flatten(tape.gradient(total, reals))
    squared = [tf.reduce_sum(tf.square(gradient), axis=(1, 2, 3)) for gradient in gradients]
    return logits, tf.reduce_mean(tf.add_n(squared))


def path_lengths(
    synthesis: Callable[[tf.Tensor], tf.Tensor], latents: tf.Tensor, draws: Draws
) -> tf.Tensor:
    """Computes path lengths: how much pictures change with their latent, in a random direction.

    Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), section
    3.2.

    Args:
      synthesis: Maps latents to pictures [batch, side, side, 3].
      latents: [batch, rows, 512].
      draws: Random numbers for the directions.

    Returns:
      [batch].
    """
    with tf.GradientTape() as tape:
        tape.watch(latents)
        images = synthesis(latents)
        # This scale makes lengths independent of the number of pixels.
        directions = draws.normal(images.shape) / float(images.shape[1])
        total = tf.reduce_sum(images * directions)
    gradient = tape.gradient(total, latents)
    return tf.sqrt(tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=2), axis=1) + 1e-12)


def mixed_rows(first: tf.Tensor, second: tf.Tensor, probability: float, draws: Draws) -> tf.Tensor:
    """Mixes styles: replaces the rows of some latents, from a random row on, by those of others.

    Source: Karras et al., "A Style-Based Generator Architecture for Generative Adversarial
    Networks" (2019), section 3.1.

    Args:
      first: Latents [batch, rows, 512], static shape.
      second: As many.
      probability: Probability that a latent is mixed.
      draws: Random numbers.

    Returns:
      [batch, rows, 512]; the first row is always that of `first`.
    """
    count, rows, _ = first.shape
    start = tf.floor(draws.uniform((count, 1), 1.0, float(rows)))
    start = tf.where(draws.uniform((count, 1)) < probability, start, float(rows))
    kept = tf.range(float(rows))[tf.newaxis] < start
    return tf.where(kept[..., tf.newaxis], first, second)
