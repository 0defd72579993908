"""The `mm-face-stylizer` command.

This module knows all commands, and imports as little as `--help` needs: no TensorFlow, and nothing
of the packages beside this one. Commands of those packages are parsed by a `_LazyParser`.
"""

# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import pkgutil
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from mm_face_stylizer import families
from mm_face_stylizer.continued_training import (
    add_continue_options,
    check_continue_options,
    continued,
)
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.evaluation.command import add_evaluate
from mm_face_stylizer.model_maker.command import add_model_maker
from mm_face_stylizer.painting.choices import PaintingChoices
from mm_face_stylizer.painting.command import add_paint, add_painting_options
from mm_face_stylizer.preset import DEFAULT_PRESET, Preset
from mm_face_stylizer.studio.command import add_studio
from mm_face_stylizer.style_pictures import STYLE_NAMES
from mm_face_stylizer.swapping.command import add_swap
from mm_face_stylizer.upscaling.command import add_upscale, add_upscaler_option
from task_bundle.bundle import TaskBundle
from task_bundle.command_files import check_input_files, check_output_files, check_output_folder
from task_bundle.command_line import (
    FAILED,
    INTERRUPTED,
    CommandParser,
    add_face_landmarker,
    add_overwrite,
    add_version,
    bundle_file,
    fraction,
    index,
    plot_file,
    positive_int,
    positive_number,
    run,
    seed,
)
from task_bundle.runtime.command import add_stylize

_PROGRAM = "mm-face-stylizer"
# The demo uses the code-drawn style whose results look best.
_DEMO_STYLE = "oil"
# Names of arguments in messages of the Python API, and the options of this program for them.
_OPTIONS = {
    "face_index": "--face",
    "swap_layers": "--swap-layers",
    "batch_size": "--batch-size",
    "learning_rate": "--learning-rate",
}
_ARGUMENT = re.compile(rf"\b({'|'.join(_OPTIONS)})\b")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: Its arguments; those of the process if None.

    Returns:
      The exit status, as `task_bundle.command_line.run` describes it.

    Raises:
      SystemExit: With 2 for wrong usage, with 0 after --help, with 1 if the package that a command
        needs is hidden by a folder of the same name.
    """
    warnings.showwarning = _show_warning
    return run(_parser(), argv)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """Writes a warning as one line, without the place in the code, which is for developers."""
    if issubclass(category, UserWarning):
        sys.stderr.write(f"{_PROGRAM}: warning: {_with_options(str(message))}\n")


def _with_options(text: str) -> str:
    """Names options instead of arguments of the Python API in a message."""
    return _ARGUMENT.sub(lambda match: _OPTIONS[match[0]], text)


@contextlib.contextmanager
def _naming_options() -> Iterator[None]:
    """Names options instead of arguments of the Python API in what an error says."""
    try:
        yield
    except InvalidArgumentError as error:
        raise InvalidArgumentError(_with_options(str(error))) from error


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_PROGRAM,
        description="Fine-tunes a face stylizer on pictures of a style and packs it into a "
        "MediaPipe .task bundle.",
    )
    add_version(parser)
    commands = parser.add_subparsers(parser_class=_LazyParser)
    _add_create(commands)
    # The same command as task-bundle's, for users who have just made a bundle with this program.
    add_stylize(commands, _PROGRAM, _ready_bundle)
    _add_style(commands)
    add_paint(commands, _PROGRAM)
    add_studio(commands)
    add_upscale(commands)
    add_swap(commands)
    _add_demo(commands)
    for family in families.FAMILIES:
        family.add_commands(commands)
    add_model_maker(commands)
    add_evaluate(commands)
    for command in _COMMANDS_OF_OTHER_PACKAGES:
        commands.add_parser(command.name, help=command.help, command=command)
    return parser


@dataclasses.dataclass(frozen=True)
class _LazyCommand:
    """A command whose package is imported only when the command is chosen.

    Attributes:
      name: The command's name.
      help: The command's line in the list of commands.
      packages: Top-level packages that the command imports. They are installed with this package,
        but are not part of it.
      configure: `module:name` of the function that adds description, options and `run` to the
        command's parser.
    """

    name: str
    help: str
    packages: tuple[str, ...]
    configure: str


_COMMANDS_OF_OTHER_PACKAGES = (
    _LazyCommand(
        name="benchmark",
        help="measure latency and memory of bundles, and compare results",
        packages=("benchmarks",),
        configure="benchmarks.command:configure_benchmark",
    ),
    _LazyCommand(
        name="android-benchmark",
        help="measure bundles on Android phones, through adb",
        packages=("android_harness", "benchmarks"),
        configure="android_harness.command:configure_android_benchmark",
    ),
)


class _LazyParser(CommandParser):
    """A parser of a sub-command that gets its options when it parses for the first time.

    argparse calls `parse_known_args` only for the command that the user has chosen, whereas the
    list of commands in the program's `--help` needs no more than names and help texts.
    """

    def __init__(self, *args: Any, command: _LazyCommand | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._command = command
        if command is not None and command.name in os.environ.get("COMP_LINE", "").split():
            # The shell asks for completions: argcomplete looks at parsers before they parse.
            self.configure()

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Adds the options that are still missing, and parses."""
        self.configure()
        return super().parse_known_args(*args, **kwargs)

    def configure(self) -> None:
        """Adds the command's options, once; ends the program if their package is hidden."""
        command, self._command = self._command, None
        if command is None:
            return
        for package in command.packages:
            hiding = _hiding_folder(package)
            if hiding is not None:
                self.exit(
                    FAILED,
                    f"{_PROGRAM}: error: {command.name} needs mm-face-stylizer's own package "
                    f"{package}, but Python finds {hiding} first; rename that, or run the command "
                    "in another folder and without PYTHONPATH\n",
                )
        pkgutil.resolve_name(command.configure)(self)


