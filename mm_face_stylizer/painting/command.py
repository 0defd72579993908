"""The `paint` command, which shows a style on photos before anything is tuned."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mm_face_stylizer.painting.choices import COLORS
from task_bundle.command_files import check_input_files, check_output_folder, output_file
from task_bundle.command_line import (
    add_face_landmarker,
    add_overwrite,
    add_unmarked,
    debug_requested,
    fraction,
    report_error,
    seed,
)
from task_bundle.errors import ImageError
from task_bundle.files import already_exists

if TYPE_CHECKING:
    from task_bundle.command_line import SubCommands

_SIZES = (256, 512)


def add_paint(commands: SubCommands, program: str) -> None:
    """Adds the command to those of a program.

    Args:
      commands: What `argparse.ArgumentParser.add_subparsers` returned.
      program: The name of the program, for messages about single photos.
    """
    paint = commands.add_parser(
        "paint",
        help="paint photos in the style of pictures, without training",
        description="Paints the biggest face of each photo in the style of one to ten pictures and "
        "writes a PNG for each into DIR. Nothing is trained: it takes seconds, and shows what a "
        "stylizer of these pictures can become.",
    )
    paint.add_argument(
        "styles",
        nargs="+",
        type=Path,
        metavar="STYLE",
        help="a picture of the style that shows a face, or a folder of such pictures",
    )
    paint.add_argument("--photo", nargs="+", required=True, type=Path, metavar="PHOTO")
    paint.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="a folder; or, for one photo, the PNG to write",
    )
    add_painting_options(paint)
    paint.add_argument(
        "--size",
        type=int,
        choices=_SIZES,
        default=_SIZES[0],
        help="side of the paintings in pixels (256)",
    )
    paint.add_argument("--seed", type=seed, default=0, help="same seed, same paintings (0)")
    paint.add_argument(
        "--person-model",
        type=Path,
        metavar="X.tflite",
        help="a selfie segmentation model (the one in mediapipe 0.10; GrabCut where there is none)",
    )
    add_face_landmarker(paint, "take face detector and landmark model from this bundle")
    add_unmarked(paint)
    add_overwrite(paint)

    paint.set_defaults(run=lambda arguments: _paint(arguments, program))


def add_painting_options(command: argparse._ActionsContainer) -> None:
    """Adds the options that decide how a painting looks.

    Args:
      command: A parser, or a group of options.
    """
    command.add_argument(
        "--likeness",
        type=fraction,
        metavar="X",
        help="from 0, the style's own features in the photo's places, to 1, the photo's light and "
        "shade (chosen from the style pictures, and printed)",
    )
    command.add_argument(
        "--colors",
        choices=COLORS,
        default=COLORS[0],
        help="the style's, or the photo's own skin, hair and clothes (style)",
    )


def _paint(arguments: argparse.Namespace, program: str) -> int:
    check_input_files(*arguments.styles, arguments.face_landmarker, arguments.person_model)
    file = output_file(arguments.output, arguments.photo, ".png")
    folder = arguments.output if file is None else file.parent
    from task_bundle.media.folders import list_pictures

    paths = list_pictures(arguments.styles)
    targets = [file or folder / f"{photo.stem}.png" for photo in arguments.photo]
    check_output_folder(folder)
    _check_targets(arguments.photo, paths, targets, arguments.overwrite)
    # OpenCV writes warnings to stderr; what matters raises an exception instead.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    from mm_face_stylizer.painting.painter import Painter
    from mm_face_stylizer.painting.portrait_finder import PortraitFinder, find_all
    from task_bundle.faces.face_models import find_face_models
    from task_bundle.media.images import load_image, save_png

    failed = False
    size = arguments.size
    face_models = find_face_models(arguments.face_landmarker)
    with PortraitFinder(face_models, arguments.person_model) as finder:
        styles = find_all(
            [str(path) for path in paths],
            lambda index: finder.find(load_image(paths[index]), size, str(paths[index])),
        )
        painter = Painter(styles, arguments.likeness, arguments.colors, arguments.seed)
        chosen = "" if arguments.likeness is not None else ", chosen from the style pictures"
        sys.stdout.write(f"likeness {painter.likeness:g}{chosen}\n")
        folder.mkdir(parents=True, exist_ok=True)
        for photo, target in zip(arguments.photo, targets, strict=True):
            try:
                painting = painter.paint(finder.find(load_image(photo), size, str(photo)))
                save_png(
                    target, painting.picture, arguments.overwrite, marked=not arguments.unmarked
                )
            except (ImageError, OSError) as error:
                failed = True
                report_error(program, error, debug_requested(arguments))
                continue
            sys.stdout.write(f"{target}\n")
            sys.stdout.flush()
    return int(failed)


def _check_targets(
    photos: Sequence[Path], styles: Sequence[Path], targets: Sequence[Path], overwrite: bool
) -> None:
    """Checks, before anything is painted, that no painting replaces another file."""
    # Unlike `Path.resolve`, this accepts links that lead to themselves.
    inputs = {os.path.realpath(path): path for path in (*photos, *styles)}
    owners: dict[Path, Path] = {}
    for photo, target in zip(photos, targets, strict=True):
        if target in owners:
            raise ImageError(f"{owners[target]} and {photo} would both be written to {target}")
        owners[target] = photo
        if (place := os.path.realpath(target)) in inputs:
            raise ImageError(
                f"{target} would replace the input {inputs[place]}; choose another output folder"
            )
        # A photo that is missing is told by its own error.
        if target.exists() and not overwrite and os.path.exists(photo):
            raise already_exists(target)
