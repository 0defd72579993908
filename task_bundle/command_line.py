"""What the command-line programs share: option types, common options and error reporting."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from task_bundle.errors import UserError
from task_bundle.files import OVERWRITE_HINT
from task_bundle.standard_streams import open_missing, output_error
from task_bundle.suggestion import did_you_mean
from task_bundle.terminal import only_native_errors, progress_bars
from task_bundle.termination import Terminated, raise_on_termination

if TYPE_CHECKING:
    # What `ArgumentParser.add_subparsers` returns, and whatever has an `add_argument` method: a
    # parser or one of its groups. Both are public objects of classes with private names.
    SubCommands = argparse._SubParsersAction[Any]
    OptionContainer = argparse._ActionsContainer

FAILED: Final = 1
INTERNAL_ERROR: Final = 70  # EX_SOFTWARE of sysexits.h
# What shells report after a signal: 128 and its number.
_SIGNALED: Final = 128
INTERRUPTED: Final = _SIGNALED + 2  # SIGINT, which is Ctrl-C
OUTPUT_CLOSED: Final = _SIGNALED + 13  # SIGPIPE

# The packages whose log messages of level WARNING and above are shown to users.
_LOGGED_PACKAGES: Final = ("task_bundle", "mm_face_stylizer")

_BUNDLE_SUFFIX: Final = ".task"
_DISTRIBUTION: Final = "mm-face-stylizer"
# The libraries whose versions a bug report needs.
_VERSIONED: Final = ("mediapipe", "ai-edge-litert", "tensorflow", "tf-keras")

_COMMAND: Final = "COMMAND"
# What argparse says of a command or the value of an option that does not exist.
_INVALID_CHOICE: Final = re.compile(
    r"argument (.+?): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL
)

# Python packages that only an optional extra of the distribution installs.
_EXTRAS: Final = {
    "argcomplete": "completion",
    "pyarrow": "ray",
    "pydantic": "benchmark",
    "ray": "ray",
    "scipy": "benchmark",
    "tensorflow": "train",
    "tf_keras": "train",
}


class _ShortUsage(argparse.HelpFormatter):
    """Names in the usage what a command needs; all its options are listed below that anyway."""

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        needed = [action for action in actions if action.required or not action.option_strings]
        # Without a prefix this is the name of the program for its commands.
        if prefix != "":
            # A list of commands comes last, since what follows belongs to the command.
            place = len(needed) - any(action.nargs == argparse.PARSER for action in needed)
            needed.insert(place, argparse.Action([], "options", metavar="[options]"))
        super().add_usage(usage, needed, (), prefix)


class CommandParser(argparse.ArgumentParser):
    """An argument parser with `--debug` and `--verbose`, which all of its sub-commands have, too.

    `add_subparsers` makes the parsers of sub-commands with the class of their parent, so that a
    program only has to use this class for its top-level parser. A command that needs arguments and
    is given none shows its help.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **({"formatter_class": _ShortUsage} | kwargs))
        self._is_bare = False
        self.add_argument(
            "--debug",
            action="store_true",
            # A sub-command's default must not overwrite what was given before its name.
            default=argparse.SUPPRESS,
            help="show the Python traceback of errors",
        )
        self.add_argument(
            "--verbose",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show what TensorFlow, MediaPipe and other libraries log",
        )

    def add_subparsers(self, **kwargs: Any) -> Any:
        """Adds sub-commands; without one of them the program shows its help."""

        def show_help(arguments: argparse.Namespace) -> None:
            del arguments
            self.print_help()

        # A sub-command's own `run` takes the place of this one.
        self.set_defaults(run=show_help)
        return super().add_subparsers(title="commands", metavar=_COMMAND, **kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses as argparse does, which calls this for commands, too.

        What a command does not know ends the program here, where its options can be suggested.
        """
        self._is_bare = args is not None and not args
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [text for action in self._actions for text in action.option_strings]
            meant = did_you_mean(unknown[0].partition("=")[0], options)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Ends the program with status 2."""
        message = _with_suggestion(self.prog, message)
        if self._is_bare:
            self.print_help(sys.stderr)
            self.exit(2, f"\n{self.prog}: error: {message}\n")
        super().error(message)


def _with_suggestion(program: str, message: str) -> str:
    """Adds the nearest choice to argparse's message about an invalid one."""
    match = _INVALID_CHOICE.fullmatch(message)
    if match is None:
        return message
    argument, given, choices = match.groups()
    meant = did_you_mean(given, [choice.strip(" '\"") for choice in choices.split(",")])
    if argument != _COMMAND:
        return f"{message}{meant}"
    # The list of all commands fills a terminal.
    return f"there is no command {given!r}{meant or f'; {program} --help lists them'}"


class _Version(argparse.Action):
    """Prints the versions of the program and of what it runs on, and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        import importlib.metadata
        import platform

        versions = [f"Python {platform.python_version()}"]
        for name in _VERSIONED:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                versions.append(f"{name} {importlib.metadata.version(name)}")
        try:
            own = importlib.metadata.version(_DISTRIBUTION)
        except importlib.metadata.PackageNotFoundError:
            own = "of a checkout that is not installed"
        sys.stdout.write(f"{parser.prog} {own} ({', '.join(versions)})\n")
        parser.exit()


def add_version(parser: argparse.ArgumentParser) -> None:
    """Adds `--version` to the parser of a program."""
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="show the versions of this and its libraries"
    )


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    errors: tuple[type[Exception], ...] = (UserError,),
) -> int:
    """Parses the arguments, runs the chosen sub-command and reports its errors.

    A sub-command's parser has its function attached by `set_defaults(run=...)`. That takes the
    parsed arguments and returns an exit status, or None for 0.

    Args:
      parser: The parser of the program; its `prog` starts every error message. Use
        `CommandParser` to offer `--debug`.
      argv: The command-line arguments; those of the process if None. Only then, what native
        libraries log is hidden, except errors and with `--verbose`.
      errors: Base exceptions whose messages are written for users. `UserError` covers those of all
        packages in this repository. OSError and the ModuleNotFoundError of a package
        that an extra installs are reported in the same way. Any other exception is a bug.

    Returns:
      The exit status: 0 after success, 1 (`FAILED`) after an error of the user's making, 70
      (`INTERNAL_ERROR`) after a bug, 130 (`INTERRUPTED`) after Ctrl-C, 143 after SIGTERM and 129
      after SIGHUP. All but 0 come with one line on stderr, which the traceback precedes if
      `--debug` was given. Without a line it is 141 (`OUTPUT_CLOSED`), if whoever reads stdout has
      ended, as `head` does. Warnings that the packages log are lines on stderr as well. Characters
      that stdout or stderr cannot encode, as in names of files, are written as escapes.

    Raises:
      SystemExit: with 2 if the arguments do not parse, with 0 after `--help`.
    """
    open_missing()
    _escape_what_cannot_be_encoded()
    if "_ARGCOMPLETE" in os.environ:
        # The shell asks for completions; this ends the program.
        import argcomplete

        argcomplete.autocomplete(parser)
    arguments = parser.parse_args(argv)
    try:
        with (
            raise_on_termination(),
            _native_messages(getattr(arguments, "verbose", False), argv is None),
            progress_bars(),
            _warnings_on_stderr(parser.prog),
        ):
            status = int(arguments.run(arguments) or 0)
            sys.stdout.flush()
            return status
    except KeyboardInterrupt as error:
        if debug_requested(arguments):
            traceback.print_exc()
        number = error.number if isinstance(error, Terminated) else signal.SIGINT
        cause = (
            "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        )
        sys.stderr.write(f"\n{parser.prog}: {cause}; nothing half-written was left behind\n")
        return _SIGNALED + number
    except Exception as error:
        unwritten = output_error(error)
        # Else the program has failed with something more important.
        is_that = isinstance(error, OSError) and error.errno == getattr(unwritten, "errno", 0)
        if isinstance(unwritten, BrokenPipeError) and is_that:
            return OUTPUT_CLOSED
        if unwritten is not None and is_that:
            reason = f"cannot write to standard output: {message(unwritten)}"
            return _report(parser.prog, error, reason, debug_requested(arguments))
        text = _user_message(error, errors)
        if text is None:
            return _report_bug(parser.prog, error, debug_requested(arguments))
        if isinstance(error, FileExistsError):
            option = "; pass --overwrite to replace it" if hasattr(arguments, "overwrite") else ""
            text = text.removesuffix(OVERWRITE_HINT) + option
        return _report(parser.prog, error, text, debug_requested(arguments))


def report_error(program: str, error: Exception, debug: bool = False) -> int:
    """Writes an error that its user can do something about as one line on stderr.

    Args:
      program: The name of the program.
      error: The exception, whose message is written for users.
      debug: Whether the traceback is written first.

    Returns:
      The exit status, 1.
    """
    return _report(program, error, message(error), debug)


def debug_requested(arguments: argparse.Namespace) -> bool:
    """Returns whether `--debug` was given."""
    return bool(getattr(arguments, "debug", False))


def _escape_what_cannot_be_encoded() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A stream of another class, such as a notebook's, encodes nothing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _native_messages(are_wanted: bool, is_program: bool) -> Iterator[None]:
    if are_wanted:
        # The first also turns off what hides messages in functions of the Python API; what hides
        # them at their source leaves set variables alone.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0")
        os.environ.setdefault("OPENCV_LOG_LEVEL", "INFO")
    with only_native_errors() if is_program and not are_wanted else contextlib.nullcontext():
        yield


_OWN_FOLDER = Path(__file__).resolve().parent


class _LineHandler(logging.Handler):
    """Writes each message as one line on stderr, without disturbing a progress bar."""

    def __init__(self, program: str) -> None:
        super().__init__(logging.WARNING)
        self._program = program

    def emit(self, record: logging.LogRecord) -> None:
        self.write(record.getMessage())

    def write(self, text: str) -> None:
        """Writes a warning."""
        from tqdm import tqdm

        tqdm.write(f"{self._program}: warning: {_one_line(text)}", file=sys.stderr)


@contextlib.contextmanager
def _warnings_on_stderr(program: str) -> Iterator[None]:
    handler = _LineHandler(program)
    loggers = [logging.getLogger(name) for name in _LOGGED_PACKAGES]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        # TensorFlow gives the root logger a handler, which would write the line again.
        logger.propagate = False
    show = warnings.showwarning

    def show_as_line(
        message: Warning | str, category: type[Warning], filename: str, *more: Any, **others: Any
    ) -> None:
        # The place in the code, which Python adds, is for developers.
        if issubclass(category, RuntimeWarning) and _OWN_FOLDER in Path(filename).parents:
            handler.write(str(message))
        else:
            show(message, category, filename, *more, **others)

    warnings.showwarning = show_as_line
    try:
        yield
    finally:
        warnings.showwarning = show
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate


def _user_message(error: Exception, errors: tuple[type[Exception], ...]) -> str | None:
    """Returns what to tell the user, or None if the exception is a bug of the program."""
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package in _EXTRAS:
            extra = f"pip install 'mm-face-stylizer[{_EXTRAS[package]}]'"
            return f"{package} is not installed; {extra}"
    return message(error) if isinstance(error, (OSError, *errors)) else None


def _report(program: str, error: Exception, text: str, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(f"{program}: error: {_one_line(text)}\n")
    return FAILED


def _report_bug(program: str, error: Exception, debug: bool) -> int:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if debug:
        traceback.print_exception(error)
    hint = "" if debug else " (run again with --debug for the traceback)"
    sys.stderr.write(f"{program}: internal error: {_one_line(text)}{hint}\n")
    return INTERNAL_ERROR


def message(error: BaseException) -> str:
    """Returns an exception's message as users should see it."""
    if isinstance(error, OSError) and error.strerror:
        # str() of the operating system's own errors starts with the error number and ends with the
        # file name; users want the file first.
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def printable(text: str) -> str:
    """Replaces control characters by question marks.

    Names in bundles and of files come from strangers, and a terminal would obey the control
    sequences in them.
    """
    return "".join(c if c.isprintable() else "?" for c in text)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


# Types for argparse's `type=`. Their ArgumentTypeErrors end the program with status 2.


def positive_int(text: str) -> int:
    """Parses a whole number of at least 1.

    Raises:
      argparse.ArgumentTypeError: the text is something else.
    """
    return _int(text, 1, None, "a whole number of at least 1")


def index(text: str) -> int:
    """Parses a whole number of at least 0.

    Raises:
      argparse.ArgumentTypeError: the text is something else.
    """
    return _int(text, 0, None, "a whole number of at least 0")


def seed(text: str) -> int:
    """Parses a seed of random numbers, which 32 bits hold.

    Raises:
      argparse.ArgumentTypeError: the text is something else.
    """
    return _int(text, 0, 2**32 - 1, "a seed, which is a whole number from 0 to 4294967295")


def bundle_file(text: str) -> Path:
    """Parses the path of a bundle to write.

    Raises:
      argparse.ArgumentTypeError: it does not end in `.task`.
    """
    if Path(text).suffix.lower() != _BUNDLE_SUFFIX:
        raise argparse.ArgumentTypeError(
            f"{text!r} does not end in {_BUNDLE_SUFFIX}, as bundles do"
        )
    return Path(text)


def plot_file(text: str) -> Path:
    """Parses the path of a plot to write.

    Raises:
      argparse.ArgumentTypeError: it does not end in `.png`.
    """
    if Path(text).suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png; plots are PNG files")
    return Path(text)


def port(text: str) -> int:
    """Parses the number of a TCP port to connect to, 1 to 65535.

    Raises:
      argparse.ArgumentTypeError: the text is something else.
    """
    return _int(text, 1, 65535, "a port, which is a whole number from 1 to 65535")


def listening_port(text: str) -> int:
    """Parses the number of a TCP port to listen on, 1 to 65535, or 0 for any that is free.

    Raises:
      argparse.ArgumentTypeError: the text is something else.
    """
    return _int(text, 0, 65535, "a port, which is a whole number from 0 to 65535")


def positive_number(text: str) -> float:
    """Parses a finite number above 0, such as a learning rate.

    Raises:
      argparse.ArgumentTypeError: the text is something else.
    """
    return _float(text, lambda number: 0.0 < number < float("inf"), "a number above 0")


def fraction(text: str) -> float:
    """Parses a number in [0, 1], such as a probability or a share.

    Raises:
      argparse.ArgumentTypeError: the text is something else.
    """
    return _float(text, lambda number: 0.0 <= number <= 1.0, "a number from 0 to 1")


def seconds(text: str) -> float:
    """Parses a time to wait in seconds, from 0 to below a million (eleven days).

    Raises:
      argparse.ArgumentTypeError: the text is something else.
    """
    return _float(text, lambda number: 0.0 <= number < 1e6, "a number of seconds of at least 0")


def _int(text: str, low: int, high: int | None, wanted: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if number < low or (high is not None and number > high):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return number


def _float(text: str, is_allowed: Callable[[float], bool], wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not is_allowed(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return number


# Options that several commands have.


def add_face_landmarker(
    command: OptionContainer, help: str = "take face detector and landmark model from this bundle"
) -> None:
    """Adds `--face-landmarker X.task`, a path for `find_face_models`; None if it is not given.

    Args:
      command: A parser, or a group of its options.
      help: What the command takes from the bundle.
    """
    command.add_argument("--face-landmarker", type=Path, metavar="X.task", help=help)


def add_overwrite(command: OptionContainer, help: str = "replace existing files") -> None:
    """Adds the flag `--overwrite`. Where it exists, `run` mentions it after FileExistsError.

    Args:
      command: A parser, or a group of its options.
      help: Which files the command replaces.
    """
    command.add_argument("--overwrite", action="store_true", help=help)


def add_unmarked(command: OptionContainer) -> None:
    """Adds the flag `--unmarked`, without which pictures say that a network had a part in them.

    Args:
      command: A parser, or a group of its options.
    """
    command.add_argument(
        "--unmarked",
        action="store_true",
        help="leave out the metadata that say that a trained network had a part in the pictures"
        " (IPTC's DigitalSourceType)",
    )
