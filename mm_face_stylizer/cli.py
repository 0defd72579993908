"""The `mm-face-stylizer` command."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import warnings
from collections.abc import Sequence

from android_harness.command import add_android_benchmark
from android_harness.errors import AndroidError
from benchmarks.command import add_benchmark
from benchmarks.errors import BenchmarkError
from mm_face_stylizer.evaluation.command import add_evaluate
from mm_face_stylizer.families import FAMILIES
from mm_face_stylizer.model_maker.command import add_model_maker
from mm_face_stylizer.painting.command import add_paint
from mm_face_stylizer.preset import DEFAULT_PRESET, PresetError
from task_bundle.command_line import CommandParser, run
from task_bundle.errors import TaskBundleError
from task_bundle.runtime.command import add_stylize

_PROGRAM = "mm-face-stylizer"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: Its arguments; those of the process if None.

    Returns:
      The exit status: 0 done, 1 failed with one line on stderr, 130 interrupted.

    Raises:
      SystemExit: With 2 for wrong usage, with 0 after --help.
    """
    warnings.showwarning = _show_warning
    errors = (
        AndroidError,
        BenchmarkError,
        TaskBundleError,
        PresetError,
        FloatingPointError,
        # Until the errors of this package have a base class of their own.
        ValueError,
        ImportError,
    )
    return run(_parser(), argv, errors)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """One line a warning, without the place in the code that only developers care for."""
    if issubclass(category, UserWarning):
        sys.stderr.write(f"{_PROGRAM}: warning: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_PROGRAM,
        description="Fine-tunes a face stylizer on pictures of a style and packs it into a "
        "MediaPipe .task bundle.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_create(commands)
    # The same as task-bundle's, for those who have just made a bundle here.
    add_stylize(commands, _PROGRAM)
    add_paint(commands, _PROGRAM)
    _add_demo(commands)
    for family in FAMILIES:
        family.add_commands(commands)
    add_model_maker(commands)
    add_evaluate(commands)
    add_benchmark(commands)
    add_android_benchmark(commands)
    return parser


def _add_create(commands) -> None:
    create = commands.add_parser(
        "create",
        help="fine-tune on style pictures and write a bundle",
        description="Fine-tunes on one to ten pictures of a style, each showing a face, and writes "
        "a .task bundle. About a minute on a laptop.",
    )
    create.add_argument("styles", nargs="+", type=pathlib.Path, metavar="STYLE")
    create.add_argument("-o", "--output", required=True, type=pathlib.Path, metavar="X.task")
    create.add_argument(
        "--face",
        type=int,
        metavar="N",
        help="which face of a picture with several to take, 0 the biggest",
    )
    create.add_argument("--plot", type=pathlib.Path, metavar="X.png", help="draw the losses")
    _add_training_options(create)
    create.set_defaults(run=_create)


def _add_training_options(command: argparse.ArgumentParser) -> None:
    training = command.add_argument_group("training")
    training.add_argument(
        "--preset",
        default=DEFAULT_PRESET,
        metavar="NAME_OR_FOLDER",
        help=f"what to fine-tune: of the package, or what pretrain wrote ({DEFAULT_PRESET})",
    )
    training.add_argument("--steps", type=int, default=100, help="training steps (100)")
    training.add_argument("--batch-size", type=int, default=4, help="pictures a step (4)")
    training.add_argument("--learning-rate", type=float, default=8e-4, help="of Adam (8e-4)")
    training.add_argument(
        "--swap-layers",
        type=int,
        nargs="*",
        default=[4, 5, 10, 11],
        metavar="ROW",
        help="rows of the latent that are mixed with other faces' (4 5 10 11)",
    )
    training.add_argument(
        "--alpha", type=float, default=0.1, help="share of the style in those rows (0.1)"
    )
    training.add_argument("--seed", type=int, default=0, help="same seed, same bundle (0)")
    export = command.add_argument_group("export")
    export.add_argument(
        "--strength",
        type=float,
        default=1.0,
        help="0 reconstructs the photo, 1 is the full style (1.0)",
    )
    export.add_argument(
        "--precision",
        choices=("float16", "float32", "int8"),
        default="float16",
        help="of the weights; input and output are float32 always (float16)",
    )
    export.add_argument(
        "--face-landmarker",
        type=pathlib.Path,
        metavar="X.task",
        help="take face detector and landmark model from this bundle",
    )
    export.add_argument("--overwrite", action="store_true", help="replace existing files")


def _add_demo(commands) -> None:
    from mm_face_stylizer.style_pictures import STYLE_NAMES

    demo = commands.add_parser(
        "demo",
        help="the whole way on pictures of the project's own",
        description="Draws style pictures, fine-tunes on them, writes the bundle, and stylizes a "
        "portrait with it.",
    )
    demo.add_argument("-o", "--output", default="out", type=pathlib.Path, metavar="DIR")
    demo.add_argument("--style", choices=STYLE_NAMES, default=STYLE_NAMES[0])
    _add_training_options(demo)
    demo.set_defaults(run=_demo)


def _create(arguments: argparse.Namespace) -> None:
    _check_outputs(arguments.overwrite, arguments.output, arguments.plot)
    options = _options(arguments)
    from mm_face_stylizer.dataset import Dataset
    from mm_face_stylizer.face_stylizer import FaceStylizer
    from task_bundle.faces.face_models import find_face_models

    face_models = find_face_models(arguments.face_landmarker)
    indices = [arguments.face] * len(arguments.styles)
    data = Dataset.from_images(
        arguments.styles,
        indices,
        size=options.model.input_image_shape[0],
        face_models=face_models,
    )
    stylizer = FaceStylizer.create(data, options, face_models=face_models)
    bundle = stylizer.bundle(arguments.precision, arguments.strength)
    bundle.save(arguments.output, overwrite=arguments.overwrite)
    if arguments.plot is not None:
        _plot(stylizer.history, arguments.plot, arguments.overwrite)
    sys.stdout.write(f"{arguments.output}\n")


def _options(arguments: argparse.Namespace):
    from mm_face_stylizer.export import check_precision
    from mm_face_stylizer.face_stylizer_options import FaceStylizerOptions
    from mm_face_stylizer.hyperparameters import HParams
    from mm_face_stylizer.model_options import FaceStylizerModelOptions
    from mm_face_stylizer.model_spec import ModelSpec

    hparams = HParams(
        learning_rate=arguments.learning_rate,
        batch_size=arguments.batch_size,
        epochs=arguments.steps,
        seed=arguments.seed,
    )
    model_options = FaceStylizerModelOptions(arguments.swap_layers, arguments.alpha)
    check_precision(arguments.precision, arguments.strength)
    return FaceStylizerOptions(ModelSpec.of_preset(arguments.preset), model_options, hparams)


def _plot(history, path: pathlib.Path, overwrite: bool) -> None:
    from mm_face_stylizer.loss_plot import save_loss_plot

    curves = {name: (range(1, len(values) + 1), values) for name, values in history.items()}
    save_loss_plot(curves, "Fine-tuning", path, overwrite=overwrite)


def _demo(arguments: argparse.Namespace) -> None:
    options = _options(arguments)
    from mm_face_stylizer.demo import Demo
    from mm_face_stylizer.face_stylizer import FaceStylizer
    from task_bundle.faces.face_models import find_face_models

    demo = Demo(arguments.output, arguments.style)
    _make_folder(arguments.output)
    _check_outputs(arguments.overwrite, *demo.paths)
    face_models = find_face_models(arguments.face_landmarker)
    side = options.model.input_image_shape[0]
    data = demo.style_data(face_models, side, arguments.seed, arguments.overwrite)
    stylizer = FaceStylizer.create(data, options, face_models=face_models)
    bundle = stylizer.bundle(arguments.precision, arguments.strength)
    bundle.save(demo.bundle, overwrite=arguments.overwrite)
    _plot(stylizer.history, demo.training, arguments.overwrite)
    demo.compare(data, bundle, arguments.overwrite)
    sys.stdout.write("".join(f"{path}\n" for path in demo.paths))


def _make_folder(folder: pathlib.Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; the output must be a folder")
    folder.mkdir(parents=True, exist_ok=True)


def _check_outputs(overwrite: bool, *paths: pathlib.Path | None) -> None:
    """Finds out before a minute of training whether its results can be written."""
    for path in paths:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: no folder {path.parent}")
        if path.is_dir():
            raise IsADirectoryError(f"cannot write {path}: it is a folder")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} already exists")
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"cannot write {path}: the folder {path.parent} is read-only")


if __name__ == "__main__":
    raise SystemExit(main())
