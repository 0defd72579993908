import numpy as np
import pytest

from mm_face_stylizer.evaluation.fairness import PersonalValues, largest_gap


@pytest.fixture
def random():
    return np.random.default_rng(0)


def _two_groups(random, shift, count=60):
    values = random.standard_normal(2 * count) + 10
    values[count:] += shift
    return PersonalValues.equal(values), ["young"] * count + ["old"] * count


def test_a_ratio_s_mean_is_the_ratio_of_the_sums():
    measured = PersonalValues(np.array([0.5, 2.0, np.nan, 7.0]), np.array([10.0, 1.0, 5.0, 0.0]))
    assert measured.mean() == pytest.approx((5 + 2) / 11)
    assert measured.usable.tolist() == [True, True, False, False]
    assert np.isnan(PersonalValues.equal(np.full(3, np.nan)).mean())


def test_the_interval_of_a_mean(random):
    measured, _ = _two_groups(random, 0.0, 200)
    low, high = measured.interval(random, 2000)
    # Of the normal distribution: 1.96 standard errors each way.
    assert high - low == pytest.approx(2 * 1.96 * measured.values.std() / 20, rel=0.1)
    assert low < measured.mean() < high


def test_a_real_gap_is_told_from_chance(random):
    measured, labels = _two_groups(random, 1.0)
    gap = largest_gap(measured, labels, random, 1000, 10)
    assert (gap.low, gap.high) == ("young", "old")
    assert gap.gap == pytest.approx(
        measured.values[60:].mean() - measured.values[:60].mean(), rel=1e-9
    )
    assert gap.interval[0] < gap.gap < gap.interval[1]
    assert gap.interval[0] > 0
    assert gap.by_chance < 0.3 and gap.p_value < 0.01


def test_a_gap_of_many_groups_of_equals_is_chance(random):
    """Twenty groups that do not differ: the largest gap is far from zero, and means nothing."""
    measured = PersonalValues.equal(random.standard_normal(240))
    labels = [str(index % 20) for index in range(240)]
    gap = largest_gap(measured, labels, random, 1000, 10)
    assert gap.gap == pytest.approx(gap.by_chance, rel=0.35)
    assert gap.p_value > 0.05


def test_the_gap_is_of_weighted_means(random):
    values = np.array([1.0, 3.0, 2.0, 2.0])
    weights = np.array([3.0, 1.0, 1.0, 1.0])
    gap = largest_gap(PersonalValues(values, weights), ["a", "a", "b", "b"], random, 100, 2)
    assert {group.name: group.mean for group in gap.groups} == {"a": 1.5, "b": 2.0}
    assert gap.gap == pytest.approx(0.5)


def test_small_groups_and_people_without_a_label_are_not_compared(random):
    measured = PersonalValues.equal(np.array([1.0] * 10 + [2.0] * 10 + [99.0] * 3 + [-99.0] * 9))
    labels = ["a"] * 10 + ["b"] * 10 + ["few"] * 3 + [""] * 9
    gap = largest_gap(measured, labels, random, 100, 5)
    assert (gap.low, gap.high, gap.gap) == ("a", "b", 1.0)
    assert {group.name: group.count for group in gap.groups} == {"a": 10, "b": 10, "few": 3}
    assert largest_gap(measured, labels, random, 100, 11) is None


def test_people_without_a_value_do_not_count(random):
    values = np.array([1.0] * 10 + [np.nan] * 5 + [2.0] * 5)
    gap = largest_gap(PersonalValues.equal(values), ["a"] * 10 + ["b"] * 10, random, 100, 5)
    assert [group.count for group in gap.groups] == [10, 5]


def test_the_same_seed_gives_the_same_gap():
    first, again = (
        largest_gap(*_two_groups(np.random.default_rng(1), 0.5), np.random.default_rng(2), 200, 10)
        for _ in range(2)
    )
    assert first == again
