"""The table that compares trainings: how well each reconstructs the portraits held out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm_face_stylizer.evaluation.evaluator import EvaluationOptions, evaluate
from mm_face_stylizer.evaluation.portrait_set import PortraitSet
from mm_face_stylizer.evaluation.report import Evaluation
from mm_face_stylizer.evaluation.subject import PresetSubject
from mm_face_stylizer.preset import Preset
from task_bundle.faces.face_models import FaceModels
from task_bundle.files import atomic_write

_MEASURES = (
    "psnr",
    "ms_ssim",
    "feature_distance",
    "sharpness",
    "face_found",
    "landmark_error",
    "rank1_identity",
)


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """A command line with the folder of all trainings and the portraits.

    Args:
      description: What `--help` says, as it stands.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=Path, required=True, help="aligned portraits")
    parser.add_argument("--face-list", type=Path)
    parser.add_argument(
        "--bfloat16",
        action="store_const",
        dest="conv_dtype",
        const="bfloat16",
        default="float32",
        help="train in bfloat16, as the released presets were: for processors that can",
    )
    return parser


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


def publish(table: Mapping[str, Mapping[str, float]], path: Path, **setting: Any) -> None:
    """Writes the rows as JSON, after what they were measured with, and prints them as a table."""
    content = setting | {"runs": table}
    atomic_write(path, json.dumps(content, indent=1).encode() + b"\n", overwrite=True)
    sys.stdout.write(_markdown(table))


def _markdown(table: Mapping[str, Mapping[str, float]]) -> str:
    """The rows as a table, with the columns that any of them has."""
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in table.items():
        lines.append(f"| {name} | {' | '.join(str(row.get(key, '')) for key in columns)} |")
    return "\n".join(lines) + "\n"
