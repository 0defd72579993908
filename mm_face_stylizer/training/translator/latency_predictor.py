"""Predicts the latency of a translator from the channels of its layers, differentiably."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.parts import KINDS, Part, macs_of, parts_of
from mm_face_stylizer.training.translator.latency_table import LatencyTable

_HIDDEN, _STEPS, _RATE = 24, 3000, 0.01
_DECAY = 1e-4


class LatencyPredictor:
    """A small multilayer perceptron on the parts of a translator.

    It predicts the logarithm of a part's milliseconds from its kind, its side and its channels. The
    latency of a translator is the sum over its parts, times what measured translators take beside
    the sum of theirs.

    Attributes:
      image_size: Side in pixels of the pictures that latencies are predicted for.
      device: Name of the device.
    """

    def __init__(self, table: LatencyTable, seed: int = 0):
        """Trains the predictor, in a few seconds.

        Args:
          table: Measured latencies.
          seed: Seed of the initial weights.
        """
        self.image_size, self.device = table.image_size, table.device
        inputs = tf.stack([_features(part) for part, _ in table.parts])
        targets = tf.constant(np.log([ms for _, ms in table.parts]), tf.float32)[:, tf.newaxis]
        random = np.random.default_rng(seed)
        sizes = (int(inputs.shape[1]), _HIDDEN, _HIDDEN, 1)
        self._weights = [
            (
                tf.Variable((random.standard_normal((a, b)) / np.sqrt(a)).astype(np.float32)),
                tf.Variable(tf.zeros(b)),
            )
            for a, b in zip(sizes, sizes[1:], strict=False)
        ]
        self._weights[-1][1].assign(tf.reduce_mean(targets, axis=0))
        self._fit(inputs, targets)
        self._scale = 1.0
        if table.networks:
            ratios = [ms / float(self.latency(config)) for config, ms in table.networks]
            self._scale = float(np.median(ratios))

    def _fit(self, inputs, targets):
        variables = [variable for pair in self._weights for variable in pair]
        optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_RATE, _STEPS))
        optimizer.build(variables)

        @graph_function
        def train():
            with tf.GradientTape() as tape:
                error = tf.reduce_mean(tf.square(self._logarithm(inputs) - targets))
                size = tf.add_n([tf.reduce_sum(tf.square(kernel)) for kernel, _ in self._weights])
                loss = error + _DECAY * size
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        for _ in range(_STEPS):
            train()

    def _logarithm(self, x: tf.Tensor) -> tf.Tensor:
        for kernel, bias in self._weights[:-1]:
            x = tf.tanh(tf.matmul(x, kernel) + bias)
        kernel, bias = self._weights[-1]
        return tf.matmul(x, kernel) + bias

    def milliseconds(self, parts: list[Part]) -> tf.Tensor:
        """Predicts the milliseconds of parts, [count]; their channels may be tensors."""
        inputs = tf.stack([_features(part) for part in parts])
        return self._scale * tf.exp(self._logarithm(inputs))[:, 0]

    def latency(
        self,
        config: TranslatorConfig,
        widths: Mapping[str, Any] | None = None,
        gates: Mapping[str, Any] | None = None,
    ) -> tf.Tensor:
        """Predicts the milliseconds of a translator on pictures of `image_size` pixels.

        Args:
          config: The configuration; its own side does not count.
          widths: Channels of the layers, as `parts_of` takes them; the configuration's if None.
          gates: Factors of the residual blocks, by name; what is missing is 1.

        Returns:
          A scalar; gradients flow to widths and gates.
        """
        parts = parts_of(dataclasses.replace(config, image_size=self.image_size), widths)
        factors = tf.stack(
            [tf.cast((gates or {}).get(part.gate, 1.0), tf.float32) for part in parts]
        )
        return tf.reduce_sum(factors * self.milliseconds(parts))


def _features(part: Part) -> tf.Tensor:
    """Describes a part by numbers of about 1."""
    kind = [1.0 if part.kind == name else 0.0 for name in KINDS]
    sizes = [
        tf.math.log(tf.cast(value, tf.float32)) / scale - 1.0
        for value, scale in (
            (part.side, 4.5),
            (part.inputs, 3.0),
            (part.outputs, 3.0),
            (macs_of(part), 17.0),
        )
    ]
    return tf.stack([*map(tf.constant, kind), *sizes])
