"""The inference graph of a BlazeStyleGAN stylizer: encoder, mean latent and synthesis network."""

from __future__ import annotations

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.blaze_stylegan.generator import Synthesis, copied


class Stylizer(keras.Model):
    """Maps a crop of a photo to its stylized picture.

    It is a subclass and not a functional model, because Keras names the operations of functional
    models by a counter of the process, and two exports of the same networks must be identical.

    Attributes:
      side: Side of photo and picture in pixels.
    """

    def __init__(self, encoder: keras.Model, synthesis: Synthesis, w_avg: np.ndarray | tf.Variable):
        """Copies the synthesis network with its last head only.

        Args:
          encoder: Maps photos to latents without `w_avg`; it is shared, not copied.
          synthesis: Maps latents to a pyramid of images.
          w_avg: Mean latent, [1, rows, 512].
        """
        super().__init__(name="stylizer")
        self.side = int(encoder.input_shape[1])
        self._encoder = encoder
        self._w_avg = tf.constant(w_avg)
        self._synthesis = copied(synthesis, heads="last", name="synthesis")

    def call(self, photo: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Stylizes one crop.

        Args:
          photo: [batch, side, side, 3] in [0, 1]; the batch is static.
          training: Accepted for the Keras contract; the networks are in inference mode.

        Returns:
          [batch, side, side, 3] in [0, 1].
        """
        del training
        latents = dict(self._encoder(photo * 2.0 - 1.0, training=False))
        # Reshapes inside the encoder lose the static batch size. It is restored so that the
        # exported graph computes no shapes at run time.
        shape = (photo.shape[0], *self._w_avg.shape[1:])
        latents["inputs"] = tf.ensure_shape(latents["inputs"], shape) + self._w_avg
        image = self._synthesis(latents)["image"][-1]
        return tf.clip_by_value((image + 1.0) / 2.0, 0.0, 1.0)
