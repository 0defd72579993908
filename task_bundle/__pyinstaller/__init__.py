"""What PyInstaller needs to know to freeze an app that uses `task_bundle`.

PyInstaller finds this by the entry point `hook-dirs` of the installed distribution.
"""

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Returns the folder with the hooks, for PyInstaller."""
    return [str(Path(__file__).parent)]
