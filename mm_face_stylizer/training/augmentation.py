"""Adaptive discriminator augmentation: the discriminator never sees a picture as it is.

With few portraits a discriminator learns them by heart. It cannot if every picture that it sees,
real or generated, is moved, turned, and tinted; and as long as none of that is done always, the
generator does not learn to draw it. Source: Karras et al., "Training Generative Adversarial
Networks with Limited Data" (2020), section 3 and appendix B, of whose classes the first three are
here, which its authors use: pixel blitting, geometric and colour. Unlike theirs, pictures are
sampled bilinearly, without a wavelet filter.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training import distribution
from mm_face_stylizer.training.draws import Draws

_TRANSLATION = 0.125  # of the side, at most for whole pixels, standard deviation for parts of them
_SCALE_OCTAVES, _BRIGHTNESS, _CONTRAST_OCTAVES, _SATURATION_OCTAVES = 0.2, 0.2, 0.5, 1.0
_LUMA_AXIS = np.full(3, 1.0 / np.sqrt(3.0), np.float32)


def augmented(images: tf.Tensor, probability: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Changes each picture by transformations that it draws, each with the same probability.

    Differentiable with respect to the pictures, twice, and without a gradient elsewhere.

    Args:
      images: [batch, side, side, 3] in [-1, 1], static shape.
      probability: Of each transformation, scalar in [0, 1]; at 0 the pictures are as they were.
      draws: Where chance comes from.

    Returns:
      Pictures of the same shape, not clipped.
    """
    count, side = images.shape[0], images.shape[1]
    matrices = _sampling_matrices(count, side, probability, draws)
    return _recoloured(_sampled(images, matrices), probability, draws)


class AugmentationStrength:
    """The probability of augmentation, which follows how sure the discriminator is of portraits.

    Attributes:
      probability: Of each transformation; a variable.
      certainty: Running mean of the sign of the portraits' logits: 0 for a discriminator that
        guesses, 1 for one that knows every portrait; a variable.
    """

    def __init__(self, target: float, images: int):
        """Starts without augmentation.

        Args:
          target: Certainty that is aimed at; the published one is 0.6.
          images: Pictures in which the probability could go from 0 to 1.
        """
        self._target = target
        self._images = images
        self.probability = tf.Variable(0.0, name="augmentation_probability")
        self.certainty = tf.Variable(0.0, name="certainty")

    def update(self, real_logits: tf.Tensor) -> None:
        """Moves the probability by what a batch of portraits' logits, [batch, 1], says."""
        mean = distribution.mean(tf.reduce_mean(tf.sign(real_logits)))
        certainty = self.certainty.assign_add(0.1 * (mean - self.certainty))
        count = real_logits.shape[0] * distribution.replica_count()
        step = tf.sign(certainty - self._target) * count / self._images
        self.probability.assign(tf.clip_by_value(self.probability + step, 0.0, 1.0))


def _sampling_matrices(count, side, probability, draws):
    """From places in the result to places in the picture, [count, 3, 3], in sides from the centre.

    Sides run from -1/2 to 1/2.
    """

    def chosen(value, neutral, chance=probability):
        return tf.where(draws.uniform((count,)) < chance, value, neutral)

    def shift(offsets):
        """Along both axes or not at all; `offsets` [2, count]."""
        x, y = tf.unstack(chosen(offsets, 0.0))
        return affine(one, zero, x, zero, one, y)

    def choice(options):
        return tf.floor(draws.uniform((count,), 0.0, options))

    def octaves():
        return tf.pow(2.0, chosen(_SCALE_OCTAVES * draws.normal((count,)), 0.0))

    zero, one = tf.zeros((count,)), tf.ones((count,))

    def affine(a, b, x, c, d, y):
        rows = [tf.stack(row, axis=-1) for row in ((a, b, x), (c, d, y), (zero, zero, one))]
        return tf.stack(rows, axis=1)

    def turn(angle):
        cosine, sine = tf.cos(angle), tf.sin(angle)
        return affine(cosine, -sine, zero, sine, cosine, zero)

    # Two turns, one before and one after the uneven scaling; together they have the probability.
    chance_of_turn = 1.0 - tf.sqrt(1.0 - probability)

    def any_turn():
        return turn(chosen(draws.uniform((count,), -np.pi, np.pi), 0.0, chance_of_turn))

    mirror = 1.0 - 2.0 * chosen(choice(2.0), 0.0)
    matrix = affine(mirror, zero, zero, zero, one, zero)
    matrix @= turn(chosen(choice(4.0), 0.0) * (np.pi / 2.0))
    whole = draws.uniform((2, count), -_TRANSLATION, _TRANSLATION, batch_axis=1)
    matrix @= shift(tf.round(whole * side) / side)
    scale = octaves()
    matrix @= affine(scale, zero, zero, zero, scale, zero)
    matrix @= any_turn()
    uneven = octaves()
    matrix @= affine(uneven, zero, zero, zero, 1.0 / uneven, zero)
    matrix @= any_turn()
    return matrix @ shift(_TRANSLATION * draws.normal((2, count), batch_axis=1))


