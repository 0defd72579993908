"""Command-line options that the commands of long trainings share, and how to read them."""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys
from typing import Any

from mm_face_stylizer.training.run_request import RunRequest
from task_bundle.command_line import add_face_landmarker, positive_int, positive_number

_PROGRAM = "mm-face-stylizer"


def add_run_options(
    command: argparse.ArgumentParser,
    name: str,
    steps: int | str,
    learning_rate: float | str,
    batch_size: int | str = 16,
    data: tuple[str, str] = ("--data", "aligned portraits"),
) -> None:
    """Adds the options that every long training has; `read_run_request` reads most of them.

    Args:
      command: The command's parser.
      name: Default name of the result, for the help.
      steps: Default number of steps. A text describes a default that depends on other options; the
        option is None then, unless the user gives it. The same holds for the next two.
      learning_rate: Default learning rate.
      batch_size: Default number of pictures a step.
      data: Name and help of the option with the folder of photos.
    """
    command.add_argument(
        data[0], dest="data", required=True, type=pathlib.Path, metavar="DIR", help=data[1]
    )
    command.add_argument(
        "--data-list", type=pathlib.Path, metavar="CSV", help="columns file, source, licence"
    )
    command.add_argument(
        "-o",
        "--output",
        required=True,
        type=pathlib.Path,
        metavar="DIR",
        help="folder of the run",
    )
    command.add_argument("--name", help=f"name of the result ({name})")
    numbers = (
        ("--steps", positive_int, "N", "training steps", steps),
        ("--batch-size", positive_int, "N", "pictures a step", batch_size),
        ("--learning-rate", positive_number, "X", "of Adam", learning_rate),
    )
    for option, kind, metavar, meaning, default in numbers:
        command.add_argument(
            option,
            type=kind,
            default=None if isinstance(default, str) else default,
            metavar=metavar,
            help=f"{meaning} ({default})",
        )
    command.add_argument("--seed", type=int, default=0)


def add_distribution(command: argparse.ArgumentParser) -> None:
    """Adds `--distribution`, which shares each batch among GPUs or machines."""
    command.add_argument(
        "--distribution",
        choices=("off", "mirrored", "multi-worker-mirrored"),
        default="off",
        help="share each batch among the GPUs of this machine, or among the machines that the "
        "environment variable TF_CONFIG lists, on each of which the same command runs (off)",
    )


def add_precision(command: argparse.ArgumentParser) -> None:
    """Adds `--bfloat16`, which sets `conv_dtype`, the precision of convolutions."""
    command.add_argument(
        "--bfloat16",
        action="store_const",
        dest="conv_dtype",
        const="bfloat16",
        default="float32",
        help="convolve in bfloat16: faster on processors with instructions for it (AVX512-BF16, "
        "AMX), several times slower on others",
    )


def add_networks(command: argparse.ArgumentParser) -> None:
    """Adds the size and the precision of networks that are trained from scratch."""
    command.add_argument(
        "--image-size", type=int, default=256, metavar="SIDE", help="in pixels (256)"
    )
    command.add_argument(
        "--width",
        type=float,
        default=1.0,
        metavar="X",
        help="factor on the channels; 1 is the published network (1)",
    )
    add_precision(command)


def add_perceptual_landmarker(command: argparse.ArgumentParser) -> None:
    """Adds `--face-landmarker`, the bundle with the face mesh of the perceptual loss."""
    add_face_landmarker(command, "take the face mesh of the perceptual loss from this bundle")


def read_run_request(arguments: argparse.Namespace, default_name: str) -> RunRequest:
    """Reads the options of `add_run_options`, and `--distribution` and `--face-landmarker` if any.

    Args:
      arguments: The parsed arguments.
      default_name: Name of the result if the user gives none.
    """
    return RunRequest(
        data=arguments.data,
        output=arguments.output,
        name=arguments.name or default_name,
        command=shlex.join([_PROGRAM, *sys.argv[1:]]),
        data_list=arguments.data_list,
        distribution=getattr(arguments, "distribution", "off").replace("-", "_"),
        face_landmarker=getattr(arguments, "face_landmarker", None),
    )


def read_network_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Reads the options of `add_networks` and the numbers of `add_run_options`.

    Args:
      arguments: The parsed arguments.

    Returns:
      The keyword arguments that the options of all trainings from scratch have in common.
    """
    return {
        "image_size": arguments.image_size,
        "width": arguments.width,
        "batch_size": arguments.batch_size,
        "steps": arguments.steps,
        "learning_rate": arguments.learning_rate,
        "seed": arguments.seed,
        "conv_dtype": arguments.conv_dtype,
    }
