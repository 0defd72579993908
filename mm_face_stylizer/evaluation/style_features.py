"""Distance of pictures from a style in the features of EfficientNet-Lite0."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mm_face_stylizer._keras import graph_function, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.evaluation.picture_quality import Numbers, Pictures, at_side
from mm_face_stylizer.models.efficientnet_lite import perceptual_network
from mm_face_stylizer.pixels import from_pixels

# Side in pixels at which pictures are measured. The features of a stroke depend on its width.
_SIDE = 256
_BATCH = 8

_Grams = list[npt.NDArray[np.float32]]


class StyleFeatureMeter:
    """Measures how far pictures are from style pictures in the features of a trained network.

    A picture is described by the Gram matrices of six activations of EfficientNet-Lite0
    (`STYLE_TAPS`), each divided by its Frobenius norm. They tell which features appear together,
    wherever they are. The distance of two pictures is the Frobenius norm of the difference of their
    matrices, averaged over the activations, and the distance of a picture from a style is that from
    the nearest style picture.

    A photo in the colors and with the grain of a style comes close to it in `StyleMeter`, but not
    here, where outlines, strokes and flat areas count as well.

    Source: Gatys, Ecker and Bethge, "Image style transfer using convolutional neural networks"
    (2016), section 2.2. Unlike there, each matrix has unit norm, so that all activations count.
    """

    def __init__(self, styles: Pictures) -> None:
        """Describes the style pictures.

        Args:
          styles: uint8 [styles, side, side, 3] RGB, aligned faces in the style. As in `measure`,
            pictures of another side than 256 px are resized to 256 px.

        Raises:
          PerceptualWeightsError: The weights of EfficientNet-Lite0 are not installed.
          ValueError: There is no style picture.
        """
        if not len(styles):
            raise InvalidArgumentError("there is no style picture; at least one is needed")
        network = perceptual_network()

        def grams(pictures: Any) -> list[Any]:
            return [_gram(features) for features in network(pictures)]

        self._grams = graph_function(grams, reduce_retracing=True)
        self._styles = self._described(styles)

    def measure(self, pictures: Pictures) -> Numbers:
        """Measures the distance of each picture from the nearest style picture.

        Args:
          pictures: uint8 [count, side, side, 3] RGB.

        Returns:
          [count], at least 0.
        """
        distances: list[Numbers] = []
        for start in range(0, len(pictures), _BATCH):
            described = self._described(pictures[start : start + _BATCH])
            layers = [
                np.linalg.norm(of[:, np.newaxis] - style[np.newaxis], axis=(2, 3))
                for of, style in zip(described, self._styles, strict=True)
            ]
            distances.append(np.mean(layers, axis=0, dtype=np.float64).min(axis=1))
        return np.concatenate(distances) if distances else np.zeros(0)

    def _described(self, pictures: Pictures) -> _Grams:
        """Returns the Gram matrices of each activation, [count, channels, channels]."""
        batches = [
            [gram.numpy() for gram in self._grams(from_pixels(some))]
            for some in (
                at_side(pictures[start : start + _BATCH], _SIDE)
                for start in range(0, len(pictures), _BATCH)
            )
        ]
        return [np.concatenate(layer) for layer in zip(*batches, strict=True)]


def _gram(features: Any) -> Any:
    """Gram matrices of unit norm, [batch, channels, channels]."""
    channels = features.shape[-1]
    rows = tf.reshape(features, [tf.shape(features)[0], -1, channels])
    gram = tf.matmul(rows, rows, transpose_a=True)
    return gram / tf.norm(gram, axis=(1, 2), keepdims=True)
