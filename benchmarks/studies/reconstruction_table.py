"""Evaluates presets on held-out portraits and tabulates them, for the studies of recipes."""

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
    """Returns a parser with the options for the folder of the trainings and the portraits.

    Args:
      description: Description for `--help`, which is not reformatted.
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
        help="train in bfloat16, as the released presets were, on processors that support it",
    )
    return parser


def evaluate_preset(
    preset: Preset, held_out: PortraitSet, models: FaceModels, samples: int = 2
) -> Evaluation:
    """Evaluates a preset as `mm-face-stylizer evaluate` does.

    Args:
      preset: The preset.
      held_out: Portraits that it was not trained on.
      models: Face detector and landmark model.
      samples: Number of generated faces, for presets with a trained prior or mapping network.

    Returns:
      The evaluation.
    """
    options = EvaluationOptions(samples=samples)
    return evaluate(PresetSubject(preset), held_out, options=options, face_models=models).evaluation


def table_row(evaluation: Evaluation) -> dict[str, float]:
    """Returns the mean of each measure by name; some presets lack some measures."""
    means = {measure.name: round(measure.mean, 4) for measure in evaluation.measures}
    return {name: means[name] for name in _MEASURES if name in means}


def publish(table: Mapping[str, Mapping[str, float]], path: Path, **settings: Any) -> None:
    """Writes the rows as JSON together with the settings, and prints them as a Markdown table."""
    content = settings | {"runs": table}
    atomic_write(path, json.dumps(content, indent=1).encode() + b"\n", overwrite=True)
    sys.stdout.write(_markdown(table))


def _markdown(table: Mapping[str, Mapping[str, float]]) -> str:
    """Returns a Markdown table with the union of the columns of all rows."""
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in table.items():
        lines.append(f"| {name} | {' | '.join(str(row.get(key, '')) for key in columns)} |")
    return "\n".join(lines) + "\n"
