"""The loss of face swapping, which training and refinement share.

Source: Xu et al., "MobileFaceSwap" (2022), section 3.2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from mm_face_stylizer._keras import tf
from mm_face_stylizer.models.face_swap.generator import SwapResult
from mm_face_stylizer.models.face_swap.identity import IdentityNetwork
from mm_face_stylizer.training import losses

# Of EfficientNet-Lite0: edges, textures, and parts of faces.
FEATURE_TAPS = ("stem", "expand1", "expand3", "expand5")
_LEVELS = 3
_EPSILON = 1e-6

Features = Callable[[tf.Tensor], Sequence[tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class SwapWeights:
    """Weights of the terms of the loss; a term of weight 0 is not computed.

    Attributes:
      pixels: Distance of the picture to the teacher's, at several scales.
      face: The same for the face before it is blended, inside the teacher's mask only: so the face
        learns whatever the mask does.
      mask: Cross entropy of the mask against the teacher's. Left to itself, a mask closes early:
        the photo is the cheapest picture that is nearly right.
      features: Distance of perceptual features.
      identity: How far the embedding is from the source's, beyond the margin.
      margin: Distance of embeddings that is near enough; one network alone can be fooled, and
        further on it would be.
      adversarial: Of a patch discriminator.
    """

    pixels: float = 1.0
    face: float = 1.0
    mask: float = 0.2
    features: float = 0.2
    identity: float = 0.5
    margin: float = 0.4
    adversarial: float = 0.02


class SwapLosses:
    """Compares what the generator makes with the teacher's pictures."""

    def __init__(
        self,
        weights: SwapWeights,
        identity: IdentityNetwork | None = None,
        features: Features | None = None,
    ):
        """Keeps the networks.

        Args:
          weights: Weights of the terms.
          identity: The network that tells people apart; needed if `weights.identity` is above 0.
          features: Maps pictures [batch, side, side, 3] in [-1, 1] to feature maps; without it
            there is no such term.
        """
        self._weights = weights
        self._identity = identity
        self._features = features

    def __call__(
        self,
        result: SwapResult,
        pictures: tf.Tensor,
        masks: tf.Tensor,
        embedding: tf.Tensor,
        with_identity: bool = True,
    ) -> dict[str, tf.Tensor]:
        """Computes the terms, and their weighted sum `loss`.

        Args:
          result: What the generator made.
          pictures: The teacher's pictures, [batch, side, side, 3] in [-1, 1].
          masks: The teacher's masks, [batch, side, side, 1] in [0, 1].
          embedding: Of the sources, [batch or 1, 128].
          with_identity: Whether the identity network is asked.
        """
        weights = self._weights
        ours, theirs = (losses.image_pyramid(x, _LEVELS) for x in (result.picture, pictures))
        values = {"pixels": losses.pyramid_l1(ours, theirs)}
        loss = weights.pixels * values["pixels"]
        if weights.face:
            difference = tf.abs(result.face - pictures) * masks
            values["face"] = tf.reduce_sum(difference) / (3.0 * tf.reduce_sum(masks) + 1.0)
            loss += weights.face * values["face"]
        if weights.mask:
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(masks, result.mask_logits)
            values["mask"] = tf.reduce_mean(entropy)
            loss += weights.mask * values["mask"]
        if weights.features and self._features is not None:
            values["features"] = losses.feature_distance(
                self._features(result.picture), self._features(pictures)
            )
            loss += weights.features * values["features"]
        if weights.identity and with_identity:
            _, found = self._identity(result.picture)
            squares = tf.reduce_sum(tf.square(found - embedding), axis=1)
            distance = tf.sqrt(squares + _EPSILON)
            values["identity"] = tf.reduce_mean(distance)
            loss += weights.identity * tf.reduce_mean(tf.nn.relu(distance - weights.margin))
        return {"loss": loss} | values
