"""Compares the latencies of two reports, and tells changes from noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.case import label
from benchmarks.errors import InvalidArgumentError
from benchmarks.report import Report, Row
from benchmarks.summary import Estimate, Interval, estimate_p50

FASTER, SLOWER, SAME, UNCLEAR, FAILED, REPAIRED, GONE, NEW = (
    "faster",
    "slower",
    "same",
    "unclear",
    "fails now",
    "works now",
    "gone",
    "new",
)
# Probability that, in two runs of the same files, any row is called slower or faster.
_ALPHA = 0.05
# "Same" claims that there is no change as large as this one. If the confidence interval reaches
# beyond it, the runs are too noisy for the claim.
_LARGE_CHANGE = 0.25
# Ends of an interval that are printed as numbers.
_PRINTED = (1e-3, 1e3)


@dataclass(frozen=True)
class Change:
    """How one case changed.

    Attributes:
      title: Description of the case.
      verdict: 'slower', 'faster', 'same', 'unclear', 'fails now', 'works now', 'gone' or 'new'.
      before_ms: p50 in the first report, in milliseconds.
      after_ms: p50 in the second report, in milliseconds.
      ratio: The second p50 divided by the first. Where both reports have a drift control, each is
        divided by the control's time before.
      interval: Confidence interval of the ratio.
      relative: Whether the ratio is one of times divided by the drift control's.
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

    Two rows are the same case if stage, runtime, settings, subject name and device name are equal;
    where each report has only one subject, or one device, its name does not matter. Where both
    rows have a drift control, times are divided by the control's in the same round, so that a
    machine that slowed down as a whole changes nothing. A case is slower or faster if the
    confidence interval of the ratio of the two p50 does not contain 1 and the ratio differs from 1
    by more than `tolerance`. It is unclear if the interval contains 1 and reaches beyond a change
    by 25 %, or by `tolerance` if that is greater: the runs are too noisy to tell. The intervals
    are widened for the number of cases (Bonferroni), so that two runs of the same files differ in
    no case with a probability of 95 %.

    Args:
      first: The earlier report.
      second: The later report.
      tolerance: Smallest change of the ratio that is reported, at least 0.

    Returns:
      The change of each case, in the order of the reports.

    Raises:
      InvalidArgumentError: `tolerance` is negative, or the reports have no case in common.
    """
    if tolerance < 0:
        raise InvalidArgumentError(f"tolerance must not be negative; it is {tolerance}")
    before, after = _rows_by_key(first, second), _rows_by_key(second, first)
    common = [key for key in before if key in after]
    if not common:
        raise InvalidArgumentError(
            "the two results have no case in common, that is, none with the same stage, runtime,"
            " settings, subject name and device name"
        )
    tested = sum(1 for key in common if before[key].rounds and after[key].rounds)
    changes = [
        _change(before[key], after[key], _ALPHA / max(tested, 1), tolerance) for key in common
    ]
    changes += [Change(_title(row), GONE) for key, row in before.items() if key not in after]
    changes += [Change(_title(row), NEW) for key, row in after.items() if key not in before]
    return tuple(changes)


def is_worse(changes: Sequence[Change]) -> bool:
    """Returns whether any case became slower or fails now."""
    return any(change.verdict in (SLOWER, FAILED) for change in changes)


def log_ratio(before: Row, after: Row) -> tuple[Estimate, bool]:
    """Estimates the logarithm of the ratio of two rows' p50.

    Args:
      before: The earlier row, which has rounds.
      after: The later row, which has rounds.

    Returns:
      The estimate, and whether times were divided by the drift control's.
    """
    relative = all(one.control_ms for row in (before, after) for one in row.rounds)
    return estimate_p50(after.rounds, relative) - estimate_p50(before.rounds, relative), relative


def _rows_by_key(report: Report, other: Report) -> dict[tuple[object, ...], Row]:
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
    if 1.0 not in interval:
        if abs(ratio - 1.0) > tolerance:
            verdict = SLOWER if ratio > 1.0 else FASTER
    elif max(interval.high, 1.0 / interval.low) > 1.0 + max(tolerance, _LARGE_CHANGE):
        verdict = UNCLEAR
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
    """Returns a comparison as text for a terminal.

    Args:
      changes: Return value of `compare`.

    Returns:
      A line for each case, those that changed first.
    """
    return "".join(f"{_line(c)}\n" for c in sorted(changes, key=lambda c: c.verdict == SAME))


def _line(change: Change) -> str:
    values, remark = "", ""
    if change.ratio is not None and change.interval is not None:
        assert change.before_ms is not None and change.after_ms is not None
        low, high = change.interval.low, change.interval.high
        shown = change.after_ms / change.before_ms
        values = (
            f"  {change.ratio:.3f} [{_bound(low)}, {_bound(high)}]"
            f"  {change.before_ms:.2f} -> {change.after_ms:.2f} ms"
        )
        if change.relative:
            # The two ratios differ where the machine as a whole was slower in one of the runs.
            values += f" (x{shown:.3f} with the machine's drift)"
        if change.verdict == UNCLEAR:
            remark = "; too noisy to tell: measure again, with more rounds"
    return f"{change.verdict:9}{values}  {change.title}{remark}"


def _bound(value: float) -> str:
    """Formats an end of an interval, which is astronomical if the runs are very noisy."""
    least, greatest = _PRINTED
    if value < least:
        return f"<{least:g}"
    return f">{greatest:g}" if value > greatest else f"{value:.3f}"
