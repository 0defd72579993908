"""The studio page's pieces of HTML."""

from __future__ import annotations

import html

from mm_face_stylizer.studio.tuning import TuningState

HEADER = """
<header><h1>Face stylizer studio</h1>
<p>Pictures stay on this computer.</p></header>
"""


def step_heading(number: int, title: str) -> str:
    """The heading of one of the page's steps."""
    return f"<h2 class='step'><span>{number}</span>{html.escape(title)}</h2>"


def message(text: str = "", is_error: bool = False) -> str:
    """What the page says to the user; nothing by default."""
    kind = "error" if is_error else "info"
    return f"<p role='status' data-kind='{kind}'>{html.escape(text)}</p>"


def bar_of(state: TuningState) -> str:
    """The progress of a tuning."""
    # Loading and painting take about as long as a tenth of the steps.
    share = 0.1 + 0.85 * state.step / state.steps if state.step else 0.05
    if state.step and state.stage == "Learning":
        left = "" if state.seconds_left is None else _left(state.seconds_left)
        return bar(share, f"Learning, step {state.step} of {state.steps}", left, True)
    return bar(share, f"{state.stage} …", "", True)


def bar(share: float, text: str, right: str, goes_on: bool = False) -> str:
    """A bar of progress.

    Args:
      share: How much of it is filled, from 0 to 1.
      text: What is being done.
      right: What stands at the right end.
      goes_on: Whether `clock.js` is to ask for news of it.
    """
    mark = " data-goes-on" if goes_on else ""
    return (
        f"<div class='bar'{mark} role='progressbar' aria-valuemin='0' aria-valuemax='100' "
        f"aria-valuenow='{100 * share:.0f}'><i style='width:{100 * share:.0f}%'></i></div>"
        f"<p class='bar-text'><span>{html.escape(text)}</span><span>{html.escape(right)}</span></p>"
    )


def _left(seconds: float) -> str:
    if seconds < 60:
        return f"about {max(5, 5 * round(seconds / 5))} s left"
    return f"about {round(seconds / 60)} min left"
