"""Losses that pretraining and few-shot training share. All are means, so weights carry over.

What a mean is divided by is one over the batches of all replicas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training import distribution

_EPSILON = 1e-3
_PLACE = 8
# Of the aligned portraits that presets learn from, in the middle of the picture.
_USUAL_CONTRAST, _USUAL_LIGHT = 0.33, 0.45
# Of white: the light in which an error is seen no better, however dark the face.
_DARKEST = 0.15
_LEAST_WEIGHT, _MOST_WEIGHT = 0.5, 3.0


def with_colours_of(image: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """The brightness of one picture in the colours of another.

    What a feature network is to judge goes through here first: left to its own, a generator finds
    that purple eyes and pink lips please a face mesh more than right ones. Brightness alone takes
    that freedom away, and the network still sees a natural picture. The mean of the channels and
    not luma, whose gradient darkens green more than blue: purple eyes again.

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
    """Pictures [batch, side, side, channels] at a side that theirs is a multiple of."""
    factor = images.shape[1] // side
    return tf.nn.avg_pool2d(images, factor, factor, "VALID") if factor > 1 else images


def l1(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference."""
    return tf.reduce_mean(tf.abs(a - b))


def brightness(image: tf.Tensor) -> tf.Tensor:
    """A picture in shades of grey, [batch, side, side, 3], for a network that is not to see colour.

    See `with_colours_of` for why.
    """
    return tf.repeat(tf.reduce_mean(image, axis=-1, keepdims=True), 3, axis=-1)


def relief(image: tf.Tensor) -> tf.Tensor:
    """Brightness against its surroundings, [batch, side, side, 1].

    Args:
      image: [batch, side, side, 3], the side a multiple of 16.
    """
    grey = tf.reduce_mean(image, axis=-1, keepdims=True)
    size = image.shape[1] // 16
    surroundings = tf.nn.avg_pool2d(grey, size, size, "VALID")
    return grey - tf.image.resize(surroundings, image.shape[1:3])


def laplacian_bands(image: tf.Tensor, levels: int) -> list[tf.Tensor]:
    """Splits a picture into bands of detail.

    Args:
      image: [batch, side, side, 3].
      levels: Number of bands.

    Returns:
      Finest first: what each halving loses, [batch, side / 2^level, ...], and last what is left.
    """
    bands = []
    for _ in range(levels - 1):
        coarse = tf.nn.avg_pool2d(image, 2, 2, "VALID")
        bands.append(image - tf.image.resize(coarse, image.shape[1:3]))
        image = coarse
    return [*bands, image]


def pyramid_l1(images: Sequence[tf.Tensor], targets: Sequence[tf.Tensor]) -> tf.Tensor:
    """Mean over levels of the mean absolute difference, coarse levels counting as much as fine."""
    return tf.add_n([l1(a, b) for a, b in zip(images, targets, strict=True)]) / len(images)


def colour_error(image: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Mean squared difference of the pictures at a quarter of their side.

    L1 gives up what is rare, for it costs no more the further it is off: green hats turn blue and
    pink hair blond. Squared, one wrong hat outweighs a hundred slightly wrong walls. Shrunken,
    because squared errors of fine detail would only blur it.

    Args:
      image: [batch, side, side, 3].
      target: A picture of the same shape.
    """
    difference = tf.nn.avg_pool2d(image - target, 4, 4, "VALID")
    return tf.reduce_mean(tf.square(difference))


def detail_distance(image: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """How much fine detail of which kind there is where, not where each hair lies.

    Pixel losses are least for the mean of all that might be there, which is smooth. The energy of a
    place says nothing of phase, and so costs nothing to get right. Each kind counts by itself:
    asked for energy alone, a generator makes it of dots and stripes of one pixel, the kind that
    photos have least of.

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
    # Of places alone it is least for the median of what each might have, less than their mean.
    for place in (_PLACE, ours.shape[1]):
        roots = [
            tf.sqrt(tf.nn.avg_pool2d(energies, place, place, "VALID") + _EPSILON**2)
            for energies in (ours, theirs)
        ]
        distances.append(_relative_l1(*(tf.unstack(root, axis=-1) for root in roots)))
    return tf.add_n(distances) / len(distances)


def _changes(image: tf.Tensor) -> tf.Tensor:
    """How brightness changes, [batch, side - 4, side - 4, 5].

    Differences of first and of fourth order along rows and along columns, and of second along both.
    """
    same, first = (0, 0, 1, 0, 0), (0, 0, -1, 1, 0)
    second, fourth = (0, 1, -2, 1, 0), (1, -4, 6, -4, 1)
    kinds = [(first, same), (fourth, same), (same, first), (same, fourth), (second, second)]
    filters = np.stack([np.outer(*kind) for kind in kinds], axis=-1)[:, :, np.newaxis]
    grey = tf.reduce_mean(image, axis=-1, keepdims=True)
    return tf.nn.conv2d(grey, tf.constant(filters, tf.float32), 1, "VALID")


def visibility(portraits: tf.Tensor) -> tf.Tensor:
    """How much the same error is seen in each portrait: more in dark and flat faces.

    Means over pixels count grey levels, and dark skin has few between its lights and shadows: what
    is left wrong there is a larger part of the face. Eyes, and face meshes, see ratios (Weber).

    Args:
      portraits: [batch, side, side, 3] in [-1, 1], aligned: the face is in the middle.

    Returns:
      Factors of their losses, [batch], about 1 for the usual portrait, from 0.5 to 3.
    """
    quarter = portraits.shape[1] // 4
    middle = tf.reduce_mean(portraits[:, quarter:-quarter, quarter:-quarter], axis=-1)
    light = (tf.reduce_mean(middle, axis=(1, 2)) + 1.0) / 2.0
    contrast = tf.math.reduce_std(middle, axis=(1, 2)) + _EPSILON
    factors = _USUAL_CONTRAST / contrast * (_USUAL_LIGHT + _DARKEST) / (light + _DARKEST)
    return tf.clip_by_value(factors, _LEAST_WEIGHT, _MOST_WEIGHT)


def feature_distance(features: Sequence[tf.Tensor], targets: Sequence[tf.Tensor]) -> tf.Tensor:
    """L1 between feature maps, each layer relative to its target's mean magnitude.

    Relative, so that no layer outweighs the others by its scale.

    Args:
      features: Maps [batch, side, side, channels].
      targets: As many maps of the same shapes; no gradient flows into them.

    Returns:
      Scalar, about 1 for unrelated pictures.
    """
    return _relative_l1(features, [tf.stop_gradient(b) for b in targets])


def _relative_l1(values: Sequence[tf.Tensor], targets: Sequence[tf.Tensor]) -> tf.Tensor:
    """Mean over pairs of their L1, as a fraction of the target's mean magnitude."""
    scales = distribution.mean([tf.reduce_mean(tf.abs(b)) for b in targets])
    terms = [l1(a, b) / (s + _EPSILON) for a, b, s in zip(values, targets, scales, strict=True)]
    return tf.add_n(terms) / len(terms)


def gram_matrix(features: tf.Tensor) -> tf.Tensor:
    """Second moments of a feature map over its pixels.

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
    """Non-saturating logistic loss of the discriminator (Goodfellow et al., 2014)."""
    return tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(
        tf.nn.softplus(fake_logits)
    )


def generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Non-saturating logistic loss of the generator (Goodfellow et al., 2014)."""
    return tf.reduce_mean(tf.nn.softplus(-fake_logits))


def masked_l1(a: tf.Tensor, b: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference where `mask` [batch, side, side, 1] is 1."""
    difference = tf.reduce_mean(tf.abs(a - b), axis=-1, keepdims=True)
    return tf.reduce_sum(difference * mask) / (tf.reduce_sum(mask) + _EPSILON)


def gram_distance(features: Sequence[tf.Tensor], target_grams: Sequence[tf.Tensor]) -> tf.Tensor:
    """L1 between Gram matrices, each layer relative to its target's mean magnitude.

    Args:
      features: Maps [batch, side, side, channels].
      target_grams: As many matrices [batch or 1, channels, channels].

    Returns:
      Scalar.
    """
    grams = [gram_matrix(feature_map) for feature_map in features]
    return _relative_l1(grams, [tf.stop_gradient(target) for target in target_grams])


def patch_vectors(image: tf.Tensor, patch: int, stride: int, position_weight: float) -> tf.Tensor:
    """Every patch of a picture as a vector of its pixels and its place.

    The place makes the comparison of two sets of patches local: in aligned faces, skin is then
    compared with skin and background with background, without any segmentation.

    Args:
      image: [batch, side, side, 3].
      patch: Side of a patch in pixels.
      stride: Distance between patches in pixels.
      position_weight: Weight of the two coordinates in [-1, 1] against the pixels.

    Returns:
      [batch, patches, 3 * patch^2 + 2].
    """
    patches = tf.image.extract_patches(
        image, (1, patch, patch, 1), (1, stride, stride, 1), (1, 1, 1, 1), "VALID"
    )
    rows, columns, size = patches.shape[1:]
    pixels = tf.reshape(patches, (-1, rows * columns, size))
    y, x = tf.meshgrid(tf.linspace(-1.0, 1.0, rows), tf.linspace(-1.0, 1.0, columns), indexing="ij")
    places = position_weight * tf.reshape(tf.stack([y, x], axis=-1), (1, rows * columns, 2))
    return tf.concat([pixels, tf.repeat(places, tf.shape(image)[0], axis=0)], axis=-1)


def sliced_wasserstein(a: tf.Tensor, b: tf.Tensor, projections: tf.Tensor) -> tf.Tensor:
    """Sliced 1-Wasserstein distance between two sets of vectors.

    Source: Karras et al., "Progressive Growing of GANs" (2017), section 5; Heitz et al., "A Sliced
    Wasserstein Loss for Neural Texture Synthesis" (2021).

    Args:
      a: [batch, count, size].
      b: [batch, count, size], compared picture by picture; no gradient flows into it.
      projections: [size, slices] of unit columns.

    Returns:
      Scalar.
    """
    b = tf.stop_gradient(b)

    def ordered(vectors):
        # Transposed first: sorting along the last axis needs no copy of its own.
        return tf.sort(tf.einsum("bns,sk->bkn", vectors, projections), axis=-1)

    return l1(ordered(a), ordered(b))


def palette_distance(image: tf.Tensor, palette: tf.Tensor) -> tf.Tensor:
    """How far each pixel is from the nearest colour of a palette, on average.

    Distributions forgive a few pixels of any colour, people do not: a blue eye in a brown engraving
    is the first thing they see.

    Args:
      image: [batch, side, side, 3].
      palette: [batch, colours, 3]; no gradient flows into it.

    Returns:
      Scalar: the mean Euclidean distance to the nearest colour.
    """
    pixels = tf.reshape(image, (tf.shape(image)[0], -1, 3))
    palette = tf.stop_gradient(palette)
    # Chosen without a gradient: that of the distance to the chosen one is the same.
    squared = (
        tf.reduce_sum(tf.square(palette), axis=-1)[:, tf.newaxis]
        - 2.0 * tf.matmul(tf.stop_gradient(pixels), palette, transpose_b=True)
    )  # fmt: skip
    nearest = tf.gather(palette, tf.argmin(squared, axis=-1), batch_dims=1)
    return tf.reduce_mean(tf.norm(pixels - nearest + 1e-6, axis=-1))
