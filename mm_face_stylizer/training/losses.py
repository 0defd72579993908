"""Losses that the trainings share.

All are means, so that their weights do not depend on sizes. Where a loss is relative to a mean over
the batch, that is a mean over the batches of all replicas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training import distribution

_EPSILON = 1e-3
# Side in pixels of the places whose detail is compared.
_PLACE = 8
# Contrast and brightness, in the middle of the picture, of the portraits that presets learn from.
_USUAL_CONTRAST, _USUAL_LIGHT = 0.33, 0.45
# Brightness, as a fraction of white, below which errors do not become more visible.
_DARKEST = 0.15
_LEAST_WEIGHT, _MOST_WEIGHT = 0.5, 3.0


def with_colors_of(image: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """Combines the brightness of one picture with the colors of another.

    It is applied before a feature network. Otherwise, a generator learns that purple eyes and pink
    lips match the features of a face mesh better than correct ones; with this, it controls only the
    brightness, while the network still gets a natural picture. Brightness is the mean of the
    channels, because the gradient of luma darkens green more than blue, and eyes become purple
    again.

    Args:
      image: [batch, side, side, 3]; the gradient reaches its brightness.
      reference: A picture of the same shape; no gradient flows into it.

    Returns:
      [batch, side, side, 3].
    """
    reference = tf.stop_gradient(reference)
    return reference + tf.reduce_mean(image - reference, axis=-1, keepdims=True)


def image_pyramid(image: tf.Tensor, levels: int) -> list[tf.Tensor]:
    """Halves a picture again and again by averaging.

    Args:
      image: [batch, side, side, channels].
      levels: Number of pictures to return.

    Returns:
      Pictures, coarsest first, `image` itself last.
    """
    pyramid = [image]
    for _ in range(levels - 1):
        pyramid.append(tf.nn.avg_pool2d(pyramid[-1], 2, 2, "SAME"))
    return pyramid[::-1]


def shrunken(images: tf.Tensor, side: int) -> tf.Tensor:
    """Downsamples pictures [batch, side, side, channels] to a side that divides theirs."""
    factor = images.shape[1] // side
    return tf.nn.avg_pool2d(images, factor, factor, "VALID") if factor > 1 else images


def l1(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Computes the mean absolute difference."""
    return tf.reduce_mean(tf.abs(a - b))


def brightness(image: tf.Tensor) -> tf.Tensor:
    """Converts a picture to gray, [batch, side, side, 3], for features that must ignore color.

    `with_colors_of` says why.
    """
    return tf.repeat(tf.reduce_mean(image, axis=-1, keepdims=True), 3, axis=-1)


def pyramid_l1(images: Sequence[tf.Tensor], targets: Sequence[tf.Tensor]) -> tf.Tensor:
    """Computes the mean over levels of the mean absolute difference, with equal weights."""
    return tf.add_n([l1(a, b) for a, b in zip(images, targets, strict=True)]) / len(images)


