"""How good presets and bundles are: faithfulness, identity, style, and for whom.

`evaluator.evaluate` is `mm-face-stylizer evaluate` as a library; what is named here needs no
TensorFlow and no pydantic.
"""

from mm_face_stylizer.evaluation.landmarks import landmark_error
from mm_face_stylizer.evaluation.reconstruction import (
    ReconstructionMetrics,
    evaluate_reconstructions,
)

__all__ = ["ReconstructionMetrics", "evaluate_reconstructions", "landmark_error"]
