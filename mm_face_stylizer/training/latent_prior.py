"""The mapping network learns which latents are faces.

Latents of portraits are known once the encoder is trained, so the mapping network is fitted to
their distribution directly, without a picture being drawn: seconds instead of hours.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.blaze_stylegan import LATENT_DIM, MappingNetwork
from mm_face_stylizer.training import losses

_COMPONENTS = 160
_BATCH = 512
_PROJECTIONS = 128


def fit_mapping(
    mapping: MappingNetwork, latents: np.ndarray, steps: int = 1000, seed: int = 0
) -> list[float]:
    """Trains the mapping network so that noise maps to latents like the given ones.

    The distance is the sliced Wasserstein distance in the latents' principal components, half of
    the slices whitened: unwhitened ones weigh what changes the picture most, whitened ones keep the
    rest from collapsing.

    Args:
      mapping: The network to train, in place.
      latents: W+ latents of portraits, [count, rows, 512], both rows of a block alike.
      steps: Number of steps.
      seed: Seed of noise, batches and slices.

    Returns:
      The loss of each step.
    """
    distinct = latents[:, ::2].reshape(len(latents), -1).astype(np.float32)
    mean = distinct.mean(axis=0)
    # Right singular vectors of the centred latents, by the small side's eigenvectors.
    _, scales, axes = np.linalg.svd(distinct - mean, full_matrices=False)
    # Components without variance cannot be whitened.
    count = min(_COMPONENTS, int(np.sum(scales > 1e-2 * scales[0])))
    axes, deviations = axes[:count], scales[:count] / np.sqrt(len(distinct))
    coordinates = (distinct - mean) @ axes.T
    natural = deviations / deviations[0]
    mapping.set_mean(mean)
    variables = mapping.trainable_variables
    optimizer = keras.optimizers.Adam(1e-3, 0.9, 0.99)
    optimizer.build(variables)
    projector = tf.constant(axes.T)

    @tf.function
    def train_step(noise, real, slices, rate):
        optimizer.learning_rate.assign(rate)
        with tf.GradientTape() as tape:
            mapped = mapping([noise, tf.zeros((_BATCH, 0))])[:, ::2]
            mapped = tf.reshape(mapped, (_BATCH, -1)) - mean
            along = tf.matmul(mapped, projector)
            # What lies outside the components has no counterpart and must vanish.
            outside = tf.reduce_mean(tf.square(mapped - tf.matmul(along, projector, False, True)))
            distance = losses.sliced_wasserstein(
                (along / deviations)[tf.newaxis], (real / deviations)[tf.newaxis], slices
            )
            loss = distance + outside / float(np.mean(deviations**2))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return distance

    random = np.random.default_rng(seed)
    history = []
    for step in range(steps):
        slices = random.standard_normal((count, _PROJECTIONS))
        slices[:, ::2] *= natural[:, np.newaxis]
        slices /= np.linalg.norm(slices, axis=0)
        chosen = random.integers(0, len(coordinates), _BATCH)
        rate = 1e-3 * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / steps)))
        loss = train_step(
            random.standard_normal((_BATCH, LATENT_DIM)).astype(np.float32),
            coordinates[chosen],
            slices.astype(np.float32),
            np.float32(rate),
        )
        history.append(float(loss))
    return history
