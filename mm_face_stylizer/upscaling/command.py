"""The `upscale` command, which enlarges pictures and the pictures of bundles."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from typing import TYPE_CHECKING

from task_bundle.command_files import check_input_files, check_output_files
from task_bundle.command_line import add_overwrite, add_unmarked

if TYPE_CHECKING:
    from task_bundle.command_line import SubCommands

_BUNDLE = ".task"
_PNG = ".png"


def add_upscale(commands: SubCommands) -> None:
    """Adds the command to those of a program.

    Args:
      commands: What `argparse.ArgumentParser.add_subparsers` returned.
    """
    upscale = commands.add_parser(
        "upscale",
        help="enlarge a picture, or the pictures that a bundle makes",
        description="Puts an upscaler behind the stylizer of a .task bundle, in one graph, and "
        "writes another bundle; or enlarges a picture of any size and writes a PNG.",
    )
    upscale.add_argument("input", type=pathlib.Path, metavar="INPUT", help="a bundle or a picture")
    upscale.add_argument("-o", "--output", required=True, type=pathlib.Path, metavar="X")
    add_upscaler_option(upscale)
    upscale.add_argument(
        "--scale", type=int, choices=(2, 4), help="factor on the side (that of the upscaler)"
    )
    upscale.add_argument(
        "--precision",
        choices=("float16", "float32", "int8"),
        default="float16",
        help="of the upscaler in a bundle; the stylizer keeps its own (float16)",
    )
    add_unmarked(upscale)
    add_overwrite(upscale)

    def run(arguments: argparse.Namespace) -> None:
        suffix = _BUNDLE if _is_bundle(arguments.input) else _PNG
        if arguments.output.suffix.lower() != suffix:
            upscale.error(f"argument -o/--output: {arguments.output} must end in {suffix}")
        _upscale(arguments)

    upscale.set_defaults(run=run)


def add_upscaler_option(command: argparse._ActionsContainer) -> None:
    """Adds `--upscaler`, which `Upscaler.find` takes.

    Args:
      command: A parser, or a group of options.
    """
    command.add_argument(
        "--upscaler",
        type=pathlib.Path,
        metavar="RUN_OR_PRESET",
        help="what `upscaler train` wrote (the upscaler to 2 x that comes with the package)",
    )


def _is_bundle(path: pathlib.Path) -> bool:
    return path.suffix.lower() == _BUNDLE


def _upscale(arguments: argparse.Namespace) -> None:
    check_input_files(arguments.input)
    from mm_face_stylizer.upscaling.upscaler import Upscaler

    upscaler = Upscaler.find(arguments.upscaler, arguments.scale)
    check_output_files(arguments.output, overwrite=arguments.overwrite)
    if _is_bundle(arguments.input):
        from task_bundle.bundle import TaskBundle

        bundle = upscaler.behind(TaskBundle.open(arguments.input), arguments.precision)
        bundle.save(arguments.output, overwrite=arguments.overwrite)
    else:
        from tqdm import tqdm

        from task_bundle.media.images import load_color_profile, load_image, save_png

        picture = load_image(arguments.input)
        large = upscaler.upscale(
            picture,
            threads=os.cpu_count() or 1,
            progress=lambda tiles: iter(tqdm(tiles, desc="Upscaling", unit="tile")),
        )
        profile = load_color_profile(arguments.input)
        save_png(
            arguments.output, large, arguments.overwrite, profile, marked=not arguments.unmarked
        )
    sys.stdout.write(f"{arguments.output}\n")
