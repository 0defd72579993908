"""Whether one report's latencies differ from another's by more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.case import label
from benchmarks.report import Report, Row
from benchmarks.summary import Estimate, Interval, estimate_p50

FASTER, SLOWER, SAME, FAILED, REPAIRED, GONE, NEW = (
    "faster",
    "slower",
    "same",
    "fails now",
    "works now",
    "gone",
    "new",
)
# Chance that any row of two runs of the same thing is called slower or faster.
_ALPHA = 0.05


@dataclass(frozen=True)
class Change:
    """What became of one case.

    Attributes:
      title: the case, for people.
      verdict: 'slower', 'faster', 'same', 'fails now', 'works now', 'gone' or 'new'.
      before_ms: p50 of the first report.
      after_ms: p50 of the second report.
      ratio: second to first; of the drift controls' multiples, where both reports have them.
      interval: of the ratio.
      relative: whether the ratio is one of drift controls' multiples.
    """

    title: str
    verdict: str
    before_ms: float | None = None
    after_ms: float | None = None
    ratio: float | None = None
    interval: Interval | None = None
    relative: bool = False


def compare(first: Report, second: Report, tolerance: float = 0.03) -> tuple[Change, ...]:
    """Compares two reports case by case.

    Cases are the same if stage, runtime and settings are, and the names of subject and device;
    where each report has but one subject, or one device, its name does not matter. Times are
    compared as multiples of the drift control's in the same round, where both have one: a machine
    that slowed down as a whole changes nothing. A case is slower or faster if the interval of the
    ratio of the two p50 leaves out 1 and the ratio is further from 1 than `tolerance`. The
    intervals are as wide as the number of cases demands (Bonferroni): two runs of the same thing
    pass as a whole in 19 of 20 tries.

    Args:
      first: the earlier report.
      second: the later report.
      tolerance: changes smaller than this are nobody's concern.

    Returns:
      What became of each case, in the order of the reports.

    Raises:
      ValueError: `tolerance` is negative, or the reports have no case in common.
    """
    if tolerance < 0:
        raise ValueError(f"tolerance must not be negative; it is {tolerance}")
    before, after = _keyed(first, second), _keyed(second, first)
    common = [key for key in before if key in after]
    if not common:
        raise ValueError(
            "the two results have no case in common: same stages, runtimes, settings and names of"
            " subject and device are needed"
        )
    tested = sum(1 for key in common if before[key].rounds and after[key].rounds)
    changes = [
        _change(before[key], after[key], _ALPHA / max(tested, 1), tolerance) for key in common
    ]
    changes += [Change(_title(row), GONE) for key, row in before.items() if key not in after]
    changes += [Change(_title(row), NEW) for key, row in after.items() if key not in before]
    return tuple(changes)


def is_worse(changes: Sequence[Change]) -> bool:
    """Whether any case became slower or fails now."""
    return any(change.verdict in (SLOWER, FAILED) for change in changes)


def log_ratio(before: Row, after: Row) -> tuple[Estimate, bool]:
    """Estimates the logarithm of the ratio of two rows' p50.

    Args:
      before: a row with rounds.
      after: another.

    Returns:
      The estimate, and whether it is one of multiples of the drift control.
    """
    relative = all(one.control_ms for row in (before, after) for one in row.rounds)
    return estimate_p50(after.rounds, relative) - estimate_p50(before.rounds, relative), relative


def _keyed(report: Report, other: Report) -> dict[tuple[object, ...], Row]:
    one_subject = len(report.subjects) == len(other.subjects) == 1
    one_device = len(report.devices) == len(other.devices) == 1
    return {
        (
            "" if one_device else row.device,
            "" if one_subject else row.subject,
            row.stage,
            row.runtime,
            row.settings,
        ): row
        for row in report.rows
    }


def _change(before: Row, after: Row, alpha: float, tolerance: float) -> Change:
    title = _title(after)
    if before.error is not None and after.error is not None:
        return Change(title, SAME)
    if after.error is not None:
        return Change(title, FAILED)
    if before.error is not None:
        return Change(title, REPAIRED)
    estimate, relative = log_ratio(before, after)
    half = estimate.half_width(alpha)
    interval = Interval(_exp(estimate.log - half), _exp(estimate.log + half))
    ratio = math.exp(estimate.log)
    verdict = SAME
    if 1.0 not in interval and abs(ratio - 1.0) > tolerance:
        verdict = SLOWER if ratio > 1.0 else FASTER
    return Change(
        title,
        verdict,
        before_ms=math.exp(estimate_p50(before.rounds).log),
        after_ms=math.exp(estimate_p50(after.rounds).log),
        ratio=ratio,
        interval=interval,
        relative=relative,
    )


def _exp(value: float) -> float:
    return math.exp(min(max(value, -700.0), 700.0))


def _title(row: Row) -> str:
    parts = (row.subject, row.stage.replace("_", " "), row.runtime, label(row.settings))
    return ", ".join(parts)


def to_text(changes: Sequence[Change]) -> str:
    """Writes a comparison for a terminal.

    Args:
      changes: what `compare` gave.

    Returns:
      A line for each case, what changed first.
    """
    lines = []
    for change in sorted(changes, key=lambda c: c.verdict == SAME):
        values = ""
        if change.ratio is not None and change.interval is not None:
            values = (
                f"  {change.ratio:.3f} [{change.interval.low:.3f}, {change.interval.high:.3f}]"
                f"  {change.before_ms:.2f} -> {change.after_ms:.2f} ms"
            )
        lines.append(f"{change.verdict:9}{values}  {change.title}")
    return "\n".join(lines) + "\n"
