"""Options that the commands of long trainings share, and what they mean."""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys
from collections.abc import Callable

_PROGRAM = "mm-face-stylizer"


def add_distribution(command: argparse.ArgumentParser) -> None:
    """Adds `--distribution`, by which the work is shared among GPUs or machines."""
    command.add_argument(
        "--distribution",
        choices=("off", "mirrored", "multi-worker-mirrored"),
        default="off",
        help="share each batch among the GPUs of this machine, or among the machines that the "
        "environment variable TF_CONFIG lists, on each of which the same command runs (off)",
    )


def add_run(
    command: argparse.ArgumentParser,
    name: str,
    steps: int | str,
    learning_rate: float | str,
    batch: int | str = 16,
) -> None:
    """Adds what every long training has; defaults that depend on others are told in words."""
    command.add_argument(
        "--data", required=True, type=pathlib.Path, metavar="DIR", help="aligned portraits"
    )
    command.add_argument(
        "--data-list", type=pathlib.Path, metavar="CSV", help="columns file, source, licence"
    )
    command.add_argument(
        "--output", required=True, type=pathlib.Path, metavar="DIR", help="folder of the run"
    )
    command.add_argument("--name", default=name, help=f"name of the result ({name})")
    numbers = (
        ("--steps", positive, "N", "training steps", steps),
        ("--batch-size", positive, "N", "pictures a step", batch),
        ("--learning-rate", rate, "X", "of Adam", learning_rate),
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


def add_networks(command: argparse.ArgumentParser) -> None:
    """Adds the size and precision of networks that are trained from nothing."""
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


def add_precision(command: argparse.ArgumentParser) -> None:
    """Adds `--bfloat16`, the precision of convolutions."""
    command.add_argument(
        "--bfloat16",
        action="store_const",
        dest="conv_dtype",
        const="bfloat16",
        default="float32",
        help="convolve in bfloat16: faster on processors that can (AVX512-BF16, AMX), on others "
        "several times slower",
    )


def add_landmarker(command: argparse.ArgumentParser) -> None:
    """Adds `--face-landmarker`, where the face mesh of the perceptual loss comes from."""
    command.add_argument(
        "--face-landmarker",
        type=pathlib.Path,
        metavar="X.task",
        help="take the face mesh of the perceptual loss from this bundle",
    )


def positive(text: str) -> int:
    """Reads a whole number of at least 1, for argparse."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def rate(text: str) -> float:
    """Reads a number above 0, for argparse."""
    return _number(text, lambda number: 0.0 < number < float("inf"), "above 0")


def share(text: str) -> float:
    """Reads a number from 0 to 1, for argparse."""
    return _number(text, lambda number: 0.0 <= number <= 1.0, "from 0 to 1")


def _number(text: str, is_right: Callable[[float], bool], wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not is_right(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {wanted}")
    return number


def network_options(arguments: argparse.Namespace) -> dict:
    """The options that trainings of networks from nothing have in common, by their names."""
    return {
        "image_size": arguments.image_size,
        "width": arguments.width,
        "batch_size": arguments.batch_size,
        "steps": arguments.steps,
        "learning_rate": arguments.learning_rate,
        "seed": arguments.seed,
        "conv_dtype": arguments.conv_dtype,
    }


def replicas(arguments: argparse.Namespace):
    """The scope of the replicas that were chosen, in which a training is to be built.

    To be entered before TensorFlow does anything else.
    """
    from mm_face_stylizer.training.distribution import Distribution

    return Distribution.named(arguments.distribution.replace("-", "_")).scope()


def portraits_of(arguments: argparse.Namespace, side: int):
    """The portraits, which other workers find decoded if the chief's folder is theirs too."""
    from mm_face_stylizer.training.distribution import Distribution
    from mm_face_stylizer.training.portraits import Portraits

    with Distribution.current().chief_first():
        return Portraits(arguments.data, arguments.output / "cache", side)


def finish(run, folder: pathlib.Path, release: Callable[[], object]) -> None:
    """Trains to the end.

    Args:
      run: A training.
      folder: Folder of the result, which is printed.
      release: Writes the result; of several workers, only the chief's is called.
    """
    run.run()
    with run.distribution.chief_first():
        if run.distribution.is_chief:
            release()
            sys.stdout.write(f"{folder}\n")


def face_mesh(arguments: argparse.Namespace):
    """The face mesh of the perceptual loss, and the face models that it is one of."""
    from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
    from task_bundle.faces.face_models import find_face_models

    face_models = find_face_models(arguments.face_landmarker)
    return FaceMeshFeatures(face_models.landmarks), face_models


def provenance_of(arguments: argparse.Namespace, start: dict | None = None):
    """What the card says; asked before the training, after which the checkout may be another."""
    from mm_face_stylizer.training.card import Provenance, running_commit

    return Provenance(
        name=arguments.name,
        command=shlex.join([_PROGRAM, *sys.argv[1:]]),
        commit=running_commit(),
        data_list=arguments.data_list,
        start=start,
    )
