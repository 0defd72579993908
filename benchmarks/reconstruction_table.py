"""The table that compares trainings: how well each reconstructs the portraits held out."""

from __future__ import annotations

from collections.abc import Mapping

from mm_face_stylizer.evaluation.evaluator import EvaluationOptions, evaluate
from mm_face_stylizer.evaluation.portrait_set import PortraitSet
from mm_face_stylizer.evaluation.report import Evaluation
from mm_face_stylizer.evaluation.subject import PresetSubject
from mm_face_stylizer.preset import Preset
from task_bundle.face_models import FaceModels

_MEASURES = (
    "psnr",
    "ms_ssim",
    "feature_distance",
    "sharpness",
    "face_found",
    "landmark_error",
    "rank1_identity",
)


def judged(preset: Preset, judges: PortraitSet, models: FaceModels, samples: int = 2) -> Evaluation:
    """Judges a preset as `mm-face-stylizer evaluate` does.

    Args:
      preset: The preset.
      judges: Portraits that it was not trained on.
      models: What faces are found with.
      samples: Faces that it makes up, for those whose prior or mapping network is trained.
    """
    options = EvaluationOptions(samples=samples)
    return evaluate(PresetSubject(preset), judges, options=options, face_models=models).evaluation


def table_row(evaluation: Evaluation) -> dict[str, float]:
    """The measures' means by name; a preset that draws no faces has no landmarks."""
    means = {measure.name: round(measure.mean, 4) for measure in evaluation.measures}
    return {name: means[name] for name in _MEASURES if name in means}


def markdown(table: Mapping[str, Mapping[str, float]]) -> str:
    """The rows as a table, with the columns that any of them has."""
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in table.items():
        lines.append(f"| {name} | {' | '.join(str(row.get(key, '')) for key in columns)} |")
    return "\n".join(lines) + "\n"