def _hiding_folder(package: str) -> pathlib.Path | None:
    """Returns the folder that hides one of our packages from Python; None if none does.

    Users have folders with names like `benchmarks`, which come first on Python's path if it
    starts with the working directory.
    """
    spec = importlib.util.find_spec(package)
    ours = pathlib.Path(__file__).resolve().parent.parent / package
    if spec is None:
        return None  # The import's own error message says that it is missing.
    places = [pathlib.Path(place).resolve() for place in spec.submodule_search_locations or ()]
    if ours in places:
        return None
    return places[0] if places else pathlib.Path(spec.origin or package)


def _add_create(commands) -> None:
    create = commands.add_parser(
        "create",
        help="fine-tune on style pictures and write a bundle",
        description="Fine-tunes on one to ten pictures of a style, each showing a face, and writes "
        "a .task bundle. About a minute on a laptop. Or goes on with a training that --save kept.",
    )
    create.add_argument(
        "styles",
        nargs="*",
        type=pathlib.Path,
        metavar="STYLE",
        help="a picture of the style that shows a face, or a folder of such pictures",
    )
    create.add_argument("-o", "--output", required=True, type=bundle_file, metavar="X.task")
    create.add_argument(
        "--face",
        type=index,
        metavar="N",
        help="which face of a picture with several to take, 0 the biggest",
    )
    create.add_argument("--plot", type=plot_file, metavar="X.png", help="draw the losses")
    add_continue_options(create)
    _add_training_options(create)
    upscaling = create.add_argument_group("larger pictures")
    upscaling.add_argument(
        "--upscale",
        type=int,
        choices=(2, 4),
        help="factor on the side of the stylizer's pictures, by an upscaler in the same graph",
    )
    add_upscaler_option(upscaling)

    def run_create(arguments: argparse.Namespace) -> int:
        check_continue_options(create, arguments)
        return _create(arguments)

    create.set_defaults(run=run_create)


