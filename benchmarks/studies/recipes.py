"""Does the published recipe (teacher, distillation, inversion) beat this package's single training?

    python -m benchmarks.studies.recipes FOLDER --faces DIR [--face-list LIST.csv] [--bfloat16]

Trains both with the same portraits at a size for an evening on two cores: pictures of 64 px, and a
teacher of an eighth of the published width. The published recipe runs through the commands of
`mm-face-stylizer`; its encoder is evaluated with a frozen synthesis network and after joint
refinement. This package's recipe trains encoder and synthesis network together from random
weights, with spatial latents and without them, as published. Writes recipes.json and prints the
table. Interrupted trainings are resumed, and finished ones are not repeated.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Callable

from benchmarks.studies.reconstruction_table import (
    argument_parser,
    evaluate_preset,
    publish,
    table_row,
)
from mm_face_stylizer.evaluation.portrait_set import PortraitSet
from mm_face_stylizer.evaluation.report import Evaluation
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.blaze_stylegan.inversion import (
    FROZEN_STAGES,
    JOINT_STAGES,
    Inversion,
    InversionOptions,
)
from mm_face_stylizer.training.blaze_stylegan.pretraining import Pretraining
from mm_face_stylizer.training.blaze_stylegan.release import release
from mm_face_stylizer.training.blaze_stylegan.schedules import PretrainingOptions, Stage
from mm_face_stylizer.training.card import Provenance, running_commit
from mm_face_stylizer.training.portraits import Portraits
from task_bundle.faces.face_models import find_face_models

_SIDE = 64
_WIDTH = 0.125
_SAMPLES = 1000


class _Recipes:
    """Trainings in a folder, each of which writes a preset there."""

    def __init__(self, arguments: argparse.Namespace):
        self._folder = arguments.folder
        self._data = ["--data", str(arguments.faces)]
        if arguments.face_list:
            self._data += ["--data-list", str(arguments.face_list)]
        self._arguments = arguments
        self.models = find_face_models()
        self.portraits = Portraits(arguments.faces, self._folder / "cache", _SIDE)

    def _command(self, command: str, name: str, result: str, *options: str | int | float) -> Preset:
        """Runs a command of `mm-face-stylizer`, unless its result exists."""
        folder = self._folder / name
        if not (folder / result / "card.json").exists():
            program = [sys.executable, "-m", "mm_face_stylizer.cli"]
            arguments = [command, *self._data, "--output", str(folder), *map(str, options)]
            if subprocess.run([*program, *arguments], check=False).returncode:
                sys.exit(1)
        return Preset.find(folder / result)

    def frozen(self) -> Preset:
        """Trains the teacher, on small pictures first, then the student and the encoder."""
        steps = self._arguments
        dtype = ["--bfloat16"] * (steps.conv_dtype == "bfloat16")
        small, large = (
            ("--image-size", side, "--width", _WIDTH, *dtype) for side in (_SIDE // 2, _SIDE)
        )
        first, last = steps.teacher_steps
        start = self._command(
            "pretrain-teacher", "teacher_small", "teacher", *small, "--steps", first
        )
        teacher = self._command(
            "pretrain-teacher", "teacher", "teacher", *large, "--steps", last,
            "--start-from", start.folder,
        )  # fmt: skip
        student = self._command(
            "distill", "student", "student", "--teacher", teacher.folder,
            "--image-size", _SIDE, *dtype, "--steps", steps.distillation_steps,
        )  # fmt: skip
        return self._command(
            "invert", "frozen", "blaze_face_stylizer", "--start-from", student.folder,
            "--steps", steps.inversion_steps,
        )  # fmt: skip

    def refined(self) -> Preset:
        """Runs the last stage of `invert --refine` on the preset of `frozen`."""
        start = self.frozen()
        (*_, stage) = JOINT_STAGES
        share = self._arguments.inversion_steps / sum(s.steps for s in FROZEN_STAGES)
        stage = dataclasses.replace(stage, steps=max(1, int(stage.steps * share)))

        def training(folder: pathlib.Path) -> Inversion:
            mesh = FaceMeshFeatures(self.models.landmarks)
            options = InversionOptions((stage,))
            return Inversion(options, start.networks(), self.portraits, mesh, folder)

        return self._trained("refined", training, start)

    def joint(self, spatial_sides: tuple[int, ...]) -> Preset:
        """Trains encoder and synthesis network together, on small pictures first."""
        steps = self._arguments.joint_steps
        rough = Stage(_SIDE // 2, steps // 4)
        faces = Stage(
            _SIDE,
            steps - steps // 4,
            finest_weight=1.0,
            colour_weight=2.0,
            perceptual_weight=0.15,
            perceptual_images=6,
        )
        dtype = self._arguments.conv_dtype
        options = PretrainingOptions((rough, faces), _SIDE, spatial_sides, conv_dtype=dtype)

        def training(folder: pathlib.Path) -> Pretraining:
            mesh = FaceMeshFeatures(self.models.landmarks)
            return Pretraining(options, self.portraits, mesh, folder)

        return self._trained("spatial" if spatial_sides else "w_plus", training)

    def _trained(
        self,
        name: str,
        training: Callable[[pathlib.Path], Inversion | Pretraining],
        start: Preset | None = None,
    ) -> Preset:
        folder = self._folder / name / "preset"
        if not (folder / "card.json").exists():
            run = training(folder.parent)
            run.run()
            command = f"python -m benchmarks.studies.recipes {self._folder.name}"
            provenance = Provenance(
                name, command, running_commit(), self._arguments.face_list, start and start.card
            )
            rounds = 0 if start else 120
            release(run, self.portraits, provenance, folder, self.models, rounds)
        return Preset.find(folder)


def main() -> None:
    """Trains and evaluates all recipes, and writes and prints the table."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--teacher-steps",
        type=int,
        nargs=2,
        default=(7000, 1200),
        help="steps at half the side, and at the whole side",
    )
    parser.add_argument("--distillation-steps", type=int, default=800, help="(800)")
    parser.add_argument(
        "--inversion-steps",
        type=int,
        default=800,
        help="of the frozen encoder; joint refinement has 3/7 of them (800)",
    )
    parser.add_argument(
        "--joint-steps", type=int, default=600, help="of this package's recipe (600)"
    )
    arguments = parser.parse_args()

    recipes = _Recipes(arguments)
    held_out = PortraitSet.load(arguments.faces, _SIDE, arguments.face_list)
    trainings: dict[str, Callable[[], Preset]] = {
        "published, synthesis network frozen": recipes.frozen,
        "published, refined together": recipes.refined,
        "this package's": lambda: recipes.joint((8, 16)),
        "this package's, no spatial latents": lambda: recipes.joint(()),
    }
    table = {}
    for name, train in trainings.items():
        preset = train()
        done = preset.folder / "evaluation.json"
        if not done.exists():
            evaluate_preset(preset, held_out, recipes.models, _SAMPLES).save(done)
        evaluation = Evaluation.load(done)
        table[name] = {"hours": round(_hours(preset.card), 2)} | table_row(evaluation)
        for faces in evaluation.generated:
            table[name] |= {
                f"{faces.drawn_by}_face_found": round(faces.face_found, 4),
                f"{faces.drawn_by}_frechet_distance": round(faces.frechet_distance, 2),
            }
    publish(table, arguments.folder / "recipes.json", side=_SIDE, teacher_width=_WIDTH)


def _hours(card: dict) -> float:
    """Returns the hours of a training and of all trainings that it started from."""
    start = card.get("start")
    return card["hours"] + (_hours(start) if start else 0.0)


if __name__ == "__main__":
    main()
