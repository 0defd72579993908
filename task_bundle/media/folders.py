"""Lists the pictures and videos in folders."""

import logging
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from task_bundle.errors import ImageError
from task_bundle.media.images import PICTURE_SUFFIXES

# Common video formats that FFmpeg opens; files with other suffixes are read as pictures.
VIDEO_SUFFIXES = frozenset(
    (
        *(".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m2t", ".m2ts", ".m2v", ".m4v", ".mkv"),
        *(".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".qt", ".ts", ".vob"),
        *(".webm", ".wmv"),
    )
)

_HEIF_SUFFIXES = (".heic", ".heif", ".hif")
# The warning names at most this many of the files that are left out.
_NAMED = 5

_log = logging.getLogger(__name__)


def list_files(
    folder: str | os.PathLike[str], suffixes: Collection[str] = PICTURE_SUFFIXES
) -> list[Path]:
    """Lists the files in a folder, without its subfolders, that have one of the given suffixes.

    One warning is logged if anything else is in the folder. Hidden files are ignored without a
    warning: they belong to other programs, or are temporary files of this one.

    Args:
      folder: the folder.
      suffixes: suffixes in lower case, with the dot.

    Returns:
      The files, sorted by name.

    Raises:
      OSError: the folder cannot be read.
    """
    files, left_out = [], []
    for path in sorted(Path(folder).iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in suffixes and path.is_file():
            files.append(path)
        else:
            left_out.append(path)
    if left_out:
        _log.warning("%s", _describe(Path(folder), left_out, VIDEO_SUFFIXES.isdisjoint(suffixes)))
    return files


def list_pictures(paths: Iterable[Path]) -> list[Path]:
    """Lists pictures: the files among some paths, and the files in the folders among them.

    Raises:
      ImageError: a path does not exist, or there are no pictures in a folder.
      OSError: a folder cannot be read.
    """
    paths = list(paths)
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise ImageError(f"{', '.join(missing)} does not exist")
    pictures: list[Path] = []
    for path in paths:
        found = list_files(path) if path.is_dir() else [path]
        if not found:
            raise ImageError(f"there are no pictures in the folder {path}")
        pictures += found
    return pictures


def _describe(folder: Path, left_out: list[Path], only_pictures: bool) -> str:
    named = [f"{path.name}{os.sep if path.is_dir() else ''}" for path in left_out[:_NAMED]]
    if len(left_out) > _NAMED:
        named.append(f"and {len(left_out) - _NAMED} more")
    kind = "no pictures that can be read" if only_pictures else "neither pictures nor videos"
    is_heif = any(path.suffix.lower() in _HEIF_SUFFIXES for path in left_out)
    hint = "; convert HEIC to JPEG or PNG" if is_heif else ""
    return f"{folder}: left out, because they are {kind}: {', '.join(named)}{hint}"
