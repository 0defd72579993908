"""Weights for networks of twice the side of trained ones.

The coarser parts keep their weights. The new block starts as a linear one that passes on the
picture of the block before it, so that training starts from a face instead of noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mm_face_stylizer.models.blaze_stylegan.encoder import doubled_stem
from mm_face_stylizer.models.layers import LEAKY_RELU_SLOPE
from mm_face_stylizer.models.mapping import LATENT_DIM
from mm_face_stylizer.models.weights import W_AVG

# Dense layers whose outputs are rows of the latent, one per block.
_ROW_LAYERS = ("encoder/latent", "mapping/latent")


def grown_weights(
    weights: Mapping[str, np.ndarray], fresh: Mapping[str, np.ndarray], image_size: int
) -> dict[str, np.ndarray]:
    """Computes the weights of networks of twice the side.

    The encoder computes from a photo what it computed from the photo's 2 x 2 means, the new block's
    row of every latent is that of the block before, and all other heads draw the same as before.

    Args:
      weights: `Networks.weights()` of the trained networks.
      fresh: The weights of untrained networks of twice their side, for new parts to which no
        trained part corresponds.
      image_size: Side of the trained networks' finest image in pixels, at least 128.

    Returns:
      Weights with the names and shapes of `fresh`.

    Raises:
      ValueError: The trained networks are too small: the stem of their encoder is not strided.
    """
    grown = {name: weights.get(name, value) for name, value in fresh.items()}
    grown["encoder/stem/kernel"] = doubled_stem(weights["encoder/stem/kernel"], image_size)
    for layer in _ROW_LAYERS:
        for kind in ("kernel", "bias"):
            value = weights[f"{layer}/{kind}"]
            grown[f"{layer}/{kind}"] = np.concatenate([value, value[..., -LATENT_DIM:]], axis=-1)
    w_avg = weights[W_AVG]
    grown[W_AVG] = with_rows_of_a_block(w_avg)
    own, larger = (_below("synthesis/", values) for values in (weights, fresh))
    synthesis = grown_synthesis_weights(own, larger, image_size, w_avg[0, -1])
    return grown | {f"synthesis/{name}": value for name, value in synthesis.items()}


def grown_synthesis_weights(
    weights: Mapping[str, np.ndarray],
    fresh: Mapping[str, np.ndarray],
    image_size: int,
    mean: np.ndarray,
) -> dict[str, np.ndarray]:
    """Computes the weights of a synthesis network of twice the side.

    Args:
      weights: The trained network's weights by name.
      fresh: Those of a network of twice its side, for parts to which no trained part corresponds.
      image_size: Side of the trained network's finest image in pixels.
      mean: Mean latent of the new block's rows, [512].

    Returns:
      Weights with the names and shapes of `fresh`.
    """
    grown = {name: weights.get(name, value) for name, value in fresh.items()}
    head = _below(f"block{image_size // 2}_to_rgb/", weights)
    block = f"block{image_size}_"
    new = _pass_through_block(head, _below(block, fresh), mean)
    return grown | {block + name: value for name, value in new.items()}


def with_rows_of_a_block(latents: np.ndarray) -> np.ndarray:
    """Repeats the last row of w+ latents, [count, rows, 512], for the two rows of a new block."""
    return np.concatenate([latents, latents[:, [-1, -1]]], axis=1)


def _below(prefix: str, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the weights whose names start with a prefix, without the prefix."""
    found = {name: value for name, value in weights.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): value for name, value in found.items()}


def _pass_through_block(
    head: Mapping[str, np.ndarray], fresh: Mapping[str, np.ndarray], mean: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns weights with which the new block draws the last head's picture, a little softer.

    Three pairs of channels hold red, green and blue and their negatives, because the difference of
    such a pair is linear even after leaky ReLU. The first convolution does what the last head does,
    on upsampled features and for the mean of its 2 x 2 pixels, which upsampled features cannot tell
    apart. Its demodulation divides by a norm that depends on the latent; the new head's affine
    function multiplies by that norm, to first order around the mean latent. All other channels have
    the layers' initial weights and do not contribute to the picture.

    Args:
      head: Weights of the last head.
      fresh: Initial weights of the new block.
      mean: Mean latent of the block's row, [512].
    """
    rgb = head["kernel"][0, 0].reshape(-1, 4, 3).mean(axis=1)
    scale = mean @ head["affine_kernel"] + head["affine_bias"]
    energy = np.square(rgb)
    norm = np.sqrt(np.square(scale) @ energy)
    slope = (head["affine_kernel"] * scale) @ energy / norm
    pair = np.concatenate([np.eye(3), -np.eye(3)], axis=1).astype(np.float32)
    used = slice(0, pair.shape[1])
    new = {name: np.array(value) for name, value in fresh.items()}

    new["conv0/kernel"][..., used] = 0.0
    new["conv0/kernel"][1, 1, :, used] = rgb @ pair
    new["conv0/affine_kernel"] = head["affine_kernel"]
    new["conv0/affine_bias"] = head["affine_bias"]

    new["conv1/kernel"][..., used] = 0.0
    new["conv1/kernel"][1, 1, used, used] = pair.T @ pair
    new["conv1/affine_kernel"][:, used] = 0.0

    # Gain of a pair through both leaky ReLUs and the second convolution's demodulation.
    gain = (1.0 + LEAKY_RELU_SLOPE) ** 2 / np.sqrt(2.0)
    new["to_rgb/kernel"][:] = 0.0
    new["to_rgb/kernel"][0, 0, used] = np.tile(pair.T, 4) / gain
    new["to_rgb/bias"] = np.tile(head["bias"].reshape(4, 3).mean(axis=0), 4)
    new["to_rgb/affine_kernel"][:, used] = np.tile(slope, 2)
    new["to_rgb/affine_bias"][used] = np.tile(norm - mean @ slope, 2)
    return new