def _add_training_options(command: argparse.ArgumentParser) -> None:
    training = command.add_argument_group("training")
    training.add_argument(
        "--preset",
        default=DEFAULT_PRESET,
        metavar="NAME_OR_FOLDER",
        help=f"what to fine-tune: of the package, or what pretrain wrote ({DEFAULT_PRESET})",
    )
    training.add_argument(
        "--steps",
        type=positive_int,
        default=100,
        help="training steps (100); with --continue, how many more",
    )
    training.add_argument("--batch-size", type=positive_int, default=4, help="pictures a step (4)")
    training.add_argument(
        "--learning-rate", type=positive_number, default=8e-4, help="of Adam (8e-4)"
    )
    training.add_argument(
        "--swap-layers",
        type=index,
        nargs="*",
        default=[4, 5, 10, 11],
        metavar="ROW",
        help="rows of the latent that are mixed with other faces' (4 5 10 11)",
    )
    training.add_argument(
        "--alpha", type=fraction, default=0.1, help="share of the style in those rows (0.1)"
    )
    training.add_argument("--seed", type=seed, default=0, help="of everything that is random (0)")
    paintings = command.add_argument_group("paintings that it learns from")
    add_painting_options(paintings)
    paintings.add_argument(
        "--practice",
        type=pathlib.Path,
        metavar="DIR",
        help="photos of faces to paint, at least eight, instead of the package's own",
    )
    export = command.add_argument_group("export")
    export.add_argument(
        "--strength",
        type=fraction,
        default=1.0,
        help="0 reconstructs the photo, 1 is the full style (1.0)",
    )
    export.add_argument(
        "--precision",
        choices=("float16", "float32", "int8"),
        default="float16",
        help="of the weights; input and output are float32 always (float16)",
    )
    add_face_landmarker(export)
    add_overwrite(export)


def _add_style(commands) -> None:
    style = commands.add_parser(
        "style",
        help="list the ready styles, or write one as a bundle",
        description="Lists the styles that come with the package and need no training, or writes "
        "one of them as a .task bundle.",
    )
    style.add_argument(
        "name", nargs="?", metavar="NAME", help="a ready style; lists all if left out"
    )
    style.add_argument("-o", "--output", type=bundle_file, metavar="X.task")
    add_face_landmarker(style)
    add_overwrite(style)

    def run_style(arguments: argparse.Namespace) -> None:
        if (arguments.name is None) != (arguments.output is None):
            style.error("NAME and --output belong together")
        _style(arguments)

    style.set_defaults(run=run_style)


def _add_demo(commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="the whole way on pictures of the project's own",
        description="Draws style pictures, fine-tunes on them, writes the bundle, and stylizes a "
        "portrait with it.",
    )
    demo.add_argument("-o", "--output", default="out", type=pathlib.Path, metavar="DIR")
    demo.add_argument("--style", choices=STYLE_NAMES, default=_DEMO_STYLE)
    _add_training_options(demo)
    demo.set_defaults(run=_demo)


