"""Finds what somebody meant who has misspelled a name."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the end of a message about an unknown name.

    Args:
      name: What was given.
      known: The names that there are.

    Returns:
      `; did you mean NAME?` with the nearest name, or an empty string if none is near.
    """
    # The dashes of options would make all of them alike.
    names = {candidate.lower().lstrip("-"): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower().lstrip("-"), names, n=1)
    return f"; did you mean {names[near[0]]}?" if near else ""
