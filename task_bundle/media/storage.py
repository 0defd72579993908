"""Folders of many files, on this machine or in an object store."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from task_bundle.errors import ImageError, MissingDependencyError
from task_bundle.files import atomic_write
from task_bundle.media.images import MAX_FILE_BYTES


@dataclass(frozen=True)
class Storage:
    """A folder with its subfolders. Files are called by their path below it, with slashes.

    An instance is small, and can be sent to other processes and machines.

    Attributes:
      location: the path of a folder, or a URI that Apache Arrow knows, such as `s3://bucket/photos`
        or `gs://bucket/photos`. Arrow takes credentials from where the store's own tools do.
    """

    location: str

    def names(self, suffixes: Collection[str]) -> Iterator[str]:
        """Lists the files with one of some suffixes, as they come; hidden ones are left out.

        Args:
          suffixes: suffixes in lower case, with the dot.

        Yields:
          Names such as `2024/may/1.jpg`; none if there is no such folder.

        Raises:
          OSError: the folder cannot be read.
        """
        for name in self._arrow_names() if self._is_remote else self._local_names():
            hidden = any(part.startswith(".") for part in name.split("/"))
            if not hidden and os.path.splitext(name)[1].lower() in suffixes:
                yield name

    def path(self, name: str) -> str:
        """Returns the whole path of a file, for messages."""
        return f"{self.location.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes:
        """Reads a file.

        Raises:
          ImageError: it is larger than a picture may be.
          OSError: it cannot be read.
        """
        if not self._is_remote:
            file = Path(self.location, name)
            self._check_size(name, file.stat().st_size)
            return file.read_bytes()
        filesystem, root = self._arrow
        with filesystem.open_input_file(f"{root}/{name}") as file:
            self._check_size(name, file.size())
            return bytes(file.read())

    def write(self, name: str, content: bytes) -> None:
        """Writes a file whole or not at all, in place of one that may be there.

        Raises:
          OSError: it cannot be written.
        """
        if not self._is_remote:
            file = Path(self.location, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(file, content, overwrite=True)
            return
        filesystem, root = self._arrow
        path = f"{root}/{name}"
        # Object stores have no folders, and show an object only when it is complete.
        filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        with filesystem.open_output_stream(path) as stream:
            stream.write(content)

    @property
    def _is_remote(self) -> bool:
        return "://" in self.location

    @property
    def _arrow(self) -> tuple[Any, str]:
        return _open(self.location)

    def _check_size(self, name: str, size: int) -> None:
        if size > MAX_FILE_BYTES:
            raise ImageError(f"{self.path(name)} is larger than {MAX_FILE_BYTES // 2**20} MiB")

    def _local_names(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.location, onerror=_raise_unless_missing):
            # In place: `os.walk` goes on in these, in this order.
            folders.sort()
            below = Path(folder).relative_to(self.location)
            yield from ((below / name).as_posix() for name in sorted(files))

    def _arrow_names(self) -> Iterator[str]:
        from pyarrow import fs

        filesystem, root = self._arrow
        selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
        for info in filesystem.get_file_info(selector):
            if info.type == fs.FileType.File:
                yield info.path[len(root) :].lstrip("/")


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@functools.cache
def _open(location: str) -> tuple[Any, str]:
    try:
        from pyarrow import fs
    except ImportError as error:
        raise MissingDependencyError(
            f"{location} is read by pyarrow: pip install 'mm-face-stylizer[ray]'"
        ) from error
    try:
        filesystem, root = fs.FileSystem.from_uri(location)
    except (ValueError, OSError) as error:
        raise ImageError(f"{location} is no place that can be read: {error}") from error
    return filesystem, str(root).rstrip("/")
