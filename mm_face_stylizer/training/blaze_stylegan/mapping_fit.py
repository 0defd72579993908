"""Fits the mapping network to the latents of portraits.

Once the encoder is trained, the latents of portraits are known, and the mapping network is fitted
to them directly, without drawing pictures: in minutes instead of hours. Matching the distributions
by a sliced distance gave latents of the right spread, but faces of impossible colors. Here every
portrait instead pulls its nearest sample closer, so that samples lie where portraits are.
"""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.models.mapping import LATENT_DIM, MappingNetwork

_COMPONENTS = 64
_BATCH = 512
_CANDIDATES = 4096
_STEPS_PER_ROUND = 8


def fit_mapping(
    mapping: MappingNetwork, latents: np.ndarray, rounds: int = 120, seed: int = 0
) -> list[float]:
    """Trains the mapping network so that noise maps to latents like the given ones.

    Source: Li and Malik, "Implicit Maximum Likelihood Estimation" (2018). In every round a pool of
    noise is mapped, the sample nearest to each portrait of a subset is found in the space of the
    principal components, and some steps move those samples towards their portraits.

    Args:
      mapping: The network to train, in place.
      latents: W+ latents of portraits, [count, rows, 512]; both rows of a block are equal.
      rounds: Number of rounds.
      seed: Seed of noise and subsets.

    Returns:
      The loss of each round: the mean squared distance as a fraction of the latents' variance.
    """
    distinct = latents[:, ::2].reshape(len(latents), -1).astype(np.float32)
    mean = distinct.mean(axis=0)
    variance = float(np.square(distinct - mean).sum(axis=1).mean())
    axes = np.linalg.svd(distinct - mean, full_matrices=False)[2][:_COMPONENTS].T
    coordinates = (distinct - mean) @ axes
    mapping.set_mean(mean)
    variables = mapping.trainable_variables
    optimizer = keras.optimizers.Adam(1e-3, 0.9, 0.99)
    optimizer.build(variables)

    def mapped(noise):
        rows = mapping([noise, tf.zeros((tf.shape(noise)[0], 0))])[:, ::2]
        return tf.reshape(rows, (tf.shape(noise)[0], distinct.shape[1]))

    @graph_function
    def place(noise):
        return tf.matmul(mapped(noise) - mean, axes)

    @graph_function
    def train_step(noise, wanted, rate):
        optimizer.learning_rate.assign(rate)
        with tf.GradientTape() as tape:
            distance = tf.reduce_sum(tf.square(mapped(noise) - wanted), axis=1)
            loss = tf.reduce_mean(distance) / variance
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    random = np.random.default_rng(seed)
    history = []
    for index in range(rounds):
        rate = np.float32(1e-3 * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * index / rounds))))
        pool = random.standard_normal((_CANDIDATES, LATENT_DIM)).astype(np.float32)
        places = place(tf.constant(pool)).numpy()
        chosen = random.integers(0, len(distinct), _STEPS_PER_ROUND * _BATCH)
        nearest = _nearest(coordinates[chosen], places)
        values = [
            float(train_step(pool[nearest[part]], distinct[chosen[part]], rate))
            for part in np.array_split(np.arange(len(chosen)), _STEPS_PER_ROUND)
        ]
        history.append(float(np.mean(values)))
    return history


def _nearest(points: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Returns the index of each point's nearest candidate."""
    # |a - b|^2 without |a|^2, which is the same for all candidates.
    return np.argmin(np.square(candidates).sum(axis=1) - 2.0 * points @ candidates.T, axis=1)
