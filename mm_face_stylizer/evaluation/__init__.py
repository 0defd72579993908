"""Evaluation of presets and bundles: reconstruction, identity, style and fairness.

`evaluator.evaluate` is the function behind `mm-face-stylizer evaluate`. The names that this package
exports can be imported and used without TensorFlow and pydantic.
"""

from mm_face_stylizer.evaluation.landmarks import landmark_error
from mm_face_stylizer.evaluation.reconstruction import (
    ReconstructionMetrics,
    evaluate_reconstructions,
)

__all__ = ["ReconstructionMetrics", "evaluate_reconstructions", "landmark_error"]
