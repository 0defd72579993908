"""Refinement: the kernels of one person are tuned on the teacher's pictures of that person.

The injection network has to guess kernels for anybody. One person's own can be better: nothing has
to be general but the people who wear the face.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.errors import DataError
from mm_face_stylizer.models.face_swap.generator import PersonWeights, SwapGenerator
from mm_face_stylizer.models.face_swap.identity import Identity, IdentityNetwork
from mm_face_stylizer.models.face_swap.networks import PersonNetworks, PersonStylizer
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.pixels import shrunk
from mm_face_stylizer.training.face_swap.swap_losses import Features, SwapLosses, SwapWeights
from mm_face_stylizer.training.face_swap.teacher import LEAST_QUALITY, swap_faces
from mm_face_stylizer.training.run import learning_rate

# No discriminator: it would need more steps than there are.
_WEIGHTS = SwapWeights(adversarial=0.0)
_IDENTITY_EVERY = 3
_LEAST_PICTURES = 4


@dataclasses.dataclass(frozen=True)
class RefinementOptions:
    """Hyperparameters of a refinement.

    Attributes:
      steps: Number of steps.
      batch_size: Pictures per step.
      learning_rate: Peak learning rate of Adam.
      seed: Seed of the batches.
      weights: Weights of the terms of the loss.
    """

    steps: int = 200
    batch_size: int = 4
    learning_rate: float = 2e-3
    seed: int = 0
    weights: SwapWeights = _WEIGHTS


@dataclasses.dataclass(frozen=True, eq=False)
class _Lessons:
    """Photos, the teacher's pictures of the source on them, and masks, all uint8."""

    photos: np.ndarray
    pictures: np.ndarray
    masks: np.ndarray
    quality: np.ndarray


def refine(
    person: PersonNetworks,
    sources: Sequence[Portrait],
    targets: Sequence[Portrait],
    identity: Identity,
    network: IdentityNetwork,
    features: Features | None = None,
    options: RefinementOptions | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> PersonNetworks:
    """Tunes the networks of one person.

    Args:
      person: The networks to start from; they are not changed.
      sources: Photos of the person.
      targets: Other people to wear the face, of the same side as the sources.
      identity: The person's own.
      network: The network that tells people apart.
      features: See `SwapLosses`.
      options: Hyperparameters; the defaults if None.
      on_step: Called after each step with its number, counted from 1, and its losses.

    Returns:
      The tuned networks.

    Raises:
      DataError: The teacher can put the face onto hardly any of the targets.
    """
    options = options or RefinementOptions()
    lessons = _lessons(sources, targets, person.config.image_size)
    keras.utils.set_random_seed(options.seed)
    stylizer = _copied(person)
    variables = stylizer.trainable_variables
    optimizer = keras.optimizers.Adam(1e-3, 0.9, 0.99)
    optimizer.build(variables)
    compare = SwapLosses(options.weights, network, features)
    embedding = tf.constant(identity.mean().embedding)

    def train(photos, pictures, masks, mirrored, with_identity):
        photos, pictures = (tf.cast(x, tf.float32) / 127.5 - 1.0 for x in (photos, pictures))
        masks = tf.cast(masks, tf.float32)[..., tf.newaxis] / 255.0
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            # A mirrored picture shows the mirrored face.
            maps = [tf.where(mirrored, x[:, :, ::-1], x) for x in stylizer.maps]
            people = PersonWeights(stylizer.kernels, maps)
            result = stylizer.generator((photos, people), training=True)
            values = compare(result, pictures, masks, embedding, with_identity)
        gradients = tape.gradient(values["loss"], variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return values

    compiled = graph_function(train)
    random = np.random.default_rng(options.seed)
    shares = lessons.quality / lessons.quality.sum()
    for step in range(options.steps):
        rows = random.choice(len(shares), options.batch_size, p=shares)
        mirrored = random.random() < 0.5
        mirror = slice(None, None, -1 if mirrored else 1)
        batch = (x[rows][:, :, mirror] for x in (lessons.photos, lessons.pictures, lessons.masks))
        optimizer.learning_rate.assign(
            learning_rate(options.learning_rate, step, options.steps, step)
        )
        arrays = (tf.constant(x) for x in (*batch, mirrored))
        values = compiled(*arrays, step % _IDENTITY_EVERY == 0)
        if on_step is not None:
            on_step(step + 1, {name: float(value) for name, value in values.items()})
    return PersonNetworks(person.config, stylizer)


def _copied(person: PersonNetworks) -> PersonStylizer:
    generator = SwapGenerator(person.config, name="generator")
    generator.set_weights(person.stylizer.generator.get_weights())
    return PersonStylizer(generator, person.stylizer.person)


def _lessons(sources: Sequence[Portrait], targets: Sequence[Portrait], side: int) -> _Lessons:
    """Lets the teacher put the best of the sources onto each target, and shrinks the pictures."""
    rows = []
    for target in targets:
        best = max((swap_faces(source, target) for source in sources), key=lambda p: p.quality)
        if best.quality >= LEAST_QUALITY:
            pictures = (shrunk(x, side) for x in (target.pixels, best.picture, best.mask))
            rows.append((*pictures, best.quality))
    if len(rows) < _LEAST_PICTURES:
        raise DataError(
            f"the teacher can put this face onto {len(rows)} of {len(targets)} people only; it "
            "needs a photo from the front, in soft light, without spectacles or hair over the face"
        )
    photos, pictures, masks, quality = (np.stack(column) for column in zip(*rows, strict=True))
    # The person himself has to stay as he is.
    own = np.stack([shrunk(source.pixels, side) for source in sources])
    own_masks = np.stack([shrunk(swap_faces(source, source).mask, side) for source in sources])
    return _Lessons(
        np.concatenate([photos, own]),
        np.concatenate([pictures, own]),
        np.round(np.concatenate([masks, own_masks]) * 255.0).astype(np.uint8),
        np.concatenate([quality, np.ones(len(own))]),
    )
