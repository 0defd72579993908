"""The one place where TensorFlow and Keras 2 are imported.

Keras means `tf_keras` (Keras 2 semantics) throughout the package. On TensorFlow 2.16 and newer
`tf.keras` is Keras 3 unless `TF_USE_LEGACY_KERAS` is set before TensorFlow is first imported, and
TFLite's converter would then trace a different Keras than the one the networks are written in.
"""

import functools
import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# TensorFlow's C++ start-up chatter (CUDA factories, CPU features); errors still come through.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf  # noqa: E402
import tf_keras as keras  # noqa: E402

# TensorFlow has no public name for it since version 2.
from tensorflow.python.framework.convert_to_constants import (  # noqa: E402
    convert_variables_to_constants_v2 as with_constants,
)

# Nothing here branches on tensors, and looking for that takes a third of the time to trace a step.
graph_function = functools.partial(tf.function, autograph=False)

__all__ = ["graph_function", "keras", "tf", "with_constants"]