def color_error(image: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Computes the mean squared difference of pictures downsampled to a quarter of their side.

    L1 neglects rare colors, because its gradient does not grow with the error: green hats become
    blue, and pink hair blond. With squared errors, one wrong hat outweighs a hundred slightly wrong
    walls. The pictures are downsampled, because squared errors of fine detail would only blur it.

    Args:
      image: [batch, side, side, 3].
      target: A picture of the same shape.
    """
    difference = tf.nn.avg_pool2d(image - target, 4, 4, "VALID")
    return tf.reduce_mean(tf.square(difference))


def detail_distance(image: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Compares the amount of fine detail of each kind at each place, not the position of each hair.

    Pixel losses are minimal for the mean of all plausible pictures, which is smooth. The energy of
    detail does not depend on its phase, so that a plausible picture can be right. Each kind of
    detail is compared by itself: for the total energy, a generator would draw dots and stripes of
    one pixel, the kind that photos have least of.

    Args:
      image: [batch, side, side, 3].
      target: A picture of the same shape; no gradient flows into it.

    Returns:
      Scalar: the mean absolute difference of the root mean square of 8 px places, and of pictures
      as wholes, relative to the target's mean, over slow and fast changes of brightness along rows,
      along columns and along both. 1 for a picture without detail.
    """
    ours, theirs = (
        tf.square(changes) for changes in (_changes(image), _changes(tf.stop_gradient(target)))
    )
    distances = []
    # The distance of places alone is minimal for the median of what each might have, which is
    # less than the mean.
    for place in (_PLACE, ours.shape[1]):
        roots = [
            tf.sqrt(tf.nn.avg_pool2d(energies, place, place, "VALID") + _EPSILON**2)
            for energies in (ours, theirs)
        ]
        distances.append(_relative_l1(*(tf.unstack(root, axis=-1) for root in roots)))
    return tf.add_n(distances) / len(distances)


def _changes(image: tf.Tensor) -> tf.Tensor:
    """Computes differences of brightness, [batch, side - 4, side - 4, 5].

    They are of first and of fourth order along rows and along columns, and of second along both.
    """
    same, first = (0, 0, 1, 0, 0), (0, 0, -1, 1, 0)
    second, fourth = (0, 1, -2, 1, 0), (1, -4, 6, -4, 1)
    kinds = [(first, same), (fourth, same), (same, first), (same, fourth), (second, second)]
    filters = np.stack([np.outer(*kind) for kind in kinds], axis=-1)[:, :, np.newaxis]
    gray = tf.reduce_mean(image, axis=-1, keepdims=True)
    return tf.nn.conv2d(gray, tf.constant(filters, tf.float32), 1, "VALID")


def visibility(portraits: tf.Tensor) -> tf.Tensor:
    """Computes how visible an error of the same size is in each portrait.

    Pixel losses measure differences of gray levels, but eyes and face-mesh networks respond to
    ratios (Weber's law). In a dark or low-contrast face the same difference is a larger part of the
    range between lights and shadows, so the factor is higher there.

    Args:
      portraits: [batch, side, side, 3] in [-1, 1], aligned: the face is in the middle.

    Returns:
      Factors for the portraits' losses, [batch], from 0.5 to 3; about 1 for a typical portrait.
    """
    quarter = portraits.shape[1] // 4
    middle = tf.reduce_mean(portraits[:, quarter:-quarter, quarter:-quarter], axis=-1)
    light = (tf.reduce_mean(middle, axis=(1, 2)) + 1.0) / 2.0
    contrast = tf.math.reduce_std(middle, axis=(1, 2)) + _EPSILON
    factors = _USUAL_CONTRAST / contrast * (_USUAL_LIGHT + _DARKEST) / (light + _DARKEST)
    return tf.clip_by_value(factors, _LEAST_WEIGHT, _MOST_WEIGHT)


def feature_distance(features: Sequence[tf.Tensor], targets: Sequence[tf.Tensor]) -> tf.Tensor:
    """Computes L1 between feature maps, each layer relative to its target's mean magnitude.

    It is relative so that no layer outweighs the others by its scale.

    Args:
      features: Maps [batch, side, side, channels].
      targets: As many maps of the same shapes; no gradient flows into them.

    Returns:
      Scalar, about 1 for unrelated pictures.
    """
    return _relative_l1(features, [tf.stop_gradient(b) for b in targets])


def _relative_l1(values: Sequence[tf.Tensor], targets: Sequence[tf.Tensor]) -> tf.Tensor:
    """Computes the mean over pairs of L1 divided by the target's mean magnitude."""
    scales = distribution.mean([tf.reduce_mean(tf.abs(b)) for b in targets])
    terms = [l1(a, b) / (s + _EPSILON) for a, b, s in zip(values, targets, scales, strict=True)]
    return tf.add_n(terms) / len(terms)


def gram_matrix(features: tf.Tensor) -> tf.Tensor:
    """Computes second moments of a feature map over its pixels.

    Source: Gatys et al., "A Neural Algorithm of Artistic Style" (2015).

    Args:
      features: [batch, side, side, channels].

    Returns:
      [batch, channels, channels].
    """
    channels = features.shape[-1]
    flat = tf.reshape(features, (tf.shape(features)[0], -1, channels))
    return tf.matmul(flat, flat, transpose_a=True) / tf.cast(tf.shape(flat)[1], flat.dtype)


def discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Computes the non-saturating logistic loss of the discriminator (Goodfellow et al., 2014)."""
    return tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(
        tf.nn.softplus(fake_logits)
    )


def generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Computes the non-saturating logistic loss of the generator (Goodfellow et al., 2014)."""
    return tf.reduce_mean(tf.nn.softplus(-fake_logits))


def gram_distance(features: Sequence[tf.Tensor], target_grams: Sequence[tf.Tensor]) -> tf.Tensor:
    """Computes L1 between Gram matrices, each layer relative to its target's mean magnitude.

    Args:
      features: Maps [batch, side, side, channels].
      target_grams: As many matrices [batch or 1, channels, channels].

    Returns:
      Scalar.
    """
    grams = [gram_matrix(feature_map) for feature_map in features]
    return _relative_l1(grams, [tf.stop_gradient(target) for target in target_grams])
