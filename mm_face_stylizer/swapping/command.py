"""The `swap` command: photos of one person in, a bundle that gives anybody that face out."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from typing import TYPE_CHECKING

from mm_face_stylizer.errors import InvalidArgumentError
from task_bundle.command_line import (
    add_face_landmarker,
    add_overwrite,
    check_output_files,
    positive_int,
)

if TYPE_CHECKING:
    from task_bundle.command_line import SubCommands

_STEPS = 200


def add_swap(commands: SubCommands) -> None:
    """Adds the command to those of a program.

    Args:
      commands: What `argparse.ArgumentParser.add_subparsers` returned.
    """
    swap = commands.add_parser(
        "swap",
        help="make a bundle that gives anybody the face of a person who agreed to it",
        description="Reads photos of one person and writes a .task bundle whose stylizer gives "
        "others that face; `stylize --composite` then swaps faces in photos and videos, and these "
        "say in their metadata that they are not genuine.",
    )
    swap.add_argument("photos", nargs="+", type=pathlib.Path, metavar="PHOTO")
    swap.add_argument("-o", "--output", required=True, type=pathlib.Path, metavar="X.task")
    swap.add_argument(
        "--i-have-consent",
        action="store_true",
        help="say that the person in the photos agreed to this; without it nothing is made, since "
        "swapped faces can hurt the one who is shown",
    )
    swap.add_argument(
        "--preset",
        type=pathlib.Path,
        metavar="RUN_OR_PRESET",
        help="what `face-swap train` wrote",
    )
    swap.add_argument(
        "--refine",
        nargs="?",
        type=positive_int,
        const=_STEPS,
        metavar="STEPS",
        help=f"tune the networks on pictures of this person, ({_STEPS} steps); without "
        "--preset they start from nothing, which needs many more",
    )
    swap.add_argument("--seed", type=int, default=0, help="of the refinement (0)")
    swap.add_argument(
        "--precision",
        choices=("float16", "float32", "int8"),
        default="float16",
        help="of the weights; input and output are float32 always (float16)",
    )
    add_face_landmarker(swap)
    add_overwrite(swap)
    swap.set_defaults(run=_swap)


def _swap(arguments: argparse.Namespace) -> None:
    check_output_files(arguments.output, overwrite=arguments.overwrite)
    from mm_face_stylizer.swapping.swapper import CONSENT, FaceSwapper

    if not arguments.i_have_consent:
        raise InvalidArgumentError(f"{CONSENT}: say so by --i-have-consent (docs/face-swap.md)")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    if arguments.preset is None and arguments.refine is not None:
        swapper = FaceSwapper(None)
    else:
        swapper = FaceSwapper.find(arguments.preset)
    from tqdm import tqdm

    from task_bundle.faces.face_models import find_face_models
    from task_bundle.media.images import load_image

    face_models = find_face_models(arguments.face_landmarker)
    photos = {str(path): load_image(path) for path in arguments.photos}
    refinement = None
    if arguments.refine is not None:
        from mm_face_stylizer.training.face_swap.refinement import RefinementOptions

        refinement = RefinementOptions(arguments.refine, seed=arguments.seed)
    with tqdm(
        total=arguments.refine or 0, desc="Refining", unit="step", disable=refinement is None
    ) as bar:
        bundle = swapper.bundle(
            photos,
            has_consent=True,
            refinement=refinement,
            precision=arguments.precision,
            face_models=face_models,
            on_step=lambda step, values: bar.update(),
        )
    bundle.save(arguments.output, overwrite=arguments.overwrite)
    sys.stdout.write(f"{arguments.output}\n")
