import dataclasses

import numpy as np
import pytest
from reports import drifting_rounds, report, row, subject

from benchmarks.comparison import FAILED, SAME, SLOWER, UNCLEAR, compare, is_worse, to_text
from benchmarks.report import Report, Round


def run(random, slow_down=1.0, machine=1.0) -> Report:
    """Three cases on a shared machine."""
    drift = machine * np.exp(random.normal(0.0, 0.03, 10))
    return report(
        *(
            row(drifting_rounds(random, slow_down * p50, machine=drift), stage)
            for stage, p50 in (("end_to_end", 40.0), ("stylizer", 30.0), ("detector", 1.0))
        )
    )


def test_two_runs_of_the_same_are_the_same():
    random = np.random.default_rng(0)
    unchanged = 0
    for _ in range(40):
        changes = compare(run(random), run(random), tolerance=0.0)
        unchanged += all(change.verdict == SAME for change in changes)
    # At least 19 of 20 tries, with all three cases together.
    assert unchanged >= 36


def test_a_slow_down_by_ten_percent_is_found():
    random = np.random.default_rng(1)
    for _ in range(20):
        changes = compare(run(random), run(random, slow_down=1.1))
        assert [change.verdict for change in changes] == [SLOWER] * 3
        assert all(1.05 < change.ratio < 1.15 for change in changes)
        assert is_worse(changes)


def test_a_machine_that_is_slower_as_a_whole_changes_nothing():
    random = np.random.default_rng(2)
    changes = compare(run(random), run(random, machine=1.5))
    assert [change.verdict for change in changes] == [SAME] * 3
    assert changes[0].after_ms > 1.3 * changes[0].before_ms


def test_without_drift_controls_milliseconds_count():
    random = np.random.default_rng(3)
    first, second = run(random), run(random, machine=1.5)
    rounds = tuple(dataclasses.replace(o, control_ms=()) for o in second.rows[0].rounds)
    second = report(dataclasses.replace(second.rows[0], rounds=rounds))
    change = compare(first, second)[0]
    assert (change.verdict, change.relative) == (SLOWER, False)


def test_changes_below_the_tolerance_are_nobodys_concern():
    random = np.random.default_rng(4)
    first, second = run(random), run(random, slow_down=1.1)
    assert not is_worse(compare(first, second, tolerance=0.3))
    with pytest.raises(ValueError, match="tolerance must not be negative"):
        compare(first, second, tolerance=-0.1)


def test_failing_where_it_worked_is_worse():
    first = run(np.random.default_rng(5))
    broken = dataclasses.replace(first.rows[0], rounds=(), error="it crashes")
    second = dataclasses.replace(first, rows=(broken, first.rows[1]))
    changes = compare(first, second)
    assert {change.verdict for change in changes} == {FAILED, SAME, "gone"}
    assert is_worse(changes)
    assert not is_worse(compare(second, first))
    assert to_text(changes).splitlines()[0].startswith("fails now")


def test_two_bundles_are_compared_whatever_their_names():
    first = run(np.random.default_rng(6))
    rows = tuple(dataclasses.replace(r, subject="other") for r in first.rows)
    second = dataclasses.replace(first, rows=rows, subjects=(subject("other"),))
    assert [change.verdict for change in compare(first, second)] == [SAME] * 3
    many = dataclasses.replace(second, subjects=(subject("other"), subject("third")))
    with pytest.raises(ValueError, match="no case in common"):
        compare(first, many)


def rounds_of(*p50s):
    """Rounds without noise inside of each, and without a drift control."""
    return [Round(samples_ms=(p50,) * 20) for p50 in p50s]


@pytest.mark.parametrize("quiet_first", [False, True])
def test_a_noisy_and_a_quiet_run_cannot_be_told_apart(quiet_first):
    noisy, quiet = (
        report(row(rounds_of(*times))) for times in ((10.0, 30.0, 11.0), (12.0, 12.01, 12.02))
    )
    changes = compare(*((quiet, noisy) if quiet_first else (noisy, quiet)))
    assert [change.verdict for change in changes] == [UNCLEAR]
    assert not is_worse(changes)
    change = changes[0]
    assert change.ratio == pytest.approx(change.after_ms / change.before_ms)
    text = to_text(changes)
    assert text.startswith("unclear") and "too noisy to tell" in text
    assert f"{change.ratio:.3f} [" in text and "e+" not in text


def test_an_interval_that_says_nothing_is_not_printed_as_a_number():
    one_call = report(row([Round(samples_ms=(10.0,))]))
    quiet = report(row(rounds_of(12.0, 12.0, 12.0)))
    changes = compare(one_call, quiet)
    assert changes[0].verdict == UNCLEAR
    assert "1.200 [<0.001, >1000]  10.00 -> 12.00 ms" in to_text(changes)


def test_the_ratio_of_the_times_shown_stands_beside_that_without_drift():
    random = np.random.default_rng(7)
    changes = compare(run(random), run(random, machine=1.5))
    change = changes[0]
    assert f"(x{change.after_ms / change.before_ms:.3f} with the machine's" in to_text(changes)
