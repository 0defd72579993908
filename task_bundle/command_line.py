"""What the command lines have in common: errors are one line on stderr and an exit status."""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

# Packages that commands need and that an extra brings.
_EXTRAS: Final = {"pydantic": "benchmark", "scipy": "benchmark", "tensorflow": "train"}


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    errors: tuple[type[BaseException], ...],
) -> int:
    """Runs the sub-command that `parser` finds, its `run` default.

    Args:
      parser: the parser; its name is the program's.
      argv: the arguments; those of the process if None.
      errors: exceptions whose message is for users. OSError is always one, and so is the lack of a
        package that an extra brings.

    Returns:
      The exit status: 0 done, 1 failed with one line on stderr, 130 interrupted.

    Raises:
      SystemExit: with 2 for wrong usage, with 0 after --help.
    """
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{parser.prog}: interrupted; nothing half-written was left behind\n")
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _EXTRAS:
            extra = f"pip install 'mm-face-stylizer[{_EXTRAS[package]}]'"
            return fail(parser.prog, f"{package} is not installed; {extra}")
        if isinstance(error, errors):
            return fail(parser.prog, message(error))
        raise
    except FileExistsError as error:
        hint = "; pass --overwrite to replace it" if hasattr(arguments, "overwrite") else ""
        return fail(parser.prog, message(error) + hint)
    except OSError as error:
        return fail(parser.prog, message(error))
    except errors as error:
        return fail(parser.prog, message(error))


def fail(program: str, text: str) -> int:
    """Writes an error as one line that a terminal does not obey, and returns the exit status."""
    sys.stderr.write(f"{program}: error: {printable(' '.join(text.split()))}\n")
    return 1


def message(error: BaseException) -> str:
    """What an exception tells its user."""
    if isinstance(error, OSError) and error.strerror:
        # The system's own messages keep the file apart.
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def printable(text: str) -> str:
    """Names come from strangers: nothing that a terminal obeys."""
    return "".join(c if c.isprintable() else "?" for c in text)
