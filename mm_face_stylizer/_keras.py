"""The one place where TensorFlow and Keras 2 are imported.

Keras means `tf_keras` (Keras 2 semantics) throughout the package. On TensorFlow 2.16 and newer
`tf.keras` is Keras 3 unless `TF_USE_LEGACY_KERAS` is set before TensorFlow is first imported, and
TFLite's converter would then trace a different Keras than the one the networks are written in.
"""

import functools
import os

from task_bundle.silence import native_errors_afterwards

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

# What TensorFlow logs of CUDA and of the processor is hidden here, and not by TF_CPP_MIN_LOG_LEVEL,
# which would also silence what a program of its user does with TensorFlow.
with native_errors_afterwards():
    import tensorflow as tf
    import tf_keras as keras

# TensorFlow has no public name for it since version 2.
from tensorflow.python.framework.convert_to_constants import (  # noqa: E402
    convert_variables_to_constants_v2 as with_constants,
)

# Nothing here branches on tensors, and looking for that takes a third of the time to trace a step.
graph_function = functools.partial(tf.function, autograph=False)

__all__ = ["graph_function", "keras", "tf", "with_constants"]
