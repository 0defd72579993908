"""Writes files atomically."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

OVERWRITE_HINT: Final = "; pass overwrite=True to replace it"


def already_exists(*paths: str | os.PathLike[str]) -> FileExistsError:
    """Returns the error for files that must not be replaced, which says how they would be.

    Args:
      *paths: The files.
    """
    names = ", ".join(os.fspath(path) for path in paths)
    error = FileExistsError(
        f"{names} already exist{'s' if len(paths) == 1 else ''}{OVERWRITE_HINT}"
    )
    # Without its own text, which would come first in the message.
    error.errno = errno.EEXIST
    return error


def atomic_write(path: str | os.PathLike[str], data: bytes, overwrite: bool = False) -> None:
    """Writes a file so that readers see the old content or the new content, never a part of it.

    The data are written to a temporary file in the same folder, which is then renamed. After any
    exception, KeyboardInterrupt included, the temporary file is removed.

    Args:
      path: the file to write. Its folder must exist.
      data: the content.
      overwrite: whether an existing file may be replaced.

    Raises:
      FileExistsError: the file exists and `overwrite` is false.
      FileNotFoundError: the folder does not exist.
      IsADirectoryError: `path` is a folder.
      NotADirectoryError: the folder is a file.
      OSError: the folder cannot be written to (PermissionError), the disk is full, `path` is a
        device or a pipe, and so on.
    """
    with atomic_path(path, overwrite) as temporary, _naming(path), open(temporary, "xb") as file:
        file.write(data)


@contextlib.contextmanager
def atomic_path(
    path: str | os.PathLike[str], overwrite: bool = False, suffix: str = ".tmp"
) -> Iterator[Path]:
    """Provides a temporary file name; what is written to it is renamed when the block ends.

    This is for libraries that open their output file themselves; `atomic_write` is simpler. If the
    `with` block raises, KeyboardInterrupt included, the temporary file is removed and `path` stays
    as it was.

    Args:
      path: the file to write. Its folder must exist.
      overwrite: whether an existing file may be replaced.
      suffix: the suffix of the temporary name, for libraries that choose the format by it.

    Yields:
      The temporary name, in the same folder. No file of that name exists yet.

    Raises:
      FileExistsError: the file exists and `overwrite` is false.
      FileNotFoundError: the folder does not exist.
      IsADirectoryError: `path` is a folder.
      NotADirectoryError: the folder is a file.
      OSError: the folder cannot be written to (PermissionError), the disk is full, `path` is a
        device or a pipe, and so on.
    """
    # Writing through a symbolic link replaces what it points to, not the link.
    target = Path(os.path.realpath(path))
    # File systems allow names of 255 bytes; forty characters have at most 160.
    temporary = target.parent / f".{target.name[:40]}.{secrets.token_hex(6)}{suffix}"
    with _naming(path):
        obstacle = _obstacle(path, target, overwrite)
    if obstacle is not None:
        raise obstacle
    try:
        yield temporary
        with _naming(path):
            _sync(temporary)
            if overwrite:
                os.replace(temporary, target)
            else:
                _move_to_new_name(temporary, target, path)
    finally:
        # On a read-only file system removing fails as well, which is not what went wrong.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Adds to errors of the operating system which file could not be written."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, f"cannot write {path}: {reason}") from error


def _obstacle(path: str | os.PathLike[str], target: Path, overwrite: bool) -> OSError | None:
    """Returns why `target` cannot be written, as far as that is known before writing; or None."""
    folder = target.parent
    if not folder.exists():
        return FileNotFoundError(errno.ENOENT, f"cannot write {path}: no folder {folder}")
    if not folder.is_dir():
        return NotADirectoryError(errno.ENOTDIR, f"cannot write {path}: {folder} is not a folder")
    if target.is_dir():
        return IsADirectoryError(errno.EISDIR, f"cannot write {path}: it is a folder")
    if target.exists() and not target.is_file():
        # Renaming would replace a device by a file, if a superuser's program did it.
        return OSError(errno.EINVAL, f"cannot write {path}: it is not a regular file")
    if target.exists() and not overwrite:
        return already_exists(path)
    return None


def _sync(path: Path) -> None:
    """Flushes a file to disk, so that a crash cannot leave the new name without its content."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _move_to_new_name(temporary: Path, target: Path, path: str | os.PathLike[str]) -> None:
    """Renames `temporary` to `target`, unless somebody has created `target` meanwhile."""
    try:
        # Unlike a rename, a hard link fails if the file exists.
        os.link(temporary, target)
    except FileExistsError as error:
        raise already_exists(path) from error
    except (OSError, NotImplementedError):  # A file system without hard links.
        os.replace(temporary, target)
