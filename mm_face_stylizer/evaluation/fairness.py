"""Compares groups of people: means by group, and whether their gap can be due to chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

_INTERVAL = (2.5, 97.5)


@dataclasses.dataclass(frozen=True)
class PersonalValues:
    """The values of one measure, one for each person.

    Attributes:
      values: [people]; NaN for people without a value.
      weights: [people], the weights of the mean. If the values are ratios, the weights are their
        denominators, so that the mean is the ratio of the sums.
    """

    values: Numbers
    weights: Numbers

    @classmethod
    def equal(cls, values: Numbers) -> PersonalValues:
        """Returns values with equal weights."""
        return cls(values, np.ones(len(values)))

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Mask of the people that have a value and a positive weight, [people]."""
        return np.isfinite(self.values) & (self.weights > 0)

    def mean(self) -> float:
        """Returns the weighted mean; NaN if nobody has a value."""
        usable = self.usable
        if not usable.any():
            return float("nan")
        return float(np.average(self.values[usable], weights=self.weights[usable]))

    def of(self, chosen: npt.NDArray[np.bool_]) -> PersonalValues:
        """Returns the values of the people that a mask of shape [people] selects."""
        return PersonalValues(self.values[chosen], self.weights[chosen])

    def interval(self, random: np.random.Generator, rounds: int) -> tuple[float, float]:
        """Returns the 95% percentile bootstrap interval of the mean.

        Args:
          random: Generator that draws the people, with replacement.
          rounds: Number of bootstrap rounds.
        """
        low, high = np.percentile(self._resampled(random, rounds), _INTERVAL)
        return float(low), float(high)

    def _resampled(self, random: np.random.Generator, rounds: int) -> Numbers:
        """Returns the means of bootstrap resamples, [rounds]."""
        known = self.of(self.usable)
        drawn = random.integers(0, len(known.values), (rounds, len(known.values)))
        weights = known.weights[drawn]
        return np.asarray((known.values[drawn] * weights).sum(axis=1) / weights.sum(axis=1))


@dataclasses.dataclass(frozen=True)
class Group:
    """The people that share a label.

    Attributes:
      name: The label.
      count: Number of people in the group that have a value.
      mean: Weighted mean of their values.
    """

    name: str
    count: int
    mean: float


@dataclasses.dataclass(frozen=True)
class Gap:
    """The largest difference between the means of two groups.

    Attributes:
      groups: All groups, sorted by name, including those too small to be compared.
      low: Name of the group with the smallest mean, among the groups that are compared.
      high: Name of the group with the largest mean, among the groups that are compared.
      gap: Mean of `high` minus mean of `low`.
      interval: 95% percentile bootstrap interval of the gap between these two groups; people are
        drawn with replacement within each group. Because the two groups are chosen for their large
        gap, an interval that excludes zero is weak evidence: use `p_value`.
      by_chance: Mean of the largest gap when labels are shuffled among the people.
      p_value: Share of shuffles with a gap at least as large, in (0, 1].
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
    """Finds the two groups whose means differ most, and tests if this can be due to chance.

    Args:
      measured: One value for each person.
      labels: The group of each person; an empty string for people without a group.
      random: Generator that draws resamples and shuffles.
      rounds: Number of resamples, and number of shuffles.
      smallest: Groups with fewer people are listed but not compared.

    Returns:
      The gap; None if fewer than two groups are large enough.
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
        # The observed order counts as one more shuffle. The tolerance makes shuffles with the same
        # gap count in spite of rounding.
        p_value=float((1 + (shuffled >= gap * (1 - 1e-9)).sum()) / (rounds + 1)),
    )


def _shuffled_gaps(
    people: PersonalValues, counts: Sequence[int], random: np.random.Generator, rounds: int
) -> Numbers:
    """Returns the largest gap of each round when people are put into groups at random, [rounds]."""
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    order = random.permuted(np.tile(np.arange(len(people.values)), (rounds, 1)), axis=1)
    weights = people.weights[order]
    sums = np.add.reduceat(people.values[order] * weights, starts, axis=1)
    means = sums / np.add.reduceat(weights, starts, axis=1)
    return np.asarray(means.max(axis=1) - means.min(axis=1))
