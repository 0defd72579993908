"""A training that goes on from the command line: options of `create`, and what they do."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mm_face_stylizer.face_stylizer import FaceStylizer

# Options of `create` that cannot change in the middle of a training.
_OF_THE_BEGINNING = (
    "--face",
    "--preset",
    "--batch-size",
    "--learning-rate",
    "--swap-layers",
    "--alpha",
    "--seed",
    "--likeness",
    "--colors",
    "--practice",
    "--face-landmarker",
)


def add_continue_options(create: argparse.ArgumentParser) -> None:
    """Adds the options that keep a training, and that go on with one.

    Args:
      create: The parser of the command.
    """
    create.add_argument(
        "--save",
        type=pathlib.Path,
        metavar="X.npz",
        help="also keep the training, complete or interrupted, for --continue",
    )
    create.add_argument(
        "--continue",
        type=pathlib.Path,
        dest="saved",
        metavar="X.npz",
        help="go on with a training that --save kept, for --steps more; without STYLE",
    )


def check_continue_options(create: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Ends the program with status 2 where options do not go together.

    Args:
      create: The parser of the command.
      arguments: What it has parsed.
    """
    if (arguments.saved is None) != bool(arguments.styles):
        create.error("give either STYLE, one picture or more, or --continue X.npz")
    for option in _OF_THE_BEGINNING if arguments.saved is not None else ():
        name = option.removeprefix("--").replace("-", "_")
        if getattr(arguments, name) != create.get_default(name):
            create.error(f"{option} was chosen when the training began; leave it out here")


def continued(
    saved: pathlib.Path, steps: int, say: Callable[[str], None]
) -> tuple[FaceStylizer, int]:
    """Goes on with a saved training.

    Args:
      saved: The file of the training.
      steps: Number of further steps.
      say: Called with what is being done.

    Returns:
      The stylizer, and the number of steps that it was to have, those before included.

    Raises:
      DataError: The file is no saved training, or is of another preset than the one that is here.
      PresetError: The preset does not exist or is damaged.
      OSError: The file cannot be read.
    """
    from mm_face_stylizer.saved_training import SavedTraining

    # Read here only for what may be wrong with it, before TensorFlow takes its seconds.
    SavedTraining.load(saved)
    say(f"loading TensorFlow and {saved}")
    from mm_face_stylizer.face_stylizer import FaceStylizer

    stylizer = FaceStylizer.load(saved)
    done = stylizer.steps
    say(f"going on after {done} step{'' if done == 1 else 's'}")
    stylizer.train(steps)
    return stylizer, done + steps