def _sampled(images, matrices):
    """Looks pictures up at the places that matrices give, mirrored beyond their edges."""
    count, side = images.shape[0], images.shape[1]
    centres = ((np.arange(side) + 0.5) / side - 0.5).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    grid = np.stack([x.ravel(), y.ravel(), np.ones(side * side, np.float32)])
    places = tf.einsum("bij,jp->bip", matrices[:, :2], tf.constant(grid))
    # In pixels from the edge; pictures and their mirror images alternate.
    places = tf.math.floormod((places + 0.5) * side, 2.0 * side)
    places = tf.clip_by_value(tf.minimum(places, 2.0 * side - places) - 0.5, 0.0, side - 1.0)
    # The rounding of sines must not blur what is not turned.
    places = tf.round(places * 4096.0) / 4096.0
    first = tf.floor(places)
    share = (places - first)[..., tf.newaxis]
    first = tf.cast(first, tf.int32)
    second = tf.minimum(first + 1, side - 1)
    pixels = tf.reshape(images, (count, side * side, 3))

    def at(columns, rows):
        return tf.gather(pixels, rows * side + columns, batch_dims=1)

    above = (1.0 - share[:, 0]) * at(first[:, 0], first[:, 1]) + share[:, 0] * at(
        second[:, 0], first[:, 1]
    )
    below = (1.0 - share[:, 0]) * at(first[:, 0], second[:, 1]) + share[:, 0] * at(
        second[:, 0], second[:, 1]
    )
    return tf.reshape((1.0 - share[:, 1]) * above + share[:, 1] * below, images.shape)


def _recoloured(images, probability, draws):
    """Brightness, contrast, light and dark exchanged, hue, saturation."""
    count = images.shape[0]

    def chosen(value, neutral):
        return tf.where(draws.uniform((count,)) < probability, value, neutral)

    brightness = chosen(_BRIGHTNESS * draws.normal((count,)), 0.0)
    contrast = tf.pow(2.0, chosen(_CONTRAST_OCTAVES * draws.normal((count,)), 0.0))
    inverted = chosen(tf.floor(draws.uniform((count,), 0.0, 2.0)), 0.0)
    angle = chosen(draws.uniform((count,), -np.pi, np.pi), 0.0)
    saturation = tf.pow(2.0, chosen(_SATURATION_OCTAVES * draws.normal((count,)), 0.0))

    def each(value):
        return value[:, tf.newaxis, tf.newaxis]

    # Along the grey axis and across it; hue turns what lies across (Rodrigues' formula).
    grey = np.outer(_LUMA_AXIS, _LUMA_AXIS)
    across = np.eye(3, dtype=np.float32) - grey
    x, y, z = _LUMA_AXIS
    sideways = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], np.float32)
    luma = each(1.0 - 2.0 * inverted) * grey
    chroma = each(saturation) * (each(tf.cos(angle)) * across + each(tf.sin(angle)) * sideways)
    matrix = luma + chroma
    offset = contrast * brightness * (1.0 - 2.0 * inverted)
    changed = tf.einsum("bhwc,bdc->bhwd", images, each(contrast) * matrix)
    return changed + offset[:, tf.newaxis, tf.newaxis, tf.newaxis]
