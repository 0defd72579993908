"""Perceptual features without a download: MediaPipe's face-mesh network, made differentiable.

MediaPipe's face landmark model is a plain convolutional network, trained on far more faces than any
public data set has. Its TFLite flatbuffer is read into frozen weights, and its operators are run as
differentiable TensorFlow operations; the activations at each resolution are the perceptual
features, and the landmarks themselves become a differentiable measure of geometry.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import DataError

_OPERATOR_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32,
}
_MESH_POINTS = 468


@dataclasses.dataclass(frozen=True)
class FaceMesh:
    """Outputs of the face-mesh network for a batch of pictures.

    Attributes:
      features: Activations, finest first, each [batch, side, side, channels].
      landmarks: [batch, 468, 3], as fractions of the picture's side.
    """

    features: list[tf.Tensor]
    landmarks: tf.Tensor


class FaceMeshFeatures(keras.Model):
    """Frozen, differentiable face-mesh network.

    Attributes:
      input_size: Side in pixels that the network works at (192 or 256).
      feature_sides: Sides in pixels of the feature maps, finest first.
    """

    def __init__(self, model: bytes, conv_dtype: str = "float32", **kwargs):
        """Reads the network.

        Args:
          model: A face landmark TFLite flatbuffer with float weights.
          conv_dtype: Precision of the convolutions, see `ModulatedConv2D`.
          **kwargs: As any Keras model takes.

        Raises:
          ValueError: The flatbuffer holds an operator that no MediaPipe face mesh has.
        """
        super().__init__(trainable=False, **kwargs)
        self._conv_dtype = conv_dtype
        flatbuffer = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
        self._graph = flatbuffer.subgraphs[0]
        self._names = [
            _OPERATOR_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
            for code in flatbuffer.operatorCodes
        ]
        self._operators = self._needed_operators()
        self._constants = {}
        for operator in self._operators:
            name = self._names[operator.opcodeIndex]
            if not hasattr(self, f"_{name.lower()}"):
                raise DataError(f"The face landmark model has the unexpected operator {name}.")
            for index in operator.inputs:
                data = flatbuffer.buffers[self._graph.tensors[index].buffer].data
                if data is not None and len(data):
                    self._constants[str(index)] = self._constant(index, data, name)
        self.input_size = int(self._graph.tensors[self._graph.inputs[0]].shape[1])
        last_of_side = {}
        for operator in self._operators:
            shape = self._graph.tensors[operator.outputs[0]].shape
            if self._names[operator.opcodeIndex] == "PRELU" and len(shape) == 4:
                last_of_side[int(shape[1])] = operator.outputs[0]
        self.feature_sides = tuple(sorted(last_of_side, reverse=True)[:6])
        self._feature_tensors = tuple(last_of_side[side] for side in self.feature_sides)

    def _landmark_tensor(self) -> int:
        """Finds the tensor with 468 (or 478) points in pixels, before operators reorder them."""
        for operator in self._graph.operators:
            # A dequantized bias has as many numbers, so the kind of operator is checked too.
            if self._names[operator.opcodeIndex] not in ("CONV_2D", "RESHAPE"):
                continue
            size = int(np.prod(self._graph.tensors[operator.outputs[0]].shape))
            if size in (3 * _MESH_POINTS, 3 * 478):
                return operator.outputs[0]
        raise DataError("The face landmark model has no output of 468 or 478 points.")

    def _needed_operators(self):
        """Returns the operators that the landmarks depend on, in order."""
        producers = {op.outputs[0]: op for op in self._graph.operators}
        self._landmarks = self._landmark_tensor()
        needed, pending = set(), [self._landmarks]
        while pending:
            operator = producers.get(pending.pop())
            if operator is not None and id(operator) not in needed:
                needed.add(id(operator))
                pending.extend(operator.inputs)
        return [op for op in self._graph.operators if id(op) in needed]

    def _constant(self, index, data, operator_name):
        tensor = self._graph.tensors[index]
        values = np.frombuffer(bytes(data), _DTYPES[tensor.type]).reshape(tensor.shape)
        if tensor.type == schema.TensorType.INT32:
            return values
        # Weights, not graph constants: a constant would be copied into every traced function.
        weight = self.add_weight(
            name=f"tensor{index}", shape=values.shape, trainable=False, initializer="zeros"
        )
        weight.assign(values.astype(np.float32))
        return weight

    def call(self, image: tf.Tensor, training: bool | None = None) -> FaceMesh:
        """Computes features and landmarks of aligned faces.

        Args:
          image: [batch, side, side, 3] in [-1, 1], any side.
          training: Accepted for the Keras contract; the network is frozen.

        Returns:
          The features and landmarks.
        """
        del training
        x = (image + 1.0) / 2.0
        while x.shape[1] >= 2 * self.input_size:
            # Bilinear resizing by more than two would skip pixels.
            x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
        if x.shape[1] > self.input_size:
            x = _blurred(x)
        x = tf.image.resize(x, (self.input_size, self.input_size))
        values = {int(index): constant for index, constant in self._constants.items()}
        values[self._graph.inputs[0]] = x
        for operator in self._operators:
            arguments = [values[i] if i >= 0 else None for i in operator.inputs]
            run = getattr(self, f"_{self._names[operator.opcodeIndex].lower()}")
            values[operator.outputs[0]] = run(operator.builtinOptions, operator, *arguments)
        points = tf.reshape(values[self._landmarks], (tf.shape(image)[0], -1, 3))
        return FaceMesh(
            features=[values[index] for index in self._feature_tensors],
            landmarks=points[:, :_MESH_POINTS] / self.input_size,
        )

    @staticmethod
    def _padding(options):
        return "SAME" if options.padding == schema.Padding.SAME else "VALID"

    @staticmethod
    def _activate(options, x):
        activation = options.fusedActivationFunction
        if activation == schema.ActivationFunctionType.RELU:
            return tf.nn.relu(x)
        if activation == schema.ActivationFunctionType.RELU6:
            return tf.nn.relu6(x)
        return x

    def _conv_2d(self, options, operator, x, kernel, bias):
        kernel = tf.transpose(kernel, (1, 2, 3, 0))
        strides = (options.strideH, options.strideW)
        if self._conv_dtype != "float32":
            x, kernel = tf.cast(x, self._conv_dtype), tf.cast(kernel, self._conv_dtype)
        y = tf.cast(tf.nn.conv2d(x, kernel, strides, self._padding(options)), tf.float32)
        return self._activate(options, y + bias)

    def _depthwise_conv_2d(self, options, operator, x, kernel, bias):
        strides = (1, options.strideH, options.strideW, 1)
        kernel = tf.transpose(kernel, (1, 2, 3, 0))
        y = tf.nn.depthwise_conv2d(x, kernel, strides, self._padding(options))
        return self._activate(options, y + bias)

    def _prelu(self, options, operator, x, slope):
        return tf.maximum(x, 0.0) + slope * tf.minimum(x, 0.0)

    def _add(self, options, operator, a, b):
        return self._activate(options, a + b)

    def _max_pool_2d(self, options, operator, x):
        return tf.nn.max_pool2d(
            x,
            (options.filterHeight, options.filterWidth),
            (options.strideH, options.strideW),
            self._padding(options),
        )

    def _pad(self, options, operator, x, paddings):
        return tf.pad(x, paddings)

    def _dequantize(self, options, operator, x):
        return x

    def _reshape(self, options, operator, x, *shape):
        target = self._graph.tensors[operator.outputs[0]].shape
        return tf.reshape(x, (-1, *(int(side) for side in target[1:])))


def _blurred(x: tf.Tensor) -> tf.Tensor:
    """Applies a 3x3 binomial blur, for use before bilinear downsampling.

    Without it, downsampling weights some rows and columns more than others, and a generator that is
    trained through it learns to draw stripes there.
    """
    weights = np.outer((1, 2, 1), (1, 2, 1)).astype(np.float32) / 16.0
    kernel = tf.constant(np.repeat(weights[:, :, np.newaxis, np.newaxis], 3, axis=2))
    padded = tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "SYMMETRIC")
    return tf.nn.depthwise_conv2d(padded, kernel, (1, 1, 1, 1), "VALID")
