"""The `model-maker` command: installs a preset for Google's Model Maker, and removes it again."""

from __future__ import annotations

import argparse
import pathlib
import sys

from mm_face_stylizer.preset import DEFAULT_PRESET
from task_bundle.command_line import add_face_landmarker, printable


def add_model_maker(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the `model-maker` command to a parser.

    Args:
      commands: The result of the parser's `add_subparsers`.
    """
    model_maker = commands.add_parser(
        "model-maker",
        help="use a preset in Google's mediapipe_model_maker",
        description="Lets mediapipe_model_maker.face_stylizer, unmodified and offline, train a "
        "preset of this package.",
    )
    actions = model_maker.add_subparsers()
    install = actions.add_parser(
        "install-assets",
        help="write a preset as the files that Model Maker loads",
        description="Writes a preset as the SavedModels and files that Model Maker loads from "
        "its folder for temporary files. Replaces only files that an earlier call wrote.",
    )
    _add_directory(install)
    install.add_argument(
        "--preset",
        default=DEFAULT_PRESET,
        help="name or folder of a preset; a preset trained without spatial latents (`pretrain "
        f"--spatial-sides` with no values) works best ({DEFAULT_PRESET})",
    )
    add_face_landmarker(install)
    install.set_defaults(run=_install)
    uninstall = actions.add_parser(
        "uninstall",
        help="remove the files that install-assets wrote",
        description="Removes the files that install-assets wrote. Files that were changed "
        "afterward are kept.",
    )
    _add_directory(uninstall)
    uninstall.set_defaults(run=_uninstall)


def _add_directory(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--directory",
        type=pathlib.Path,
        metavar="DIR",
        help="the TMPDIR that Model Maker will run with; the assets are in DIR/model_maker (the "
        "system's folder for temporary files)",
    )


def _install(arguments: argparse.Namespace) -> None:
    # Imported here because it imports TensorFlow, which most commands do not need.
    from mm_face_stylizer.model_maker.assets import install_assets
    from task_bundle.faces.face_models import find_face_models

    face_models = find_face_models(arguments.face_landmarker)
    folder = install_assets(arguments.directory, arguments.preset, face_models)
    sys.stdout.write(f"{folder}\n")
    if arguments.directory is not None:
        sys.stdout.write(
            f"run Model Maker with TMPDIR={arguments.directory.absolute()} in its environment\n"
        )


def _uninstall(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.model_maker.assets import uninstall_assets

    removal = uninstall_assets(arguments.directory)
    sys.stdout.write(f"{removal.removed} files removed\n")
    for path in removal.left:
        sys.stderr.write(
            f"kept, because it was changed after the installation: {printable(str(path))}\n"
        )
