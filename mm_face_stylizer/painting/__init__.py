"""The painter: guided patch synthesis of a face in a style, without training and TensorFlow."""
