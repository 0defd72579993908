"""Adaptive discriminator augmentation.

With few portraits, a discriminator overfits. Random shifts, rotations and color changes of all the
pictures that it sees, real or generated, prevent that; and as long as none of them is always
applied, the generator does not learn to draw them. Source: Karras et al., "Training Generative
Adversarial Networks with Limited Data" (2020), section 3 and appendix B, of whose classes the first
three are implemented, which its authors use: pixel blitting, geometric and color. Unlike theirs,
pictures are sampled bilinearly, without a wavelet filter.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training import distribution
from mm_face_stylizer.training.draws import Draws

_TRANSLATION = 0.125  # of the side: limit of integer shifts, standard deviation of others
_SCALE_OCTAVES, _BRIGHTNESS, _CONTRAST_OCTAVES, _SATURATION_OCTAVES = 0.2, 0.2, 0.5, 1.0
_LUMA_AXIS = np.full(3, 1.0 / np.sqrt(3.0), np.float32)


def augmented(images: tf.Tensor, probability: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Applies random transformations to each picture, each with the same probability.

    The result is twice differentiable with respect to the pictures.

    Args:
      images: [batch, side, side, 3] in [-1, 1], static shape.
      probability: Probability of each transformation, scalar in [0, 1]; 0 leaves the pictures as
        they are.
      draws: Random numbers.

    Returns:
      Pictures of the same shape, not clipped.
    """
    count, side = images.shape[0], images.shape[1]
    matrices = _sampling_matrices(count, side, probability, draws)
    return _recolored(_sampled(images, matrices), probability, draws)


class AugmentationStrength:
    """The probability of augmentation, controlled by the discriminator's certainty about portraits.

    Attributes:
      probability: Probability of each transformation; a variable.
      certainty: Running mean of the sign of the portraits' logits: 0 for a discriminator that
        guesses, 1 for one that recognizes every portrait; a variable.
    """

    def __init__(self, target: float, images: int):
        """Starts without augmentation.

        Args:
          target: Certainty to keep; the published value is 0.6.
          images: Pictures within which the probability can go from 0 to 1.
        """
        self._target = target
        self._images = images
        self.probability = tf.Variable(0.0, name="augmentation_probability")
        self.certainty = tf.Variable(0.0, name="certainty")

    def update(self, real_logits: tf.Tensor) -> None:
        """Adjusts the probability to the logits of a batch of portraits, [batch, 1]."""
        mean = distribution.mean(tf.reduce_mean(tf.sign(real_logits)))
        certainty = self.certainty.assign_add(0.1 * (mean - self.certainty))
        count = real_logits.shape[0] * distribution.replica_count()
        step = tf.sign(certainty - self._target) * count / self._images
        self.probability.assign(tf.clip_by_value(self.probability + step, 0.0, 1.0))


def _sampling_matrices(count, side, probability, draws):
    """Draws affine maps from positions in the result to positions in the picture, [count, 3, 3].

    Positions are fractions of the side, from -1/2 to 1/2, relative to the center.
    """

    def chosen(value, neutral, chance=probability):
        return tf.where(draws.uniform((count,)) < chance, value, neutral)

    def shift(offsets):
        """Shifts along both axes or not at all; `offsets` [2, count]."""
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

    # There are two rotations, before and after the anisotropic scaling; `probability` is that of at
    # least one of them.
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
    """Samples pictures at the positions that matrices give; edges are mirrored."""
    count, side = images.shape[0], images.shape[1]
    centers = ((np.arange(side) + 0.5) / side - 0.5).astype(np.float32)
    x, y = np.meshgrid(centers, centers)
    grid = np.stack([x.ravel(), y.ravel(), np.ones(side * side, np.float32)])
    places = tf.einsum("bij,jp->bip", matrices[:, :2], tf.constant(grid))
    # Positions in pixels from the edge; pictures and their mirror images alternate.
    places = tf.math.floormod((places + 0.5) * side, 2.0 * side)
    places = tf.clip_by_value(tf.minimum(places, 2.0 * side - places) - 0.5, 0.0, side - 1.0)
    # Rounding errors of sines must not blur pictures that are not rotated.
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


def _recolored(images, probability, draws):
    """Changes brightness, contrast, hue and saturation, and inverts luma, at random."""
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

    # Parts along the gray axis and orthogonal to it; hue rotates the latter (Rodrigues' formula).
    gray = np.outer(_LUMA_AXIS, _LUMA_AXIS)
    across = np.eye(3, dtype=np.float32) - gray
    x, y, z = _LUMA_AXIS
    sideways = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], np.float32)
    luma = each(1.0 - 2.0 * inverted) * gray
    chroma = each(saturation) * (each(tf.cos(angle)) * across + each(tf.sin(angle)) * sideways)
    matrix = luma + chroma
    offset = contrast * brightness * (1.0 - 2.0 * inverted)
    changed = tf.einsum("bhwc,bdc->bhwd", images, each(contrast) * matrix)
    return changed + offset[:, tf.newaxis, tf.newaxis, tf.newaxis]