def _run_operations_in_turn() -> None:
    """Makes TensorFlow run one operation at a time, each on all cores.

    Call it before TensorFlow is imported. Operations that run in parallel share threads, and the
    order in which they add up numbers differs from run to run, and with it the rounding. The
    gradients of the face-mesh network still differ in the last bits.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


def _create(arguments: argparse.Namespace) -> int:
    _run_operations_in_turn()
    check_input_files(*arguments.styles, arguments.saved, arguments.face_landmarker)
    from mm_face_stylizer.upscaling.upscaler import Upscaler

    upscaler = None
    if arguments.upscale is not None or arguments.upscaler is not None:
        upscaler = Upscaler.find(arguments.upscaler, arguments.upscale)
    if arguments.saved is None:
        Preset.find(arguments.preset)
        _paintings(arguments)
    check_output_files(
        arguments.output, arguments.plot, arguments.save, overwrite=arguments.overwrite
    )
    begin = _begun if arguments.saved is None else _continued
    stylizer, steps = begin(arguments)
    _stage(f"writing {arguments.output}")
    bundle = stylizer.bundle(arguments.precision, arguments.strength)
    if upscaler is not None:
        made = bundle.provenance
        bundle = upscaler.behind(bundle, arguments.precision).with_provenance(made)
    bundle.save(arguments.output, overwrite=arguments.overwrite)
    if arguments.plot is not None:
        _plot(stylizer.history, arguments.plot, arguments.overwrite)
    if arguments.save is not None:
        stylizer.save(arguments.save, overwrite=arguments.overwrite)
    sys.stdout.write(f"{arguments.output}\n")
    if stylizer.steps < steps:
        return _stopped(stylizer.steps, steps, arguments.save)
    _next_steps(arguments.output)
    return 0


def _begun(arguments: argparse.Namespace):
    """Fine-tunes on style pictures; returns the stylizer, and the steps that it was to have."""
    options, paintings = _options(arguments), _paintings(arguments)
    from task_bundle.media.folders import list_pictures

    styles = list_pictures(arguments.styles)
    from mm_face_stylizer.dataset import Dataset
    from mm_face_stylizer.practice_faces import check_faces_of_folder
    from task_bundle.faces.face_models import find_face_models

    face_models = find_face_models(arguments.face_landmarker)
    _stage(f"finding the face in {_counted(len(styles), 'style picture')}")
    side = options.model.input_image_shape[0]
    with _naming_options():
        data = Dataset.from_images(
            styles, [arguments.face] * len(styles), size=side, face_models=face_models
        )
    if paintings.practice is not None:
        _stage(f"finding faces in {paintings.practice}")
        check_faces_of_folder(paintings.practice, face_models)
    stylizer = _tuned(data, options, paintings, face_models, arguments)
    if len(styles) > 1:
        _stage(f"learned {styles[stylizer.picture]}, which suits most faces")
    return stylizer, arguments.steps


def _continued(arguments: argparse.Namespace):
    """Goes on with a saved training; returns what `_begun` does."""
    from mm_face_stylizer.export_options import check_precision

    check_precision(arguments.precision, arguments.strength)
    with _without_interruption_warning():
        return continued(arguments.saved, arguments.steps, _stage)


@contextlib.contextmanager
def _without_interruption_warning() -> Iterator[None]:
    """Leaves out what a training says after Ctrl-C: this program says it at its end."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="interrupted after ")
        yield


def _tuned(data, options, paintings: PaintingChoices, face_models, arguments: argparse.Namespace):
    """Fine-tunes, after a word about it: TensorFlow alone takes seconds to import."""
    _stage(f"loading TensorFlow and {arguments.preset}")
    from mm_face_stylizer.face_stylizer import FaceStylizer

    with _without_interruption_warning():
        stylizer = FaceStylizer.create(data, options, face_models=face_models, paintings=paintings)
    _report_likeness(stylizer.likeness, arguments.likeness)
    return stylizer


def _stage(text: str) -> None:
    """Says what is being done, on stderr: stdout has the names of files."""
    sys.stderr.write(f"{text}\n")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _stopped(done: int, steps: int, saved: pathlib.Path | None = None) -> int:
    sys.stderr.write(
        f"{_PROGRAM}: interrupted after {done} of {steps} steps; the bundle has what was learned "
        "by then\n"
    )
    if saved is not None:
        command = f"create --continue {shlex.quote(str(saved))} --steps {steps - done} -o X.task"
        sys.stderr.write(f"next: {_PROGRAM} {command}\n")
    return INTERRUPTED


def _next_steps(bundle: pathlib.Path) -> None:
    name = shlex.quote(str(bundle))
    sys.stderr.write(
        f"next: {_PROGRAM} stylize {name} PHOTO.jpg -o stylized.png\n"
        f"      task-bundle serve {name}     (a page with the camera, on this computer)\n"
    )


