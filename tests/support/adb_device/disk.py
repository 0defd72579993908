"""The device's disk: a private folder, and how remote paths map into it."""

import errno
import os
import re
from pathlib import Path, PurePosixPath
from typing import Final

# Where the shell user of a phone may write, and the errors that it gets elsewhere.
WRITABLE: Final = ("/data/local/tmp", "/storage/emulated/0")
READ_ONLY: Final = ("/system", "/vendor", "/sys", "/proc", "/apex")

_LINKS: Final = 40


class Disk:
    """Maps remote paths into a folder; neither '..' nor a link leads out of it.

    Attributes:
      root: the folder, resolved; safe to stand unquoted in a shell command.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        if not re.fullmatch(r"[\w./+@-]+", str(self.root)):
            raise ValueError(
                f"{self.root}: the device's disk needs a path that a shell takes as one word; "
                "letters, digits and ./_+@- are right"
            )

    def host_path(self, remote: str, *, follow: bool = True) -> Path:
        """The file that a remote path means; it need not exist.

        Args:
          remote: an absolute path of the device; a relative one is taken from '/'.
          follow: whether a link at the very end is followed, too.

        Raises:
          OSError: ELOOP, the links lead in circles.
        """
        todo = [part for part in remote.split("/") if part not in ("", ".")][::-1]
        done: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                done = done[:-1]
                continue
            here = self.root.joinpath(*done, part)
            if here.is_symlink() and (follow or todo):
                links += 1
                if links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), remote)
                target = self.remote_path(os.readlink(here))
                if target.startswith("/"):
                    done = []
                todo += [p for p in target.split("/") if p not in ("", ".")][::-1]
                continue
            done.append(part)
        return self.root.joinpath(*done)

    def remote_path(self, host: str) -> str:
        """What the device calls a host path; a path outside the disk stays as it is."""
        root = str(self.root)
        if host == root:
            return "/"
        return host[len(root) :] if host.startswith(root + "/") else host

    def link_target(self, target: str) -> str:
        """What a link on the disk holds so that the device's tools follow `target`."""
        return str(self.root) + target if target.startswith("/") else target

    def check_writable(self, host: Path) -> None:
        """Refuses what a phone refuses its shell user.

        Raises:
          OSError: EROFS or EACCES, with the remote path.
        """
        remote = self.remote_path(str(host))
        if _is_below(remote, WRITABLE):
            return
        code = errno.EROFS if remote == "/" or _is_below(remote, READ_ONLY) else errno.EACCES
        if len(PurePosixPath(remote).parts) == 2:
            code = errno.EROFS
        raise OSError(code, os.strerror(code), remote)


def _is_below(remote: str, folders: tuple[str, ...]) -> bool:
    return any(remote == folder or remote.startswith(folder + "/") for folder in folders)
