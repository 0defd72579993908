import numpy as np
import pytest

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.training.fused_adam import FusedAdam


@pytest.mark.parametrize("beta_1", [0.0, 0.9])
def test_steps_are_those_of_keras(beta_1):
    random = np.random.default_rng(0)
    start = [random.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (5,))]
    ours, theirs = ([tf.Variable(value) for value in start] for _ in range(2))
    adam = FusedAdam(ours, beta_1, 0.99)
    keras_adam = keras.optimizers.Adam(0.01, beta_1, 0.99)
    step = graph_function(adam.apply)
    for rate in (0.01, 0.01, 0.002):
        gradients = [tf.constant(random.standard_normal(v.shape), tf.float32) for v in start]
        step(gradients, tf.constant(rate))
        keras_adam.learning_rate.assign(rate)
        keras_adam.apply_gradients(zip(gradients, theirs, strict=True))
    for variable, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(variable, wanted, rtol=1e-5, atol=1e-6)