def _ready_bundle(name: str) -> TaskBundle:
    from mm_face_stylizer.ready_styles import ready_bundle

    return ready_bundle(name)


def _style(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.ready_styles import ready_bundle, ready_styles
    from task_bundle.faces.face_models import find_face_models

    if arguments.name is None:
        sys.stdout.write("".join(f"{name}\n" for name in ready_styles()))
        return
    check_input_files(arguments.face_landmarker)
    bundle = ready_bundle(arguments.name, find_face_models(arguments.face_landmarker))
    bundle.save(arguments.output, overwrite=arguments.overwrite)
    sys.stdout.write(f"{arguments.output}\n")


def _options(arguments: argparse.Namespace):
    from mm_face_stylizer.export_options import check_precision
    from mm_face_stylizer.face_stylizer_options import FaceStylizerOptions
    from mm_face_stylizer.hyperparameters import HParams
    from mm_face_stylizer.model_options import FaceStylizerModelOptions
    from mm_face_stylizer.model_spec import ModelSpec

    check_precision(arguments.precision, arguments.strength)
    spec = ModelSpec.of_preset(arguments.preset)
    with _naming_options():
        model_options = FaceStylizerModelOptions(arguments.swap_layers, arguments.alpha)
        model_options.check_rows(spec.style_block_num)
        hparams = HParams(
            learning_rate=arguments.learning_rate,
            batch_size=arguments.batch_size,
            epochs=arguments.steps,
            seed=arguments.seed,
        )
    return FaceStylizerOptions(spec, model_options, hparams)


def _paintings(arguments: argparse.Namespace) -> PaintingChoices:
    if arguments.practice is not None and not arguments.practice.is_dir():
        raise InvalidArgumentError(f"--practice is {arguments.practice}, which is not a folder")
    return PaintingChoices(arguments.likeness, arguments.colors, arguments.practice)


def _report_likeness(likeness: float, wanted: float | None) -> None:
    """Writes the likeness of the paintings to stderr, because stdout has the names of files."""
    chosen = "" if wanted is not None else ", chosen from the style pictures"
    sys.stderr.write(f"likeness {likeness:g}{chosen}\n")


def _plot(history, path: pathlib.Path, overwrite: bool) -> None:
    from mm_face_stylizer.loss_plot import save_loss_plot

    curves = {name: (range(1, len(values) + 1), values) for name, values in history.items()}
    save_loss_plot(curves, "Fine-tuning", path, overwrite=overwrite)


def _demo(arguments: argparse.Namespace) -> int:
    _run_operations_in_turn()
    check_input_files(arguments.face_landmarker)
    options, paintings = _options(arguments), _paintings(arguments)
    from mm_face_stylizer.demo import Demo
    from task_bundle.faces.face_models import find_face_models

    demo = Demo(arguments.output, arguments.style)
    check_output_folder(arguments.output)
    arguments.output.mkdir(parents=True, exist_ok=True)
    check_output_files(*demo.paths, overwrite=arguments.overwrite)
    face_models = find_face_models(arguments.face_landmarker)
    _stage(f"drawing style pictures in {arguments.style}")
    side = options.model.input_image_shape[0]
    data = demo.style_data(face_models, side, arguments.seed, arguments.overwrite)
    stylizer = _tuned(data, options, paintings, face_models, arguments)
    _stage(f"writing {demo.bundle} and stylizing a portrait with it")
    bundle = stylizer.bundle(arguments.precision, arguments.strength)
    bundle.save(demo.bundle, overwrite=arguments.overwrite)
    _plot(stylizer.history, demo.training, arguments.overwrite)
    demo.compare(data.images[stylizer.picture or 0], bundle, arguments.overwrite)
    sys.stdout.write("".join(f"{path}\n" for path in demo.paths))
    if stylizer.steps < arguments.steps:
        return _stopped(stylizer.steps, arguments.steps)
    sys.stderr.write(f"look at {demo.before_after}\n")
    _next_steps(demo.bundle)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
