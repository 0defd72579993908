"""Finds the Python interpreter that runs this program, for child processes."""

import os
import re
import sys
import sysconfig
from pathlib import Path

INTERPRETER_VARIABLE = "MM_FACE_STYLIZER_PYTHON"

# Names such as python, python3.12, pythonw.exe and pypy3, but not pythonservice.exe.
_NAME = re.compile(r"(python|pypy)w?(\d+(\.\d+)*)?[a-z]?(-\w+)?(\.exe)?", re.IGNORECASE)


def find_interpreter() -> str | None:
    """Returns the path of a Python interpreter that can import what this process imports.

    `sys.executable` may be another program: an app that PyInstaller has frozen, which would start
    itself again; uWSGI, or any other application that Python is embedded in; or '' or None.

    Returns:
      $MM_FACE_STYLIZER_PYTHON if that is set. Otherwise the first of `sys.executable` and of the
      interpreters of this installation that exists and is called as Python is. None if there is
      none, or if the program is frozen.
    """
    if own := os.environ.get(INTERPRETER_VARIABLE):
        return own
    # What PyInstaller, cx_Freeze and py2exe set, and PyOxidizer.
    if getattr(sys, "frozen", False) or getattr(sys, "oxidized", False):
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folders = [sysconfig.get_path("scripts"), os.path.join(sys.exec_prefix, "bin"), sys.exec_prefix]
    names = [f"python{version}", "python3", "python.exe"]
    base = getattr(sys, "_base_executable", None)
    places = [sys.executable, base, *(os.path.join(f, n) for f in folders if f for n in names)]
    for place in places:
        if place and _NAME.fullmatch(Path(place).name) and os.access(place, os.X_OK):
            return place
    return None
