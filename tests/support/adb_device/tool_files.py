"""The tools in the folder /system/bin of the device."""

import shlex
import sys
from pathlib import Path
from typing import Final

from . import programs, tools
from .disk import Disk

_HERE: Final = Path(__file__).resolve().parent

# Tools of the host whose arguments are files, which are confined to the disk.
_CONFINED: Final = (
    "base64 basename cat chmod cksum cmp cp diff dirname du file head ln ls mkdir mktemp "
    "mv od readlink realpath rm rmdir split "
    "stat tac tail tar tee touch truncate wc gzip gunzip zcat xxd "
)
# Tools of the host that are used unchanged: filters, and tools that run others.
_PLAIN: Final = (
    "awk comm cut date dd echo env expand expr false find fold getconf grep egrep fgrep join "
    "nice nl nohup paste printenv printf pwd sed seq setsid sort strings test timeout tr true "
    "tty uniq xargs yes "
)


def install(disk: Disk) -> None:
    """Fills /system/bin."""
    folder = disk.root / "system/bin"
    folder.mkdir(parents=True, exist_ok=True)
    confined = folder / ".confined"
    confined.write_text("#!/bin/sh\n" + (_HERE / "confined.sh").read_text())
    asking = folder / ".asking"
    program = f"{shlex.quote(sys.executable)} -IS {shlex.quote(programs.TOOL_CLIENT)}"
    asking.write_text(f'#!/bin/sh\nexec {program} "${{0##*/}}" "$@"\n')
    for file in (confined, asking):
        file.chmod(0o755)
    for name in _CONFINED.split():
        (folder / name).symlink_to(confined)
    for name in _PLAIN.split():
        for place in ("/usr/bin", "/bin"):
            host = Path(place, name)
            if host.exists():
                (folder / name).symlink_to(host)
                break
    for name in tools.TOOLS:
        (folder / name).symlink_to(asking)
