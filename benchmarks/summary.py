"""Statistics of timed calls, with prediction intervals for the p50 of another run.

Consecutive calls are correlated and the speed of a machine drifts, so that a hundred calls are
worth far fewer independent samples. Therefore the bootstrap resamples the rounds of a row, which
are separate in time and run in separate processes (cluster bootstrap: Davison and Hinkley,
Bootstrap Methods and their Application, 3.8). A row with a single round resamples blocks of calls
instead (Künsch's moving block bootstrap). The bootstrap gives the standard error of the logarithm
of p50. With few rounds its percentile intervals would be too narrow, so that the t distribution
with one degree of freedom less than there are rounds is used (Hesterberg, What Teachers Should Know
about the Bootstrap, 2015). The variation between runs is added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.report import Round

_RESAMPLES = 1000
_SEED = 20
# The speed of a machine also changes from run to run, which the rounds of one run do not show. This
# is the standard deviation of the logarithm of the drift control's p50 over 42 runs on a virtual
# machine with two cores.
_BETWEEN_RUNS = 0.01
# Lower limit of times: a coarse clock may measure 0, whose logarithm is infinite.
_LEAST_MS = 1e-9

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An interval of times in milliseconds, or of ratios.

    Attributes:
      low: Lower end.
      high: Upper end.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        """Returns whether a value lies in the interval, the ends included."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Summary:
    """Statistics of the counted calls of a row, in milliseconds.

    If a tool reports aggregates in place of calls, p50 is the median of the rounds' medians (or of
    their means, without medians), and the higher percentiles are unknown.

    Attributes:
      count: Number of counted calls.
      rounds: Number of rounds.
      minimum: Time of the fastest call.
      mean: Mean of all calls.
      standard_deviation: Standard deviation of all calls.
      p50: Median of all calls.
      p50_interval: 95 % prediction interval for the p50 of another run of the same kind.
      p90: 90th percentile.
      p95: 95th percentile.
      p99: 99th percentile; with fewer than 100 calls, close to the slowest call.
    """

    count: int
    rounds: int
    minimum: float | None
    mean: float
    standard_deviation: float | None
    p50: float
    p50_interval: Interval
    p90: float | None
    p95: float | None
    p99: float | None


def summarize(rounds: Sequence[Round]) -> Summary:
    """Summarizes the counted calls of a row.

    Args:
      rounds: At least one round; all with samples, or all with aggregates.

    Returns:
      The statistics.

    Raises:
      ValueError: there are no rounds.
    """
    estimate = estimate_p50(rounds)
    # The other run has the same error, so that the difference of the two has twice the variance.
    half = math.sqrt(2.0) * math.hypot(estimate.half_width(0.05), 1.96 * _BETWEEN_RUNS)
    p50 = math.exp(estimate.log)
    samples = np.concatenate([np.array(one.samples_ms) for one in rounds])
    aggregates = [one.aggregate for one in rounds if one.aggregate is not None]
    if aggregates:
        counts = [aggregate.count for aggregate in aggregates]
        minima = [a.minimum for a in aggregates if a.minimum is not None]
        return Summary(
            count=sum(counts),
            rounds=len(rounds),
            minimum=min(minima, default=None),
            mean=float(np.average([a.mean for a in aggregates], weights=counts)),
            standard_deviation=None,
            p50=p50,
            p50_interval=Interval(p50 * math.exp(-half), p50 * math.exp(half)),
            p90=None,
            p95=None,
            p99=None,
        )
    p90, p95, p99 = (float(value) for value in np.percentile(samples, [90, 95, 99]))
    return Summary(
        count=samples.size,
        rounds=len(rounds),
        minimum=float(samples.min()),
        mean=float(samples.mean()),
        standard_deviation=float(samples.std(ddof=1)) if samples.size > 1 else None,
        p50=p50,
        p50_interval=Interval(p50 * math.exp(-half), p50 * math.exp(half)),
        p90=p90,
        p95=p95,
        p99=p99,
    )


