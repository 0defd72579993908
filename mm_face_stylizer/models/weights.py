"""Weights of networks by name: reading, assigning, and creating without initial values."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from mm_face_stylizer._keras import keras, tf

# Key of the mean latent, which belongs to no network.
W_AVG = "w_avg"


@contextlib.contextmanager
def without_initializers() -> Iterator[None]:
    """Creates variables as zeros, for networks whose weights are all assigned right after.

    Drawing initial values takes a third of the time that it takes to open a preset. Nothing is
    drawn from the global random stream either.
    """

    def create_zeros(next_creator: Any, **arguments: Any) -> tf.Variable:
        shape, dtype = tf.TensorShape(arguments.get("shape")), arguments.get("dtype")
        if callable(arguments.get("initial_value")) and dtype and shape.is_fully_defined():
            arguments["initial_value"] = lambda: tf.zeros(shape, dtype)
        return next_creator(**arguments)

    with tf.variable_creator_scope(create_zeros):
        yield


def joined_weights(
    parts: Mapping[str, keras.Model], w_avg: np.ndarray | tf.Variable
) -> dict[str, np.ndarray]:
    """Collects the weights of networks.

    Args:
      parts: Networks by name.
      w_avg: Mean latent.

    Returns:
      float32 arrays by `network/layer/weight`, and `w_avg`.
    """
    return {W_AVG: np.asarray(w_avg, np.float32)} | weights_of_parts(parts)


def weights_of_parts(parts: Mapping[str, keras.Model]) -> dict[str, np.ndarray]:
    """Returns the weights of networks by `network/layer/weight`, float32."""
    return {name: variable.numpy() for name, variable in _variables_of(parts).items()}


def _variables_of(parts: Mapping[str, keras.Model]) -> dict[str, tf.Variable]:
    return {
        f"{part}/{name}": variable
        for part, network in parts.items()
        for name, variable in named_weights(network).items()
    }


def assign_weights(
    parts: Mapping[str, keras.Model],
    weights: Mapping[str, np.ndarray],
    others: Collection[str] = (W_AVG,),
) -> None:
    """Assigns weights to networks.

    Args:
      parts: Networks by name.
      weights: As `joined_weights` returns them, of any float precision.
      others: Names of weights that belong to none of the networks.

    Raises:
      ValueError: A weight, one of `others` included, is missing, unknown, or of the wrong shape.
    """
    variables = _variables_of(parts)
    expected = {*others, *variables}
    if expected != set(weights):
        missing, unknown = sorted(expected - set(weights)), sorted(set(weights) - expected)
        raise ValueError(
            f"The weights do not fit the networks: missing {missing[:3]} ({len(missing)} in all), "
            f"unknown {unknown[:3]} ({len(unknown)} in all)."
        )
    for name, variable in variables.items():
        value = weights[name]
        if tuple(variable.shape) != value.shape:
            raise ValueError(
                f"The weight {name} has the shape {value.shape}; the network needs "
                f"{tuple(variable.shape)}."
            )
        variable.assign(value.astype(np.float32))


def named_weights(model: keras.Model) -> dict[str, tf.Variable]:
    """Returns the weights of a model by `layer/weight`, independent of the model's own name.

    Raises:
      ValueError: Two weights share a name.
    """
    named = {}
    for variable in model.weights:
        parts = variable.name.split(":")[0].split("/")
        name = "/".join(parts[-2:]) if len(parts) > 1 else parts[-1]
        if name in named:
            raise ValueError(f"{model.name} has two weights named {name}.")
        named[name] = variable
    return named
