"""How differently groups of people fare: means by group, and whether their gap is chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

_INTERVAL = (2.5, 97.5)


@dataclasses.dataclass(frozen=True)
class PersonalValues:
    """One measure, person by person.

    Attributes:
      values: [people]; NaN where there is none.
      weights: [people], with which the mean is taken; of a ratio its denominators, so that the mean
        is the ratio of the sums.
    """

    values: Numbers
    weights: Numbers

    @classmethod
    def equal(cls, values: Numbers) -> PersonalValues:
        """Values of which each counts as much as any."""
        return cls(values, np.ones(len(values)))

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Who has a value, [people]."""
        return np.isfinite(self.values) & (self.weights > 0)

    def mean(self) -> float:
        """The weighted mean; NaN if nobody has a value."""
        usable = self.usable
        if not usable.any():
            return float("nan")
        return float(np.average(self.values[usable], weights=self.weights[usable]))

    def of(self, chosen: npt.NDArray[np.bool_]) -> PersonalValues:
        """Those of some people."""
        return PersonalValues(self.values[chosen], self.weights[chosen])

    def interval(self, random: np.random.Generator, rounds: int) -> tuple[float, float]:
        """95% percentile bootstrap interval of the mean; people are drawn with replacement."""
        low, high = np.percentile(self._resampled(random, rounds), _INTERVAL)
        return float(low), float(high)

    def _resampled(self, random: np.random.Generator, rounds: int) -> Numbers:
        """Means of resamples, [rounds]."""
        known = self.of(self.usable)
        drawn = random.integers(0, len(known.values), (rounds, len(known.values)))
        weights = known.weights[drawn]
        return np.asarray((known.values[drawn] * weights).sum(axis=1) / weights.sum(axis=1))


@dataclasses.dataclass(frozen=True)
class Group:
    """People with a label in common.

    Attributes:
      name: The label.
      count: How many of them have a value.
      mean: Of theirs.
    """

    name: str
    count: int
    mean: float


@dataclasses.dataclass(frozen=True)
class Gap:
    """The two groups that are furthest apart.

    Attributes:
      groups: All groups, by name, the small ones too.
      low: Name of the group with the least mean, among those that are large enough.
      high: Name of the group with the greatest.
      gap: Difference of their means.
      interval: 95% percentile bootstrap interval of the difference of these two groups; people are
        drawn with replacement within each. The two were chosen for being apart, so an interval
        without zero proves little by itself: see `p_value`.
      by_chance: Mean of the largest gap when labels are shuffled among the people.
      p_value: Share of shuffles with a gap at least as large.
    """

    groups: tuple[Group, ...]
    low: str
    high: str
    gap: float
    interval: tuple[float, float]
    by_chance: float
    p_value: float


def largest_gap(
    measured: PersonalValues,
    labels: Sequence[str],
    random: np.random.Generator,
    rounds: int,
    smallest: int,
) -> Gap | None:
    """Compares groups.

    Args:
      measured: One value a person.
      labels: For each person the group; empty for people without one.
      random: Draws resamples and shuffles.
      rounds: How many of each.
      smallest: Groups with fewer people are listed, but not compared.

    Returns:
      The gap; None unless two groups are large enough.
    """
    names = np.array(labels)
    known = measured.usable & (names != "")
    members = {str(name): known & (names == name) for name in np.unique(names[known])}
    groups = tuple(
        Group(name, int(chosen.sum()), measured.of(chosen).mean())
        for name, chosen in members.items()
    )
    compared = [group for group in groups if group.count >= smallest]
    if len(compared) < 2:
        return None
    low = min(compared, key=lambda group: group.mean)
    high = max(compared, key=lambda group: group.mean)
    samples = [measured.of(members[group.name])._resampled(random, rounds) for group in (high, low)]
    interval = np.percentile(samples[0] - samples[1], _INTERVAL)
    people = measured.of(np.logical_or.reduce([members[group.name] for group in compared]))
    shuffled = _shuffled_gaps(people, [group.count for group in compared], random, rounds)
    gap = high.mean - low.mean
    return Gap(
        groups=groups,
        low=low.name,
        high=high.name,
        gap=gap,
        interval=(float(interval[0]), float(interval[1])),
        by_chance=float(shuffled.mean()),
        # The order as it is counts as one of the shuffles; rounding must not tell it from itself.
        p_value=float((1 + (shuffled >= gap * (1 - 1e-9)).sum()) / (rounds + 1)),
    )


def _shuffled_gaps(
    people: PersonalValues, counts: Sequence[int], random: np.random.Generator, rounds: int
) -> Numbers:
    """Largest gaps between groups of these sizes into which people are put at random, [rounds]."""
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    order = random.permuted(np.tile(np.arange(len(people.values)), (rounds, 1)), axis=1)
    weights = people.weights[order]
    sums = np.add.reduceat(people.values[order] * weights, starts, axis=1)
    means = sums / np.add.reduceat(weights, starts, axis=1)
    return np.asarray(means.max(axis=1) - means.min(axis=1))
