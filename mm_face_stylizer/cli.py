"""Command line of mm-face-stylizer."""

from __future__ import annotations

import argparse
import pathlib


def _pretrain(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.models.perceptual import FaceMeshFeatures
    from mm_face_stylizer.training.portraits import Portraits
    from mm_face_stylizer.training.pretraining import Pretraining, PretrainingOptions
    from task_bundle.face_models import find_face_models

    face_mesh = FaceMeshFeatures(find_face_models(arguments.face_landmarker).landmarks)
    portraits = Portraits(arguments.data, arguments.output / "cache")
    options = PretrainingOptions(
        seed=arguments.seed, conv_dtype="bfloat16" if arguments.bfloat16 else "float32"
    )
    Pretraining(options, portraits, face_mesh, arguments.output).run()


def main(argv: list[str] | None = None) -> int:
    """Runs a command."""
    parser = argparse.ArgumentParser(prog="mm-face-stylizer")
    commands = parser.add_subparsers(required=True)
    pretrain = commands.add_parser("pretrain", help="train a preset from portraits")
    pretrain.add_argument("--data", required=True, type=pathlib.Path)
    pretrain.add_argument("--output", required=True, type=pathlib.Path)
    pretrain.add_argument("--face-landmarker", type=pathlib.Path)
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.add_argument("--bfloat16", action="store_true")
    pretrain.set_defaults(run=_pretrain)
    arguments = parser.parse_args(argv)
    arguments.run(arguments)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
