"""The cache folder."""

import os
from pathlib import Path

CACHE_VARIABLE = "MM_FACE_STYLIZER_CACHE"


def cache_folder() -> Path:
    """Returns the folder for downloads and for the results of model checks. It need not exist.

    It is $MM_FACE_STYLIZER_CACHE, else $XDG_CACHE_HOME/mm-face-stylizer, else
    ~/.cache/mm-face-stylizer.
    """
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own)
    if general := os.environ.get("XDG_CACHE_HOME"):
        return Path(general) / "mm-face-stylizer"
    return Path.home() / ".cache" / "mm-face-stylizer"
