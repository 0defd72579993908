"""The cache folder."""

import os
from pathlib import Path

CACHE_VARIABLE = "MM_FACE_STYLIZER_CACHE"


def cache_folder() -> Path:
    """Returns the folder for downloads and for the results of model checks. It need not exist.

    It is $MM_FACE_STYLIZER_CACHE, else $XDG_CACHE_HOME/mm-face-stylizer, else
    ~/.cache/mm-face-stylizer. A user without a home folder has the root folder for it, as with an
    empty $HOME: nothing can be written there, so that nothing is read that somebody else wrote.
    """
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own)
    if general := os.environ.get("XDG_CACHE_HOME"):
        return Path(general) / "mm-face-stylizer"
    try:
        home = Path.home()
    except RuntimeError:  # A container's user often has a number, but no entry in /etc/passwd.
        home = Path(os.sep)
    return home / ".cache" / "mm-face-stylizer"
