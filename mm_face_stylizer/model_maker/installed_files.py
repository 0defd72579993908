"""Installs files into a shared folder, and keeps a manifest of them so that they can be removed."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from mm_face_stylizer.errors import DataError
from task_bundle.files import atomic_write

MANIFEST = "mm_face_stylizer.json"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Removal:
    """The result of `InstalledFiles.uninstall`.

    Attributes:
      removed: number of removed files.
      left: paths that were kept: installed files whose content was changed, and folders that
        contain other files.
    """

    removed: int
    left: tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class _Manifest:
    """The content of a manifest.

    Attributes:
      files: the SHA-256 of each file, keyed by its path relative to the folder.
      folders: relative paths of the folders that were created; `.` is the folder itself.
      about: a description of the files.
    """

    files: dict[str, str]
    folders: list[str]
    about: dict[str, str]


class InstalledFiles:
    """Installs files and folders into a folder, and removes exactly these again.

    A manifest in the folder lists the SHA-256 of each file. A file that the manifest does not list,
    or lists with another hash, is neither overwritten nor removed. The manifest is written before
    the files, so that it lists all of them even if the process is killed in between.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Sets the folder, without accessing it.

        Args:
          folder: the folder to install into; need not exist.
        """
        self.folder = Path(folder)
        self._path = self.folder / MANIFEST

    def check(self, names: Sequence[str]) -> None:
        """Checks that writing would overwrite only files that this class installed.

        Args:
          names: files and folders to be written, relative to the folder.

        Raises:
          FileExistsError: a path of that name has another origin, or was changed since.
          ValueError: the manifest is damaged.
        """
        manifest = self._read()
        for name in names:
            for path in _files_below(self.folder / name):
                if not self._is_ours(path, manifest):
                    raise FileExistsError(
                        errno.EEXIST,
                        f"{path} was not written by this program, or was changed since; move "
                        f"{self.folder / name} away, or install into another directory",
                    )

    @contextlib.contextmanager
    def replacing(self, names: Sequence[str], about: Mapping[str, str]) -> Iterator[Path]:
        """Context manager that installs the files that its block writes into a staging folder.

        At the end of the block the files are moved from the staging folder to their places, and
        replace those of an earlier call. If the block raises, nothing changes.

        Args:
          names: files and folders that the block creates, relative to the folder.
          about: a description of the files, stored in the manifest.

        Yields:
          The staging folder, on the same disk; it contains only the parent folders of `names`.

        Raises:
          FileExistsError: see `check`, which runs before and after the block.
          ValueError: the manifest is damaged.
          OSError: the folder cannot be written to.
        """
        self.check(names)
        made = self._make_parents(names)
        staging = None
        try:
            staging = Path(tempfile.mkdtemp(prefix=".mm_face_stylizer_", dir=self.folder))
            for name in names:
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
            yield staging
            self.check(names)
            self._take_over(staging, names, made, dict(about))
        finally:
            if staging is not None:
                shutil.rmtree(staging, ignore_errors=True)
            if not self._path.exists():
                _remove_empty(self.folder, made)

    def uninstall(self) -> Removal:
        """Removes the manifest, its unchanged files, and the folders created for them.

        Returns:
          The number of removed files, and the paths that were kept.

        Raises:
          FileNotFoundError: there is no manifest, so nothing is installed.
          ValueError: the manifest is damaged.
          OSError: a file cannot be removed; calling this method again removes the rest.
        """
        manifest = self._read()
        if manifest is None:
            raise FileNotFoundError(
                errno.ENOENT, f"nothing is installed in {self.folder}: there is no {MANIFEST}"
            )
        removed, left = self._remove_files(manifest)
        self._path.unlink()
        left += _remove_empty(self.folder, manifest.folders)
        return Removal(removed, tuple(left))

    def _remove_files(self, manifest: _Manifest) -> tuple[int, list[Path]]:
        removed, left = 0, []
        for name in manifest.files:
            path = self.folder / name
            if self._is_ours(path, manifest):
                path.unlink()
                removed += 1
            elif os.path.lexists(path):
                left.append(path)
        return removed, left

    def _take_over(
        self, staging: Path, names: Sequence[str], made: list[str], about: dict[str, str]
    ) -> None:
        old = self._read()
        files, folders = {}, list(made)
        for path in sorted(staging.rglob("*")):
            name = path.relative_to(staging).as_posix()
            if not path.is_dir():
                files[name] = _sha256(path)
            elif any(PurePosixPath(name).is_relative_to(target) for target in names):
                folders.append(name)
        if old is not None:
            self._remove_files(old)
            _remove_empty(self.folder, [name for name in old.folders if name in folders])
            folders += [name for name in old.folders if name not in folders]
        manifest = {"format": _FORMAT, "about": about, "files": files, "folders": folders}
        text = json.dumps(manifest, indent=2) + "\n"
        # Removing the old files may have removed parent folders, too.
        self._make_parents(names)
        atomic_write(self._path, text.encode(), overwrite=True)
        for name in names:
            # Neither call overwrites a file that another program may have created in the meantime.
            if (staging / name).is_dir():
                os.rename(staging / name, self.folder / name)
            else:
                atomic_write(self.folder / name, (staging / name).read_bytes())

    def _make_parents(self, names: Sequence[str]) -> list[str]:
        """Creates the parent folders of `names`, and returns those that were missing."""
        made = []
        for name in [".", *sorted({str(PurePosixPath(name).parent) for name in names})]:
            if not (self.folder / name).is_dir():
                (self.folder / name).mkdir(parents=name == ".")
                made.append(name)
        return made

    def _read(self) -> _Manifest | None:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise self._damaged(str(error)) from None
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise self._damaged(f"its format is not {_FORMAT}")
        files, folders, about = (content.get(key) for key in ("files", "folders", "about"))
        if not (isinstance(files, dict) and isinstance(folders, list) and isinstance(about, dict)):
            raise self._damaged("one of the fields files, folders and about is missing")
        # The folder is often one for temporary files, where any user may have written the manifest.
        for name in [*files, *folders]:
            parts = PurePosixPath(str(name))
            if not isinstance(name, str) or parts.is_absolute() or ".." in parts.parts:
                raise self._damaged(f"{name!r} does not lie in its folder")
        return _Manifest(files, folders, about)

    def _damaged(self, reason: str) -> DataError:
        return DataError(
            f"{self._path} is damaged ({reason}); remove the files that it listed by hand"
        )

    def _is_ours(self, path: Path, manifest: _Manifest | None) -> bool:
        """Returns whether a path is a listed folder, or a listed file with unchanged content."""
        if manifest is None:
            return False
        name = path.relative_to(self.folder)
        links = [self.folder / parent for parent in [name, *name.parents][:-1]]
        if any(link.is_symlink() for link in links):
            return False
        if path.is_dir():
            return name.as_posix() in manifest.folders
        digest = manifest.files.get(name.as_posix())
        return digest is not None and path.is_file() and _sha256(path) == digest


def _files_below(path: Path) -> Iterator[Path]:
    """Yields the path if it exists and, if it is a folder and not a link, all paths below it."""
    if os.path.lexists(path):
        yield path
    if path.is_dir() and not path.is_symlink():
        yield from sorted(path.rglob("*"))


def _remove_empty(folder: Path, names: Sequence[str]) -> list[Path]:
    """Removes empty folders, the deepest first, and returns those that are not empty."""
    left = []
    for name in sorted(names, key=lambda name: len(PurePosixPath(name).parts), reverse=True):
        path = folder / name
        if path.is_symlink() or not path.is_dir():
            continue
        try:
            path.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            left.append(path)
    return left


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
