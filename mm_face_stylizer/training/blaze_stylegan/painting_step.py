"""The training step with which a synthesis network learns to reproduce paintings of photos.

It serves both the long training on many styles and the short training on a user's style. The loss
compares the picture that the network draws from a photo's latents with the painting of that photo:
by the absolute difference of pixels at four resolutions, by perceptual features of a crop and by
the face-mesh network's features of the whole face if these networks are given, and by a
discriminator of pairs of photo and picture.

Sources: Futschik et al., "Real-Time Patch-Based Stylization of Portraits Using Generative
Adversarial Network" (2019); Johnson et al., "Perceptual Losses for Real-Time Style Transfer
and Super-Resolution" (2016).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.models.blaze_stylegan.generator import Synthesis
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.models.pair_discriminator import PairDiscriminator
from mm_face_stylizer.models.weights import named_weights
from mm_face_stylizer.pixels import from_pixels
from mm_face_stylizer.training import losses

# Factors by which pictures are reduced for the pyramid term.
_PYRAMID = (2, 4, 8)
# The face-mesh network's fine feature maps describe strokes; the coarse ones describe the face.
_FINE, _COARSE = slice(0, 3), slice(3, 6)
# Learning rate of the discriminator, relative to that of the synthesis network.
_DISCRIMINATOR_RATE = 0.5
# Limit of the global norm of the synthesis network's gradients, which nearly all steps reach: Adam
# takes a step ten times as long for one gradient that is much larger than those before, and pale
# drawings did not recover from that.
_CLIP_NORM = 0.1


@dataclasses.dataclass(frozen=True)
class PaintingWeights:
    """Weights of the terms of the loss.

    Attributes:
      l1: Mean absolute difference of pixels at full resolution.
      pyramid: The same at a half, a quarter and an eighth of the resolution, for each of them.
      features: Distance of perceptual features; ignored if there is no feature extractor.
      texture: Distance of the Gram matrices of perceptual features; ignored likewise.
      content: Distance of the face-mesh network's coarse features; ignored without that network.
      style: Distance of the Gram matrices of its fine features; ignored without that network.
      adversarial: Mean squared difference of the discriminator's logits from 1, its target for
        paintings.
    """

    l1: float = 1.0
    pyramid: float = 0.5
    features: float = 0.5
    texture: float = 0.1
    content: float = 0.1
    style: float = 0.1
    adversarial: float = 0.2


class PaintingStep:
    """A training step, compiled at its first call.

    Attributes:
      codes: Code of each style, which is added to w+, a variable [styles, rows, 512].
      discriminator: The discriminator of pairs of photo and picture.
      optimizer: The Adam optimizer of the synthesis network and the codes.
      discriminator_optimizer: The Adam optimizer of the discriminator.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        codes: tf.Variable,
        features: Callable[[tf.Tensor], Sequence[tf.Tensor]] | None,
        weights: PaintingWeights,
        betas: tuple[float, float] = (0.0, 0.99),
        face_mesh: FaceMeshFeatures | None = None,
        discriminator: PairDiscriminator | None = None,
    ):
        """Creates the discriminator and the optimizers.

        Args:
          synthesis: The network to train, in place.
          codes: Codes of the styles, a variable [styles, rows, 512], trained in place.
          features: Maps pictures [batch, side, side, 3] in [-1, 1] to a list of feature maps, as
            the model of `perceptual_network` does; None to train without perceptual features.
          weights: Weights of the terms of the loss.
          betas: Decay rates of the first and second moments of the synthesis network's Adam.
          face_mesh: The face-mesh network; None to train without its features.
          discriminator: The discriminator to train on, in place; a new one if None.
        """
        self.codes = codes
        self._synthesis = synthesis
        self._features = features
        self._face_mesh = face_mesh
        self._weights = weights
        finest = f"block{synthesis.image_size // 2}_to_rgb"
        # The loss does not depend on the pictures of lower resolution, so their heads are not
        # trained.
        self._variables = [
            codes,
            *(
                variable
                for variable in synthesis.trainable_variables
                if "to_rgb" not in variable.name or finest in variable.name
            ),
        ]
        if discriminator is None:
            discriminator = PairDiscriminator(int(codes.shape[0]))
            discriminator.build()
        self.discriminator = discriminator
        self.optimizer = keras.optimizers.Adam(1e-3, *betas)
        self.optimizer.build(self._variables)
        self.discriminator_optimizer = keras.optimizers.Adam(1e-3, 0.5, 0.99)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        self._compiled = graph_function(self._step)
        self._compiled_distance = graph_function(self._distance)

    @property
    def synthesis(self) -> Synthesis:
        """The network that is trained."""
        return self._synthesis

    def state(self) -> list[np.ndarray]:
        """Returns copies of everything that training changes: weights, codes and moments."""
        return [variable.numpy() for variable in self._changing()]

    def restore(self, state: Sequence[np.ndarray]) -> None:
        """Puts back what `state` returned, here or in another step of the same networks.

        Args:
          state: One array for each variable, in the order of `state`.

        Raises:
          ValueError: Their number or shapes differ from those of this step.
        """
        for variable, value in zip(self._changing(), state, strict=True):
            variable.assign(value)

    def begin(
        self, synthesis: Synthesis, codes: np.ndarray, discriminator: PairDiscriminator | None
    ) -> None:
        """Starts another training with the graph that is compiled already.

        Args:
          synthesis: The network whose weights the training starts from; it is not changed.
          codes: The codes that it starts from.
          discriminator: The discriminator that it starts from, not changed; a new one if None.
        """
        if discriminator is None:
            discriminator = PairDiscriminator(self.discriminator.styles)
            discriminator.build()
        for own, other in ((self._synthesis, synthesis), (self.discriminator, discriminator)):
            weights = named_weights(other)
            for name, variable in named_weights(own).items():
                variable.assign(weights[name])
        self.codes.assign(codes)
        for optimizer in (self.optimizer, self.discriminator_optimizer):
            for variable in optimizer.variables:
                variable.assign(tf.zeros_like(variable))

    def _changing(self) -> list[tf.Variable]:
        networks = (self._synthesis, self.discriminator)
        optimizers = (self.optimizer, self.discriminator_optimizer)
        return [
            self.codes,
            *(variable for network in networks for variable in network.weights),
            *(variable for optimizer in optimizers for variable in optimizer.variables),
        ]

    @property
    def variables(self) -> list[tf.Variable]:
        """The codes and the variables of the synthesis network that the step trains."""
        return self._variables

    def __call__(
        self,
        latents: Mapping[str, np.ndarray],
        styles: np.ndarray,
        photos: np.ndarray,
        paintings: np.ndarray,
        crop: np.ndarray,
        rate: float,
    ) -> dict[str, tf.Tensor]:
        """Trains on a batch.

        Args:
          latents: Latents of the photos, as `Networks.latents` returns them.
          styles: Index of each painting's style, int32 [batch].
          photos: uint8 [batch, side, side, 3], RGB in [0, 255].
          paintings: uint8 [batch, side, side, 3], RGB in [0, 255].
          crop: First row and first column of the square crop that perceptual features and
            discriminator are computed on, as `random_crop` returns them. The crop is half as wide
            as the picture: enough to compare strokes, in a quarter of the time.
          rate: Learning rate.

        Returns:
          The losses by name, computed before the weights are updated.
        """
        self.optimizer.learning_rate.assign(rate)
        self.discriminator_optimizer.learning_rate.assign(_DISCRIMINATOR_RATE * rate)
        latents = {name: tf.constant(value, tf.float32) for name, value in latents.items()}
        batch = (tf.constant(styles, tf.int32), tf.constant(photos), tf.constant(paintings))
        return self._compiled(latents, *batch, tf.constant(crop))

    def distance(
        self, latents: Mapping[str, np.ndarray], paintings: np.ndarray, code: np.ndarray
    ) -> float:
        """Compares what the network draws with paintings, without training.

        Args:
          latents: As in a call.
          paintings: As in a call.
          code: Code of the style to draw in, [rows, 512].

        Returns:
          Mean absolute difference of pixels in [-1, 1].
        """
        latents = {name: tf.constant(value, tf.float32) for name, value in latents.items()}
        code = tf.constant(code[np.newaxis])
        return float(self._compiled_distance(latents, from_pixels(paintings), code))

    def _distance(self, latents, paintings, code):
        return losses.l1(draw(self._synthesis, latents, code), paintings)

    def random_crop(self, random: np.random.Generator) -> np.ndarray:
        """Samples the first row and column of a crop in pixels, int32 [2]."""
        return random.integers(0, self._synthesis.image_size // 2 + 1, 2).astype(np.int32)

    def _step(self, latents, styles, photos, paintings, crop):
        photos, paintings = (tf.cast(x, tf.float32) / 127.5 - 1.0 for x in (photos, paintings))
        weights = self._weights
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            drawn = draw(self._synthesis, latents, tf.gather(self.codes, styles))
            difference = drawn - paintings
            side = self._synthesis.image_size // 2
            near_photos, near_paintings, near_drawn = (
                _cropped(pictures, crop, side) for pictures in (photos, paintings, drawn)
            )
            values = {"l1": tf.reduce_mean(tf.abs(difference))}
            loss = weights.l1 * values["l1"]
            for factor in _PYRAMID:
                coarser = tf.nn.avg_pool2d(difference, factor, factor, "VALID")
                loss += weights.pyramid * tf.reduce_mean(tf.abs(coarser))
            if self._features is not None and (weights.features or weights.texture):
                ours, theirs = self._features(near_drawn), self._features(near_paintings)
                values["features"] = losses.feature_distance(ours, theirs)
                grams = [losses.gram_matrix(feature) for feature in theirs]
                values["texture"] = losses.gram_distance(ours, grams)
                loss += weights.features * values["features"] + weights.texture * values["texture"]
            if self._face_mesh is not None and (weights.content or weights.style):
                ours, theirs = (self._face_mesh(x).features for x in (drawn, paintings))
                values["content"] = losses.feature_distance(ours[_COARSE], theirs[_COARSE])
                grams = [losses.gram_matrix(feature) for feature in theirs[_FINE]]
                values["style"] = losses.gram_distance(ours[_FINE], grams)
                loss += weights.content * values["content"] + weights.style * values["style"]
            if weights.adversarial:
                logits = self.discriminator((near_photos, near_drawn, styles))
                values["adversarial"] = tf.reduce_mean(tf.square(logits - 1.0))
                loss += weights.adversarial * values["adversarial"]
        values = {"loss": loss} | values
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, self._variables), _CLIP_NORM)
        self.optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        if weights.adversarial:
            values["discriminator"] = self._train_discriminator(
                near_photos, near_paintings, near_drawn, styles
            )
        return values

    def _train_discriminator(self, photos, paintings, drawn, styles):
        """Trains the discriminator, and returns its loss."""
        variables = self.discriminator.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            real = self.discriminator((photos, paintings, styles))
            fake = self.discriminator((photos, drawn, styles))
            loss = tf.reduce_mean(tf.square(real - 1.0)) + tf.reduce_mean(tf.square(fake))
        gradients = tape.gradient(loss, variables)
        self.discriminator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss


def _cropped(pictures: tf.Tensor, crop: tf.Tensor, side: int) -> tf.Tensor:
    """Crops the same square from all pictures, [batch, side, side, 3]."""
    part = pictures[:, crop[0] : crop[0] + side, crop[1] : crop[1] + side]
    return tf.ensure_shape(part, (None, side, side, 3))


def draw(
    synthesis: Synthesis, latents: Mapping[str, tf.Tensor], codes: tf.Tensor | np.ndarray
) -> tf.Tensor:
    """Draws photos in the styles of the given codes.

    Args:
      synthesis: The synthesis network of a drawing network.
      latents: Latents of the photos, as `Networks.latents` returns them.
      codes: Code of each photo's style, [batch or 1, rows, 512], which is added to w+.

    Returns:
      Pictures, float32 [batch, side, side, 3] in about [-1, 1].
    """
    return synthesis(dict(latents) | {"inputs": latents["inputs"] + codes})["image"][-1]
