"""How much does each part of the preset's recipe contribute?

    python -m benchmarks.studies.ablations FOLDER --faces DIR [--face-list LIST.csv] [--bfloat16]

Trains the recipe from random weights, once as a whole and once without each of its parts, with the
same seed, portraits, steps and size (128 px), and evaluates each run on the held-out portraits as
`mm-face-stylizer evaluate` does. The recipe itself takes days and these runs minutes, so that the
order of the variants is meaningful but not the values. Writes ablations.json and prints the table.
Interrupted runs are resumed, and finished ones are not repeated.
"""

from __future__ import annotations

import dataclasses
import shutil

from benchmarks.studies.reconstruction_table import (
    argument_parser,
    evaluate_preset,
    publish,
    table_row,
)
from mm_face_stylizer.evaluation.portrait_set import PortraitSet
from mm_face_stylizer.evaluation.report import Evaluation
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.preset import save_preset
from mm_face_stylizer.training.blaze_stylegan.pretraining import Pretraining
from mm_face_stylizer.training.blaze_stylegan.schedules import PretrainingOptions, Stage
from mm_face_stylizer.training.portraits import Portraits
from task_bundle.faces.face_models import find_face_models

_SIDE = 128


def _recipe(steps: int, conv_dtype: str) -> PretrainingOptions:
    """Returns a short form of the recipe: small pictures first, fine detail last."""
    rough = Stage(64, steps // 3)
    faces = Stage(
        _SIDE,
        steps // 3,
        finest_weight=1.0,
        colour_weight=2.0,
        perceptual_weight=0.15,
        perceptual_images=4,
        spatial_dropout=0.2,
    )
    detail = dataclasses.replace(
        faces, adversarial_share=0.3, detail_weight=2.0, frozen_statistics=True
    )
    return PretrainingOptions((rough, faces, detail), _SIDE, (8, 16, 32), conv_dtype=conv_dtype)


def _variants(steps: int, conv_dtype: str) -> dict[str, PretrainingOptions]:
    whole = _recipe(steps, conv_dtype)

    def without(**changes: float) -> PretrainingOptions:
        stages = (dataclasses.replace(stage, **changes) for stage in whole.stages)
        return dataclasses.replace(whole, stages=tuple(stages))

    large = (dataclasses.replace(stage, image_size=_SIDE) for stage in whole.stages)
    return {
        "whole recipe": whole,
        "no face-mesh features, no landmarks": without(perceptual_weight=0.0),
        "no landmarks": without(landmark_weight=0.0),
        "no finest L1, no color error": without(finest_weight=0.0, colour_weight=0.0),
        "no discriminator": without(adversarial_share=0.0),
        "no detail distance": without(detail_weight=0.0),
        "neither of the two": without(adversarial_share=0.0, detail_weight=0.0),
        "no spatial dropout": without(spatial_dropout=0.0),
        "not from small to large": dataclasses.replace(whole, stages=tuple(large)),
        "spatial latents of 8 and 16 px only": dataclasses.replace(whole, spatial_sides=(8, 16)),
        "no spatial latents (published)": dataclasses.replace(whole, spatial_sides=()),
    }


def main() -> None:
    """Trains and evaluates all variants, and writes and prints the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--steps", type=int, default=600, help="training steps of each run (600)")
    arguments = parser.parse_args()

    folder, models = arguments.folder, find_face_models()
    portraits = Portraits(arguments.faces, folder / "cache", _SIDE)
    held_out = PortraitSet.load(arguments.faces, _SIDE, arguments.face_list)
    mesh = FaceMeshFeatures(models.landmarks)
    results: dict[str, Evaluation] = {}
    for name, options in _variants(arguments.steps, arguments.conv_dtype).items():
        place = folder / name.replace(" ", "_")
        done = place / "evaluation.json"
        if done.exists():
            results[name] = Evaluation.load(done)
        else:
            run = Pretraining(options, portraits, mesh, place / "run")
            run.run()
            preset = save_preset(
                place / "preset", run.networks, {"name": place.name}, overwrite=True
            )
            results[name] = evaluate_preset(preset, held_out, models)
            results[name].save(done)
            # The checkpoints take hundreds of megabytes.
            shutil.rmtree(place / "run" / "checkpoints")
    table = {name: table_row(evaluation) for name, evaluation in results.items()}
    publish(table, folder / "ablations.json", steps=arguments.steps, side=_SIDE)


if __name__ == "__main__":
    main()
