"""The training step that teaches a synthesis network to draw what a painter painted.

Both the long training on many styles and the short one on a user's take it. What the network draws
from a photo's latents is compared with the photo's painting pixel by pixel at four sizes, and in
features of ImageNet where those are installed; a discriminator that sees photo and picture together
says what still tells them apart. Sources: Futschik et al., "Real-Time Patch-Based Stylization of
Portraits Using Generative Adversarial Network" (2019); Johnson et al., "Perceptual Losses for
Real-Time Style Transfer and Super-Resolution" (2016).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.models.blaze_stylegan.generator import Synthesis
from mm_face_stylizer.models.pair_discriminator import PairDiscriminator
from mm_face_stylizer.training import losses

_PYRAMID = (2, 4, 8)
_DISCRIMINATOR_RATE = 0.2


@dataclasses.dataclass(frozen=True)
class PaintingWeights:
    """Weights of the terms of the loss.

    Attributes:
      l1: Mean absolute difference at full size.
      pyramid: The same at a half, a quarter and an eighth of it, each.
      features: Distance of perceptual features; without a perceptual network it does not count.
      adversarial: Squared distance of the discriminator's logits from those of a painting.
    """

    l1: float = 1.0
    pyramid: float = 0.5
    features: float = 0.5
    adversarial: float = 0.1


class PaintingStep:
    """A step of training, compiled at its first call.

    Attributes:
      codes: What each style adds to w+, a variable [styles, rows, 512].
      discriminator: The adversary.
      optimizer: Adam of synthesis network and codes.
      discriminator_optimizer: Adam of the adversary.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        codes: tf.Variable,
        features: Callable[[tf.Tensor], Sequence[tf.Tensor]] | None,
        weights: PaintingWeights,
        betas: tuple[float, float] = (0.0, 0.99),
    ):
        """Makes adversary and optimizers.

        Args:
          synthesis: The network to train, in place.
          codes: See the class.
          features: Pictures in [-1, 1] to feature maps, as `perceptual_network` makes it; None for
            a training without.
          weights: Weights of the loss.
          betas: Decay of Adam's moments.
        """
        self.codes = codes
        self._synthesis = synthesis
        self._features = features
        self._weights = weights
        finest = f"block{synthesis.image_size // 2}_to_rgb"
        # The coarser heads draw nothing that is compared.
        self._variables = [
            codes,
            *(
                variable
                for variable in synthesis.trainable_variables
                if "to_rgb" not in variable.name or finest in variable.name
            ),
        ]
        self.discriminator = PairDiscriminator(int(codes.shape[0]))
        self.discriminator.build()
        self.optimizer = keras.optimizers.Adam(1e-3, *betas)
        self.optimizer.build(self._variables)
        self.discriminator_optimizer = keras.optimizers.Adam(1e-3, 0.5, 0.99)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        self._compiled = graph_function(self._step)

    @property
    def variables(self) -> list[tf.Variable]:
        """Variables that the step trains, the discriminator's left out."""
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
          latents: Of the photos, as `Networks.latents` gives them.
          styles: Which style each painting is of, int32 [batch].
          photos: uint8 [batch, side, side, 3].
          paintings: uint8 [batch, side, side, 3].
          crop: First row and column of what features and discriminator see, as `random_crop` draws
            them: half the side is enough for strokes, at a quarter of the time.
          rate: Learning rate.

        Returns:
          The losses by name, before the step.
        """
        self.optimizer.learning_rate.assign(rate)
        self.discriminator_optimizer.learning_rate.assign(_DISCRIMINATOR_RATE * rate)
        latents = {name: tf.constant(value, tf.float32) for name, value in latents.items()}
        batch = (tf.constant(styles, tf.int32), tf.constant(photos), tf.constant(paintings))
        return self._compiled(latents, *batch, tf.constant(crop))

    def random_crop(self, random: np.random.Generator) -> np.ndarray:
        """Draws where the next step looks closely, int32 [2]."""
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
            if self._features is not None and weights.features:
                values["features"] = losses.feature_distance(
                    self._features(near_drawn), self._features(near_paintings)
                )
                loss += weights.features * values["features"]
            if weights.adversarial:
                logits = self.discriminator((near_photos, near_drawn, styles))
                values["adversarial"] = tf.reduce_mean(tf.square(logits - 1.0))
                loss += weights.adversarial * values["adversarial"]
        values = {"loss": loss} | values
        gradients = tape.gradient(loss, self._variables)
        self.optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        if weights.adversarial:
            values["discriminator"] = self._judge(near_photos, near_paintings, near_drawn, styles)
        return values

    def _judge(self, photos, paintings, drawn, styles):
        """Trains the discriminator, whose loss it returns."""
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
    """A square of each picture, [batch, side, side, 3]."""
    part = pictures[:, crop[0] : crop[0] + side, crop[1] : crop[1] + side]
    return tf.ensure_shape(part, (None, side, side, 3))


def draw(
    synthesis: Synthesis, latents: Mapping[str, tf.Tensor], codes: tf.Tensor | np.ndarray
) -> tf.Tensor:
    """What a network draws of photos, [batch, side, side, 3] in about [-1, 1].

    Args:
      synthesis: A network that has learned to draw.
      latents: Of the photos.
      codes: The style of each, [batch, rows, 512], added to w+.
    """
    return synthesis(dict(latents) | {"inputs": latents["inputs"] + codes})["image"][-1]
