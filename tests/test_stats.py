"""The statistics against planted numbers and against scipy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from optibench import stats
from optibench.values import Burst


def burst(block: int, ms: float = 10.0, share: float = 2.0, switches: int = 1, calls: int = 6) -> Burst:
    wall = (int(ms * 1e6),) * calls
    return Burst(block=block, wall_ns=wall, cpu_ns=int(sum(wall) * share), switches=switches)


def test_a_burst_that_got_less_of_the_cores_than_its_case_at_best_is_disturbed() -> None:
    bursts = [burst(n) for n in range(20)] + [burst(20, share=1.0), burst(21, share=1.8)]
    assert stats.undisturbed(bursts) == [True] * 20 + [False, False]


def test_a_case_that_uses_one_core_by_nature_is_not_disturbed() -> None:
    assert all(stats.undisturbed([burst(n, share=1.0) for n in range(20)]))


def test_a_burst_switched_out_far_more_often_than_usual_is_disturbed() -> None:
    assert stats.undisturbed([*(burst(n) for n in range(20)), burst(20, switches=60)]) == [True] * 20 + [False]


def test_a_few_switches_are_ordinary() -> None:
    assert all(stats.undisturbed([burst(n, switches=n % 6) for n in range(25)]))


def test_a_rounds_value_is_the_median_of_the_blocks_log_ratios() -> None:
    mine, theirs = [burst(n, 5.0) for n in range(25)], [burst(n, 10.0) for n in range(25)]
    mine[3] = burst(3, 500.0)  # one wild block does not move a median
    value, blocks = stats.round_value(mine, [True] * 25, theirs, [True] * 25)
    assert value == pytest.approx(math.log(0.5))
    assert blocks == 25


def test_only_blocks_undisturbed_on_both_sides_count() -> None:
    mine, theirs = [burst(n) for n in range(25)], [burst(n) for n in range(25)]
    kept = [n >= 8 for n in range(25)]
    other = [n < 17 for n in range(25)]
    value, blocks = stats.round_value(mine, kept, theirs, other)
    assert blocks == 9
    assert value is None


def test_a_short_round_needs_two_thirds_of_its_blocks() -> None:
    mine = [burst(n) for n in range(6)]
    assert stats.round_value(mine, [True] * 4 + [False] * 2, mine, [True] * 6)[0] == 0.0
    assert stats.round_value(mine, [True] * 3 + [False] * 3, mine, [True] * 6)[0] is None


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9).filter(lambda v: np.std(v) > 1e-9))
def test_the_interval_of_few_rounds_is_students(values: list[float]) -> None:
    low, mid, high = stats.mean_interval(values)
    wanted = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))
    assert (low, high) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert mid == pytest.approx(np.mean(values))


def test_from_ten_rounds_on_a_tenth_at_each_end_is_drawn_in() -> None:
    values = np.random.default_rng(4).normal(0.1, 0.02, 20)
    low, mid, high = stats.mean_interval(values.tolist())
    wanted = scipy.stats.mstats.trimmed_mean_ci(values, limits=(0.1, 0.1))  # Tukey and McLaughlin's form of the error
    assert mid == pytest.approx(scipy.stats.trim_mean(values, 0.1))
    assert (low, high) == pytest.approx(wanted, rel=0.01)


def test_one_wild_round_in_ten_hardly_moves_the_interval() -> None:
    values = [0.05 + 0.004 * step for step in (-2, -1.5, -1, -0.5, 0, 0, 0.5, 1, 1.5)]
    calm, wild = stats.mean_interval([*values, 0.058]), stats.mean_interval([*values, 0.9])
    assert wild == pytest.approx(calm, abs=1e-9)


def test_one_value_alone_says_nothing() -> None:
    assert stats.mean_interval([0.1]) == (-math.inf, 0.1, math.inf)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.03, 0.05, "slower"),
        (-0.05, -0.03, "faster"),
        (-0.01, 0.01, "same"),
        (0.01, 0.03, "unknown"),
        (-0.03, 0.03, "unknown"),
        (-math.inf, math.inf, "unknown"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side_of_the_floor(low: float, high: float, said: str) -> None:
    assert stats.verdict(low, high) == said


@pytest.mark.parametrize(("q", "few"), [(0.9, 63), (0.99, 661), (0.999, 6639)])
def test_a_quantile_of_too_few_samples_is_not_shown(q: float, few: int) -> None:
    assert stats.quantile(np.arange(few), q) is None
    assert stats.quantile(np.arange(few + 1), q) == pytest.approx(np.quantile(np.arange(few + 1), q))


def test_wrong_verdicts_are_rare_when_two_builds_are_equal() -> None:
    """200 comparisons of equal builds at 2% noise a case and round, looked at after every round from 5 to 20."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        values = rng.normal(0, 0.02 * math.sqrt(2), 20)
        for rounds in range(5, 21):
            low, _, high = stats.mean_interval(list(values[:rounds]))
            said = stats.verdict(low, high)
            if said != "unknown":
                wrong += said in ("faster", "slower")
                break
    assert wrong <= 2


