"""Few-shot training: the synthesis network learns a style from one to ten pictures of it.

The encoder stays frozen. Every step has two halves. One is the published recipe: it reconstructs
the style pictures from their own latents, some rows of which are mixed with those of random faces.
The other half tunes faces that the preset generates: deep face-mesh features and landmarks, which
identify a face, must stay; colors and strokes must become those of the painting by analogy, and
shallow statistics those of the style.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.errors import DivergenceError, InvalidArgumentError
from mm_face_stylizer.models.blaze_stylegan.generator import Synthesis, copied
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.models.weights import named_weights
from mm_face_stylizer.training import losses
from mm_face_stylizer.training.blaze_stylegan.analogies import ANALOGY_SIDE
from mm_face_stylizer.training.blaze_stylegan.face_bank import FaceBank
from mm_face_stylizer.training.blaze_stylegan.shifts import shifted
from mm_face_stylizer.training.blaze_stylegan.style_bank import (
    DEEP,
    SHALLOW,
    StyleBank,
    mean_features,
)

_PATCH, _PROJECTIONS = 5, 48
# For pictures of up to 256 px, strokes are compared at full, half and quarter size. Larger ones
# have additional finer bands, with as many patches each.
_BANDS, _PATCH_STRIDE, _BAND_SIDE = 4, 3, 256
# Added to the spread of a band, so that the noise of a style without detail there is not copied.
_LEAST_SPREAD = 0.02
# Fraction of the side, at each edge, that statistics must not change: otherwise a dark frame would
# be the cheapest way to get as many strong lines as a drawing has.
_MARGIN = 1 / 24
# The learning rate decays in the last part of a run; otherwise the result would depend on which
# batch came last.
_DECAY_FROM = 0.6
_FINAL_RATE = 0.1
_STRIPS = 4


@dataclasses.dataclass(frozen=True)
class FewShotWeights:
    """Weights of the loss terms that Model Maker's options do not have.

    `ModelOptions.perception_loss_weight` scales them on top: `l1` the terms of pixels, `content`
    those that keep a face, `style` those that bring a style, each relative to its default.

    Attributes:
      style_l1: Pixels of the reconstructed style picture.
      style_features: Face-mesh features of the reconstructed style picture.
      style_gram: Gram matrices of its shallow features.
      content: Deep face-mesh features of the faces, compared with those before tuning.
      landmarks: Landmarks of the faces, compared with those before tuning.
      face_gram: Gram matrices of the faces, compared with the style's.
      patches: Sliced Wasserstein distance of patches to those of the faces painted by analogy.
      analogy: Coarse colors of the faces, compared with those of the faces painted by analogy.
      relief: `losses.relief` in eyes, brows and mouths of the faces, compared with that before
        tuning: statistics alone would not keep a gaze or a smile.
      palette: Distance of the faces' colors to the nearest ones in the style.
      position: Weight of a patch's position relative to its pixels.
    """

    style_l1: float = 1.0
    style_features: float = 1.0
    style_gram: float = 0.25
    content: float = 0.5
    landmarks: float = 20.0
    face_gram: float = 1.0
    patches: float = 7.5
    analogy: float = 5.0
    relief: float = 3.0
    palette: float = 2.0
    position: float = 12.0

    def scaled(self, l1: float, content: float, style: float) -> FewShotWeights:
        """Scales the terms of pixels, those that keep a face, and those that bring a style."""
        return FewShotWeights(
            style_l1=l1 * self.style_l1,
            style_features=content * self.style_features,
            style_gram=style * self.style_gram,
            content=content * self.content,
            landmarks=content * self.landmarks,
            face_gram=style * self.face_gram,
            patches=style * self.patches,
            analogy=style * self.analogy,
            relief=content * self.relief,
            palette=style * self.palette,
            position=self.position,
        )


@dataclasses.dataclass(frozen=True)
class FewShotOptions:
    """What a few-shot run depends on, apart from networks and pictures.

    Attributes:
      steps: Number of steps.
      batch_size: Pictures a step, half of them style pictures (at least one), half faces.
      learning_rate: Learning rate of Adam.
      beta_1: Adam's decay of the first moment.
      beta_2: Adam's decay of the second moment.
      swap_rows: Rows of the latent in which style and random faces are mixed.
      alpha: Fraction of the style's latent in those rows.
      adversarial_weight: Weight of the distance in the discriminator's features.
      weights: Weights of all other terms.
      bank_size: Number of generated faces; at most as many as all steps use are generated.
      seed: Seed of faces, batches and projections.
    """

    steps: int = 100
    batch_size: int = 4
    learning_rate: float = 8e-4
    beta_1: float = 0.0
    beta_2: float = 0.99
    swap_rows: Sequence[int] = (4, 5, 10, 11)
    alpha: float = 0.1
    adversarial_weight: float = 0.2
    weights: FewShotWeights = FewShotWeights()
    bank_size: int = 32
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class FewShotResult:
    """A tuned synthesis network.

    Attributes:
      synthesis: The network.
      history: Each loss by name, one value a step.
    """

    synthesis: Synthesis
    history: dict[str, list[float]]


class FewShotTrainer:
    """Tunes a copy of a preset's synthesis network."""

    def __init__(self, networks: Networks, face_mesh: FaceMeshFeatures, options: FewShotOptions):
        """Prepares a run; the networks are not changed by it.

        Args:
          networks: A preset's networks.
          face_mesh: Perceptual space.
          options: What the run depends on.
        """
        self._networks = networks
        self._face_mesh = face_mesh
        self._options = options

    def fit(
        self,
        images: np.ndarray,
        masks: np.ndarray | None = None,
        on_step: Callable[[int, dict[str, float]], None] | None = None,
        synthesis: Synthesis | None = None,
    ) -> FewShotResult:
        """Trains.

        Args:
          images: Style pictures, uint8 [count, side, side, 3], aligned.
          masks: [count, side, side], true where a picture has content; everywhere if None.
          on_step: Called after each step with the number of steps done and the step's losses. An
            exception that it raises ends the run.
          synthesis: A network from `untuned` to tune in place, for callers that show its progress;
            a new one if None.

        Returns:
          The tuned network and the history of its losses.

        Raises:
          FloatingPointError: A loss is not finite.
        """
        options = self._options
        random = np.random.default_rng(options.seed)
        style_count = max(1, options.batch_size // 2)
        face_count = max(1, options.batch_size - style_count)
        # A short run needs no more faces than its steps use.
        bank_size = min(options.bank_size, options.steps * face_count)
        styles = StyleBank.from_pictures(self._networks, self._face_mesh, images, masks, random)
        bank = FaceBank.draw(self._networks, self._face_mesh, styles, bank_size, options.seed)
        mixed_rows = self._networks.random_latents(bank_size, options.seed + 1).numpy()
        if synthesis is None:
            synthesis = untuned(self._networks)
        if options.weights.analogy:
            _recolor(synthesis, bank.coarse, bank.colors)
        train_step = self._compile(synthesis)
        history: dict[str, list[float]] = {}
        for step in range(options.steps):
            faces = bank.rows(random.integers(0, bank_size, face_count))
            like = styles.rows(faces["style"], np.zeros(face_count, int))
            mixed = mixed_rows[random.integers(0, bank_size, style_count)]
            values = train_step(
                styles.draw(random, style_count) | {"mixed_rows": mixed},
                faces | {"like": {name: like[name] for name in ("grams", "palettes", "traits")}},
                _unit_columns(random, 3 * _PATCH**2 + 2, _PROJECTIONS),
                np.float32(options.learning_rate * self._decay(step)),
            )
            values = {name: float(value) for name, value in values.items()}
            if not math.isfinite(values["loss"]):
                raise DivergenceError(
                    f"The loss is not finite at step {step + 1}; "
                    f"a learning rate below {options.learning_rate:g} may help."
                )
            for name, value in values.items():
                history.setdefault(name, []).append(value)
            if on_step is not None:
                on_step(step + 1, values)
        return FewShotResult(synthesis, history)

    def _decay(self, step: int) -> float:
        progress = (step + 1) / self._options.steps
        if progress <= _DECAY_FROM:
            return 1.0
        return 1.0 - (1.0 - _FINAL_RATE) * (progress - _DECAY_FROM) / (1.0 - _DECAY_FROM)

    def _compile(self, synthesis: Synthesis):
        options, weights = self._options, self._options.weights
        variables = [
            variable
            for variable in synthesis.trainable_variables
            if "to_rgb" not in variable.name
            or f"block{_last_side(synthesis)}_to_rgb" in variable.name
        ]
        learning_rate = tf.Variable(options.learning_rate, trainable=False)
        # The legacy optimizer has one operation per weight instead of two dozen, so that the step
        # is traced faster and takes less memory.
        optimizer = keras.optimizers.legacy.Adam(
            lambda: learning_rate, options.beta_1, options.beta_2
        )
        swap = np.zeros((1, int(self._networks.w_avg.shape[1]), 1), np.float32)
        swap[:, list(options.swap_rows)] = 1.0 - options.alpha

        inside = _inside(synthesis.image_size)

        def half(latents, shifts, terms, traits, others):
            """Computes the losses of one half by name, and their gradients."""
            with tf.GradientTape() as tape:
                images = synthesis(latents)["image"][-1]
                inner = inside * images + (1.0 - inside) * tf.stop_gradient(images)
                mesh = self._face_mesh(losses.brightness(shifted(inner, shifts)))
                values = terms(images, inner, mesh)
                loss = tf.add_n([getattr(weights, name) * value for name, value in values.items()])
                if options.adversarial_weight:
                    # The distance is relative to the traits of the whole batch, so the other half
                    # is included, at a distance of zero.
                    found = mean_features(self._networks.discriminator, inner)
                    values["adversarial"] = losses.feature_distance(
                        [tf.concat(pair, axis=0) for pair in zip(found, others, strict=True)],
                        [tf.concat(pair, axis=0) for pair in zip(traits, others, strict=True)],
                    )
                    loss += options.adversarial_weight * values["adversarial"]
            return {"loss": loss} | values, tape.gradient(loss, variables)

        @graph_function
        def style_half(styles, others):
            def terms(images, _, mesh):
                return {
                    "style_l1": losses.masked_l1(images, styles["pictures"], styles["masks"]),
                    "style_features": losses.feature_distance(mesh.features, styles["features"]),
                    "style_gram": losses.gram_distance(mesh.features[SHALLOW], styles["grams"]),
                }

            latents = dict(styles["latents"])
            latents["inputs"] += swap * (styles["mixed_rows"] - latents["inputs"])
            return half(latents, styles["shifts"], terms, styles["traits"], others)

        @graph_function
        def face_half(faces, others, projections):
            like = faces["like"]

            def terms(images, inner, mesh):
                return {
                    "content": losses.feature_distance(mesh.features[DEEP], faces["deep"]),
                    "landmarks": losses.l1(mesh.landmarks, faces["landmarks"]),
                    "relief": losses.masked_l1(
                        losses.relief(images),
                        faces["relief"],
                        tf.image.resize(faces["features"], images.shape[1:3]),
                    ),
                    "face_gram": losses.gram_distance(mesh.features[SHALLOW], like["grams"]),
                    "patches": _patch_distance(
                        inner, faces["painted"], faces["trust"], projections, weights.position
                    ),
                    "analogy": losses.masked_l1(
                        losses.shrunken(inner, ANALOGY_SIDE), faces["colors"], faces["trust"]
                    ),
                    "palette": _palette_distance(images, like["palettes"]),
                }

            return half(faces["latents"], faces["shifts"], terms, like["traits"], others)

        @graph_function
        def apply(gradients, more, rate):
            learning_rate.assign(rate)
            sums = [a + b for a, b in zip(gradients, more, strict=True)]
            optimizer.apply_gradients(zip(sums, variables, strict=True))

        def train_step(styles, faces, projections, rate):
            # The halves run one after the other, so that only the feature maps of one are in
            # memory.
            of_styles, gradients = style_half(styles, faces["like"]["traits"])
            of_faces, more = face_half(faces, styles["traits"], projections)
            apply(gradients, more, rate)
            sums = {
                name: value + of_faces[name]
                for name, value in of_styles.items()
                if name in of_faces
            }
            return of_styles | of_faces | sums

        return train_step


def _last_side(synthesis: Synthesis) -> int:
    """Returns the side of the last block's feature map."""
    return synthesis.image_size // 2


def _inside(side: int) -> np.ndarray:
    """Returns a mask [1, side, side, 1], 0 in the margin along the edges and 1 elsewhere."""
    margin = max(1, round(_MARGIN * side))
    inside = np.zeros((1, side, side, 1), np.float32)
    inside[:, margin:-margin, margin:-margin] = 1.0
    return inside


def untuned(networks: Networks) -> Synthesis:
    """Returns the network that tuning starts from: a copy of the preset's that can add noise."""
    return copied(networks.synthesis, noise=True)


def interpolated(base: Synthesis, tuned: Synthesis, strength: float) -> Synthesis:
    """Interpolates between two networks, weight by weight.

    Because both descend from the same preset, the networks on the straight line between them work
    well, and they cost no more to run than either.

    Args:
      base: The preset's network.
      tuned: A network tuned from it.
      strength: A number from 0, for `base`, to 1, for `tuned`.

    Raises:
      ValueError: The strength is outside [0, 1].
    """
    if not 0.0 <= strength <= 1.0:
        raise InvalidArgumentError(f"strength must be between 0 and 1, but it is {strength}.")
    result = copied(base, noise=tuned.noise)
    target = named_weights(tuned)
    for name, variable in named_weights(result).items():
        variable.assign_add(strength * (target[name] - variable))
    return result


def _patch_distance(images, pictures, trust, projections, position_weight):
    """Compares patches of each band of detail with painted ones, in units of the band's spread.

    Colors vary ten times as much as strokes, which would have no effect without the scaling. Where
    paintings are not trusted, the picture is compared with itself.
    """
    trust = tf.image.resize(trust, images.shape[1:3])
    own = (1.0 - trust) * tf.stop_gradient(images)
    images, pictures = trust * images + own, trust * pictures + own
    finer = max(0, int(math.log2(images.shape[1] / _BAND_SIDE)))
    terms = []
    for ours, theirs in zip(
        losses.laplacian_bands(images, _BANDS + finer)[:-1],
        losses.laplacian_bands(pictures, _BANDS + finer)[:-1],
        strict=True,
    ):
        stride = _PATCH_STRIDE * max(1, ours.shape[1] // _BAND_SIDE)
        spread = tf.stop_gradient(tf.math.reduce_std(theirs)) + _LEAST_SPREAD
        vectors = [
            losses.patch_vectors(band / spread, _PATCH, stride, position_weight)
            for band in (ours, theirs)
        ]
        terms.append(losses.sliced_wasserstein(*vectors, projections))
    return tf.add_n(terms) / len(terms)


def _palette_distance(images, palettes):
    """Computes the palette distance strip by strip: all distances at once would take 96 MiB."""
    total = tf.zeros(())
    for strip in tf.split(images, _STRIPS, axis=1):
        with tf.control_dependencies([total]):
            total += losses.palette_distance(strip, palettes)
    return total / _STRIPS


def _recolor(synthesis: Synthesis, pictures: np.ndarray, wanted: np.ndarray) -> None:
    """Applies the affine color change that gives the style's palette to the last head.

    Among the changes that give the style's mean and covariance, it is the one that moves colors
    least. Source:
    Pitie and Kokaram, "The Linear Monge-Kantorovitch Linear Colour Mapping" (2007).
    """
    ours, theirs = pictures.reshape(-1, 3), wanted.reshape(-1, 3)
    root = _square_root(np.cov(ours.T) + 1e-4 * np.eye(3))
    inverse = np.linalg.inv(root)
    matrix = inverse @ _square_root(root @ np.cov(theirs.T) @ root) @ inverse
    offset = theirs.mean(axis=0) - matrix @ ours.mean(axis=0)
    weights = named_weights(synthesis)
    head = f"block{_last_side(synthesis)}_to_rgb"
    kernel, bias = weights[f"{head}/kernel"], weights[f"{head}/bias"]
    # The channels are 2 x 2 pixels, with RGB as the last axis.
    in_rgb = kernel.numpy().reshape(-1, 3) @ matrix.T
    kernel.assign(in_rgb.reshape(kernel.shape))
    bias.assign((bias.numpy().reshape(-1, 3) @ matrix.T + offset).reshape(-1))


def _square_root(matrix: np.ndarray) -> np.ndarray:
    """Returns the square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _unit_columns(random: np.random.Generator, size: int, count: int) -> np.ndarray:
    """Draws columns of unit length in random directions, float32 [size, count]."""
    columns = random.standard_normal((size, count))
    return (columns / np.linalg.norm(columns, axis=0)).astype(np.float32)
