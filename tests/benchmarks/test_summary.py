import dataclasses
import math

import numpy as np
import pytest
from reports import drifting_rounds

from benchmarks.report import Aggregate, Round
from benchmarks.summary import Interval, estimate_p50, summarize


def test_statistics_of_known_numbers():
    rounds = (Round(samples_ms=(1.0, 2.0, 3.0)), Round(samples_ms=(4.0, 5.0)))
    summary = summarize(rounds)
    assert (summary.count, summary.rounds, summary.minimum, summary.mean) == (5, 2, 1.0, 3.0)
    assert summary.p50 == pytest.approx(3.0)
    assert summary.p90 == pytest.approx(4.6)
    assert summary.standard_deviation == pytest.approx(math.sqrt(2.5))
    assert summary.p50 in summary.p50_interval


def test_aggregates_are_summarized_by_round():
    rounds = [
        Round(aggregate=Aggregate(count=50, mean=12.0, minimum=9.0, p50=value))
        for value in (10.0, 11.0, 13.0)
    ]
    summary = summarize(rounds)
    assert (summary.count, summary.minimum, summary.mean) == (150, 9.0, 12.0)
    assert summary.p50 == pytest.approx(11.0)
    assert summary.p95 is None
    assert 10.5 in summary.p50_interval


def test_two_runs_agree_within_their_stated_interval():
    random = np.random.default_rng(1)
    agreed = 0
    for _ in range(200):
        # The speed of the machine differs from run to run.
        machines = np.exp(random.normal(0.0, 0.01, 2))
        first, second = (
            summarize(drifting_rounds(random, machine=np.full(10, machine))) for machine in machines
        )
        agreed += second.p50 in first.p50_interval
    # 19 of 20, with a margin because 200 random tries vary.
    assert 180 <= agreed <= 199


def test_the_interval_is_no_wider_than_it_must_be():
    random = np.random.default_rng(2)
    intervals = [summarize(drifting_rounds(random)).p50_interval for _ in range(50)]
    # The p50 of these machines varies by 1.1 %, so that two runs differ by 3 % in 1 of 20 tries.
    halves = [math.log(interval.high / interval.low) / 2 for interval in intervals]
    assert 0.02 < np.median(halves) < 0.06


def test_calls_of_one_process_are_not_independent():
    random = np.random.default_rng(3)
    rounds = drifting_rounds(random)
    mixed = np.concatenate([one.samples_ms for one in rounds])
    random.shuffle(mixed)
    apart = tuple(Round(samples_ms=tuple(part.tolist())) for part in mixed.reshape(10, 10))
    assert estimate_p50(rounds).standard_error > 1.5 * estimate_p50(apart).standard_error


def test_the_drift_control_takes_out_what_slows_the_whole_machine():
    random = np.random.default_rng(4)
    rounds = drifting_rounds(random, machine=np.linspace(1.0, 1.6, 10))
    assert estimate_p50(rounds, relative=True).standard_error < 0.02
    assert estimate_p50(rounds).standard_error > 0.04
    without = [dataclasses.replace(one, control_ms=()) for one in rounds]
    with pytest.raises(ValueError, match="drift control"):
        estimate_p50(without, relative=True)


def test_one_round_is_cut_into_blocks():
    samples = tuple(np.random.default_rng(5).normal(10.0, 0.1, 100).tolist())
    estimate = estimate_p50([Round(samples_ms=samples)])
    assert math.exp(estimate.log) == pytest.approx(10.0, rel=0.005)
    assert 0.001 < estimate.half_width(0.05) < 0.01


def test_one_call_says_nothing_of_the_next():
    summary = summarize([Round(samples_ms=(5.0,))])
    assert summary.p50_interval == Interval(0.0, math.inf)
    with pytest.raises(ValueError, match="no rounds"):
        summarize([])


def test_the_same_rounds_give_the_same_interval():
    rounds = drifting_rounds(np.random.default_rng(6))
    assert summarize(rounds) == summarize(rounds)