def test_a_change_is_zero_with_no_width_where_nothing_changed() -> None:
    answers = np.array([0.0, 1.0, 1.0, 0.0] * 25)
    labels = np.ones(100)
    assert stats.paired_change(stats.accuracy, answers, answers, labels) == (0.0, 0.0, 0.0)


def test_a_changes_interval_holds_the_true_change_and_is_the_same_for_the_same_seed() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 1000).astype(float)
    theirs = np.where(rng.random(1000) < 0.9, labels, 1 - labels)
    mine = np.where(rng.random(1000) < 0.04, 1 - theirs, theirs)
    low, value, high = stats.paired_change(stats.accuracy, mine, theirs, labels, seed=3)
    assert low < value < high
    assert value == pytest.approx((mine == labels).mean() - (theirs == labels).mean())
    assert high - low < 0.03
    assert stats.paired_change(stats.accuracy, mine, theirs, labels, seed=3) == (low, value, high)


def test_a_large_data_set_is_resampled_in_pieces() -> None:
    labels = np.zeros(50_000)
    mine = (np.arange(50_000) % 10 == 0).astype(float)
    low, value, high = stats.paired_change(stats.accuracy, mine, labels, labels, resamples=100)
    assert value == pytest.approx(-0.1)
    assert low < value < high


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=60))
def test_accuracy_and_f1_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    predictions, labels = np.array(pairs, float).T
    assert stats.accuracy(predictions[None], labels[None])[0] == pytest.approx(
        sklearn.metrics.accuracy_score(labels, predictions)
    )
    assert stats.f1_macro(predictions[None], labels[None])[0] == pytest.approx(
        sklearn.metrics.f1_score(labels, predictions, average="macro", zero_division=0)
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=60))
def test_spearman_is_scipys_and_zero_where_one_side_does_not_vary(pairs: list[tuple[int, int]]) -> None:
    predictions, labels = np.array(pairs, float).T
    found = stats.spearman(predictions[None], labels[None])[0]
    if len(set(predictions)) == 1 or len(set(labels)) == 1:
        assert found == 0.0
    else:
        assert found == pytest.approx(scipy.stats.spearmanr(predictions, labels).statistic, abs=1e-9)


def test_top_k_counts_ranks_below_k() -> None:
    ranks = np.array([[0.0, 1.0, 4.0, 5.0]])
    assert stats.rank_at_most(1)(ranks, ranks)[0] == 0.25
    assert stats.rank_at_most(5)(ranks, ranks)[0] == 0.75


def test_welchs_interval_is_scipys() -> None:
    from scipy.stats import ttest_ind

    a, b = [0.1, 0.12, 0.09, 0.13, 0.11], [0.02, 0.05, 0.01]
    theirs = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    low, difference, high = stats.welch_interval(a, b)
    assert (low, high) == pytest.approx((theirs.low, theirs.high))
    assert difference == pytest.approx(0.11 - 0.08 / 3)


def test_from_ten_values_on_welchs_interval_is_of_trimmed_means_as_scipys() -> None:
    from scipy.stats import ttest_ind

    a = [0.1, 0.12, 0.09, 0.13, 0.11, 0.1, 0.115, 0.095, 0.105, 0.125, 0.9]  # one process that something slowed
    b = [0.02, 0.05, 0.01, 0.03, 0.04, 0.02, 0.03, 0.05, 0.01, 0.035]
    theirs = ttest_ind(a, b, equal_var=False, trim=0.1).confidence_interval(0.95)
    low, difference, high = stats.welch_interval(a, b)
    assert (low, high) == pytest.approx((theirs.low, theirs.high))
    assert 0.07 < difference < 0.1
    plain = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert stats.welch_interval(a, b, trimmed=0.0)[::2] == pytest.approx((plain.low, plain.high))


@pytest.mark.parametrize(("a", "b"), [([0.1], [0.1, 0.2]), ([0.1, 0.2], [0.1])])
def test_welchs_interval_of_one_value_is_unbounded(a: list[float], b: list[float]) -> None:
    low, _, high = stats.welch_interval(a, b)
    assert (low, high) == (-math.inf, math.inf)


def test_welchs_interval_of_equal_values_is_a_point() -> None:
    assert stats.welch_interval([0.5, 0.5], [0.25, 0.25, 0.25]) == (0.25, 0.25, 0.25)


def test_two_shares_alone_have_an_interval_and_other_scores_have_none() -> None:
    low, change, high = stats.unpaired_change(0.86, 1000, 0.90, 1000)
    assert change == pytest.approx(-0.04)
    assert (low, high) == pytest.approx((-0.0684, -0.0116), abs=1e-4)
    assert stats.unpaired_change(86.0, 1000, 90.0, 1000)[0] == -math.inf
    assert stats.unpaired_change(0.5, 0, 0.4, 0)[2] == math.inf
