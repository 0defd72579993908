"""The `swap` command: photos of one person in, a bundle that gives anybody that face out."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from typing import TYPE_CHECKING

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.swapping.swapper import CONSENT, REFINEMENT_STEPS, FaceSwapper
from task_bundle.command_files import check_input_files, check_output_files
from task_bundle.command_line import (
    add_face_landmarker,
    add_overwrite,
    index,
    seed,
)

if TYPE_CHECKING:
    from task_bundle.command_line import SubCommands


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
        help="networks that `face-swap train` wrote, in place of those of the package",
    )
    swap.add_argument(
        "--refine",
        type=index,
        default=REFINEMENT_STEPS,
        metavar="STEPS",
        help="steps that tune the networks for this person, without which hardly anybody is "
        f"recognized; with 0 the bundle is made in seconds ({REFINEMENT_STEPS})",
    )
    swap.add_argument("--seed", type=seed, default=0, help="of the refinement (0)")
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
    check_input_files(*arguments.photos, arguments.face_landmarker)
    if not arguments.i_have_consent:
        raise InvalidArgumentError(f"{CONSENT}: say so by --i-have-consent (docs/face-swap.md)")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    swapper = FaceSwapper.find(arguments.preset)
    check_output_files(arguments.output, overwrite=arguments.overwrite)
    from tqdm import tqdm

    from task_bundle.faces.face_models import find_face_models
    from task_bundle.media.images import load_image

    face_models = find_face_models(arguments.face_landmarker)
    photos = {str(path): load_image(path) for path in arguments.photos}
    with tqdm(
        total=arguments.refine, desc="Refining", unit="step", disable=not arguments.refine
    ) as bar:
        bundle = swapper.bundle(
            photos,
            has_consent=True,
            steps=arguments.refine,
            seed=arguments.seed,
            precision=arguments.precision,
            face_models=face_models,
            on_step=lambda step, values: bar.update(),
        )
    bundle.save(arguments.output, overwrite=arguments.overwrite)
    sys.stdout.write(f"{arguments.output}\n")
