"""Adam with one operator a weight instead of two dozen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mm_face_stylizer._keras import tf

_EPSILON = 1e-7


class FusedAdam:
    """Adam as Keras has it, in a graph that is a third smaller: faster to trace, and to hold.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015).
    """

    def __init__(self, variables: Sequence[tf.Variable], beta_1: float, beta_2: float):
        """Starts with moments of zero.

        Args:
          variables: What to train.
          beta_1: Decay of the first moment.
          beta_2: Decay of the second moment.
        """
        self._variables = variables
        self._betas = (beta_1, beta_2)
        self._moments = [
            [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in variables]
            for _ in self._betas
        ]
        self._steps = tf.Variable(np.float32(0.0), trainable=False)

    def apply(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor) -> None:
        """Takes a step.

        Args:
          gradients: One for each variable.
          rate: Learning rate, float32.
        """
        steps = self._steps.assign_add(1.0)
        powers = [tf.pow(beta, steps) for beta in self._betas]
        for variable, first, second, gradient in zip(
            self._variables, *self._moments, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=rate,
                beta1=self._betas[0],
                beta2=self._betas[1],
                epsilon=_EPSILON,
                grad=gradient,
            )
