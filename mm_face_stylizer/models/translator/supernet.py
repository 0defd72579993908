"""A translator whose channels and blocks can be switched off: the space that a search chooses from.

Source: Li et al., "Real-Time Portrait Stylization on the Edge" (2022), section 2.2.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.networks import TranslatorNetworks

LEAST_CHANNELS = 8
# Processors compute channels in groups of this many.
_GROUP = 4
# A channel or block whose score is above is kept.
_THRESHOLD = 0.5
_LOWEST_START = 0.6


class Masks(tf.Module):
    """Scores of the channels and blocks of a translator; those above 0.5 are kept.

    A mask is 0 or 1 and passes its gradient on to the score (straight-through estimator). At least
    8 channels of a layer are kept, and a multiple of 4.

    Attributes:
      config: The configuration of the largest network.
      channels: Scores of the channels, by the names of `TranslatorConfig.widths`.
      gates: Scores of the residual blocks, by `gate0` and so on.
    """

    def __init__(self, config: TranslatorConfig):
        """Makes scores that keep everything.

        Args:
          config: The configuration of the largest network.
        """
        super().__init__()
        self.config = config
        self.channels = {
            name: tf.Variable(tf.ones(width), name=f"score_{name}")
            for name, width in config.widths().items()
        }
        self.gates = {
            f"gate{index}": tf.Variable(1.0, name=f"score_gate{index}")
            for index in range(len(config.blocks))
        }

    def values(self) -> dict[str, tf.Tensor]:
        """Returns the masks by name, as `Translator.translate` takes them."""
        masks = {name: _channel_mask(score) for name, score in self.channels.items()}
        for name, score in self.gates.items():
            kept = tf.cast(score > _THRESHOLD, tf.float32)
            masks[name] = _passing(kept, score)
        return masks

    def rank(self, networks: TranslatorNetworks) -> None:
        """Gives channels scores by how much they are amplified after their normalization.

        Without an order, the channels of a layer would all disappear in the same step.

        Args:
          networks: A trained generator of `config`.
        """
        gains = {
            name.split("/")[1].removesuffix("_normalization"): np.abs(value)
            for name, value in networks.weights().items()
            if name.endswith("/gain")
        }
        sources = {name: name for name in ("stem", "down0", "up0", "up1")} | {"trunk": "down1"}
        for name, score in self.channels.items():
            gain = gains[sources.get(name, f"{name}_first")]
            order = np.argsort(np.argsort(gain)) / max(1, len(gain) - 1)
            score.assign((_LOWEST_START + (1.0 - _LOWEST_START) * order).astype(np.float32))

    def clip(self) -> None:
        """Keeps the scores between 0 and 1, so that each can change its side soon."""
        for score in (*self.channels.values(), *self.gates.values()):
            score.assign(tf.clip_by_value(score, 0.0, 1.0))

    def lower(self, amount: float) -> None:
        """Lowers all scores alike, which switches off those that matter least."""
        for score in (*self.channels.values(), *self.gates.values()):
            score.assign(score - amount)

    def widths(self) -> dict[str, int]:
        """Returns the number of channels of each layer that are kept."""
        masks = self.values()
        return {name: round(float(tf.reduce_sum(masks[name]))) for name in self.channels}

    def kept_blocks(self) -> list[int]:
        """Returns the indices of the residual blocks that are kept."""
        return [
            index
            for index, score in enumerate(self.gates.values())
            if float(score.numpy()) > _THRESHOLD
        ]

    def found(self) -> TranslatorConfig:
        """Returns the configuration of the network that is kept."""
        widths, blocks, attention = self.widths(), self.kept_blocks(), self.config.attention
        return dataclasses.replace(
            self.config,
            stem=widths["stem"],
            down=(widths["down0"], widths["trunk"]),
            blocks=tuple(widths[f"block{index}"] for index in blocks),
            up=(widths["up0"], widths["up1"]),
            attention=None if attention is None else sum(index < attention for index in blocks),
        )

    def sliced(self, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the weights of the network that is kept, which computes the same.

        Args:
          weights: Of the largest network, as `TranslatorNetworks.weights` returns them.
        """
        masks = self.values()
        kept = {name: np.flatnonzero(masks[name].numpy() > 0.5) for name in self.channels}
        blocks = {old: new for new, old in enumerate(self.kept_blocks())}
        result = {}
        for name, value in weights.items():
            part, layer, weight = name.split("/")
            found = re.match(r"block(\d+)_", layer)
            if found is not None:
                index = int(found[1])
                if index not in blocks:
                    continue
                layer = layer.replace(f"block{index}_", f"block{blocks[index]}_", 1)
            inputs, outputs = _ends(name.split("/")[1])
            if outputs:
                value = np.take(value, kept[outputs], axis=-1)
            if weight == "kernel" and inputs:
                rows = kept[inputs]
                if value.shape[2] == 2 * len(masks[inputs]):
                    rows = np.concatenate([rows, rows + len(masks[inputs])])
                value = np.take(value, rows, axis=2)
            result[f"{part}/{layer}/{weight}"] = value
        return result


def _ends(layer: str) -> tuple[str, str]:
    """Returns the names of the widths of a layer's inputs and outputs; empty for colors."""
    unit = re.sub(r"_(convolution|normalization)$", "", layer)
    if unit in ("attention",):
        return "trunk", "trunk"
    block = re.fullmatch(r"(block\d+)_(first|second)", unit)
    if block is not None:
        return ("trunk", block[1]) if block[2] == "first" else (block[1], "trunk")
    return {
        "stem": ("", "stem"),
        "down0": ("stem", "down0"),
        "down1": ("down0", "trunk"),
        "up0": ("trunk", "up0"),
        "up1": ("up0", "up1"),
        "last": ("up1", ""),
    }[unit]


def _channel_mask(score: tf.Variable) -> tf.Tensor:
    """Returns the mask of a layer: ones for the channels with the highest scores."""
    width = int(score.shape[0])
    least = min(width, LEAST_CHANNELS)
    wanted = tf.reduce_sum(tf.cast(score > _THRESHOLD, tf.int32))
    count = tf.clip_by_value(-(-wanted // _GROUP) * _GROUP, least, width)
    order = tf.argsort(tf.argsort(score, direction="DESCENDING", stable=True))
    return _passing(tf.cast(order < count, tf.float32), score)


def _passing(kept: tf.Tensor, score: tf.Tensor) -> tf.Tensor:
    """Returns `kept`, whose gradient is that of the score."""
    return kept + score - tf.stop_gradient(score)
