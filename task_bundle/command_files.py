"""Checks of the paths that commands are given, before they work for minutes.

Inputs are checked first: what is missing there matters more than an output that exists.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from task_bundle.errors import InvalidArgumentError
from task_bundle.files import already_exists

# An output that ends so is meant to be a file and no folder.
_MEDIA_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".bmp", ".mp4", ".mov")


def check_output_folder(folder: Path) -> None:
    """Checks that a path can be a folder for output, which need not exist yet.

    Raises:
      NotADirectoryError: there is a file of that name, or a symbolic link that leads nowhere.
    """
    # Such a link does not exist, and no folder can be made in its place.
    if folder.is_symlink() and not folder.exists():
        raise NotADirectoryError(f"{folder} is a link that leads nowhere; name a folder")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; the output must be a folder")


def output_file(output: Path, inputs: Sequence[Path], suffix: str) -> Path | None:
    """Says whether an output, usually a folder, names the one file that is to be written.

    Args:
      output: What the user gave.
      inputs: The files that are read.
      suffix: That of the files that are written.

    Returns:
      `output` if it is a file of this suffix and there is one input; None if it is a folder.

    Raises:
      InvalidArgumentError: it looks like a file, but there are several inputs, or files of
        another kind are written.
    """
    if output.is_dir() or output.suffix.lower() not in _MEDIA_SUFFIXES:
        return None
    if len(inputs) != 1:
        raise InvalidArgumentError(
            f"-o {output} is one file, but there are {len(inputs)} inputs; name a folder"
        )
    if output.suffix.lower() != suffix:
        raise InvalidArgumentError(
            f"-o {output}: what is written for {inputs[0]} ends in {suffix}; name it so, or name a"
            " folder"
        )
    return output


def check_input_files(*paths: Path | None) -> None:
    """Checks that files or folders exist: what is missing is told before anything else.

    Args:
      *paths: The files; None stands for one that was not given.

    Raises:
      FileNotFoundError: some of them do not exist; the message names all of these.
    """
    missing = [str(path) for path in paths if path is not None and not os.path.exists(path)]
    if missing:
        verb = "does" if len(missing) == 1 else "do"
        raise FileNotFoundError(f"{', '.join(missing)} {verb} not exist")


def check_output_files(*paths: Path | None, overwrite: bool) -> None:
    """Checks that files can be written, before the work that makes their content begins.

    Args:
      *paths: The files; None stands for one that is not asked for.
      overwrite: Whether existing files may be replaced.

    Raises:
      FileNotFoundError: the folder of a file does not exist.
      IsADirectoryError: a path is a folder.
      FileExistsError: a file exists and must not be replaced.
      PermissionError: the folder of a file is read-only.
    """
    for path in paths:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: no folder {path.parent}")
        if path.is_dir():
            raise IsADirectoryError(f"cannot write {path}: it is a folder")
        if path.exists() and not overwrite:
            raise already_exists(path)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"cannot write {path}: the folder {path.parent} is read-only")
