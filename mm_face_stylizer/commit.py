"""Which code runs."""

from __future__ import annotations

import pathlib
import subprocess


def running_commit() -> str:
    """The commit of the code that runs, `unknown` outside a checkout."""
    folder = pathlib.Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()
