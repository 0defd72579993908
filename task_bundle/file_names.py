"""Names of files as text, for reports."""

import os


def as_text(name: str | os.PathLike[str]) -> str:
    """Returns a name as reports in UTF-8 have it: what is not UTF-8 in it becomes U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")