@dataclass(frozen=True)
class Estimate:
    """The logarithm of a p50 and its standard error.

    Attributes:
      log: Natural logarithm of p50.
      standard_error: Standard error of `log`; infinite with too few calls.
      freedom: Degrees of freedom of the standard error.
    """

    log: float
    standard_error: float
    freedom: float

    def half_width(self, alpha: float) -> float:
        """Returns half the width of the confidence interval of `log` at the level 1 - `alpha`."""
        if not math.isfinite(self.standard_error):
            return math.inf
        # SciPy takes half a second to import and is not needed to read results.
        from scipy.stats import t

        return float(t.ppf(1.0 - alpha / 2.0, self.freedom)) * self.standard_error

    def __sub__(self, other: Estimate) -> Estimate:
        """Estimates the logarithm of the ratio of two independent p50 (Welch-Satterthwaite)."""
        a, b = self.standard_error**2, other.standard_error**2
        if not math.isfinite(a + b):
            return Estimate(self.log - other.log, math.inf, 1.0)
        terms = a**2 / self.freedom + b**2 / other.freedom
        freedom = (a + b) ** 2 / terms if terms else self.freedom + other.freedom
        return Estimate(self.log - other.log, math.sqrt(a + b), freedom)


def estimate_p50(rounds: Sequence[Round], relative: bool = False) -> Estimate:
    """Estimates the p50 of a row's calls.

    Args:
      rounds: At least one round.
      relative: Whether to divide the times of each round by the median of its drift control, which
        removes changes in the speed of the whole machine. Every round must then have control
        calls.

    Returns:
      The estimate, which is deterministic.

    Raises:
      ValueError: there are no rounds, or one without control calls.
    """
    if not rounds:
        raise ValueError("there are no rounds to summarize")
    clusters = [_values(one) for one in rounds]
    if relative:
        if not all(one.control_ms for one in rounds):
            raise ValueError("a round has no calls of the drift control to be relative to")
        clusters = [
            values / float(np.median(one.control_ms))
            for values, one in zip(clusters, rounds, strict=True)
        ]
    log = math.log(max(float(np.median(np.concatenate(clusters))), _LEAST_MS))
    if len(clusters) == 1:
        clusters = _blocks(clusters[0])
    count = len(clusters)
    if count < 2:
        return Estimate(log, math.inf, 1.0)
    return Estimate(log, math.sqrt(count / (count - 1)) * _spread(clusters), count - 1.0)


def _values(one: Round) -> _Floats:
    if one.aggregate is None:
        return np.array(one.samples_ms)
    p50 = one.aggregate.p50
    return np.array([one.aggregate.mean if p50 is None else p50])


def _blocks(values: _Floats) -> list[_Floats]:
    """Cuts calls into blocks that are longer than the correlation of consecutive calls."""
    length = max(1, math.ceil(values.size ** (1 / 3)))
    return [values[i : i + length] for i in range(0, values.size - length + 1, length)]


def _spread(clusters: list[_Floats]) -> float:
    """Standard deviation of the logarithm of the median over resampled clusters."""
    count = len(clusters)
    chosen = np.random.default_rng(_SEED).integers(count, size=(_RESAMPLES, count))
    times = np.stack([np.bincount(one, minlength=count) for one in chosen])
    # All values are sorted once; a resample only counts how often each of them occurs.
    owner = np.repeat(np.arange(count), [cluster.size for cluster in clusters])
    values = np.concatenate(clusters)
    order = np.argsort(values)
    values = values[order]
    below = times[:, owner[order]].cumsum(axis=1)
    total = below[:, -1:]
    lower = (2 * below >= total).argmax(axis=1)
    upper = (2 * below > total).argmax(axis=1)
    medians = (values[lower] + values[upper]) / 2
    return float(np.std(np.log(np.maximum(medians, _LEAST_MS))))
