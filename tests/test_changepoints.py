"""Changes of level: found where they were planted, and not where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from optibench import changepoints
from optibench.changepoints import change_points


def series(seed: int, runs: int, noise: float, *steps: tuple[int, float]) -> list[float]:
    """Logarithms of speed-ups of ``runs`` runs; each step is (run, size)."""
    values = np.random.default_rng(seed).normal(0, noise, runs)
    for at, size in steps:
        values[at:] += size
    return [float(value) for value in values]


@pytest.mark.parametrize("runs", [6, 12, 30])
def test_without_a_step_false_alarms_stay_under_one_in_fifty(runs: int) -> None:
    alarms = sum(bool(change_points(series(seed, runs, 0.02))) for seed in range(200))
    assert alarms <= 4


@pytest.mark.parametrize(("runs", "at"), [(6, 3), (12, 6), (12, 9), (30, 10)])
@pytest.mark.parametrize("size", [0.1, -0.1])
def test_a_step_of_a_tenth_is_found_where_it_is(runs: int, at: int, size: float) -> None:
    found = [change_points(series(seed, runs, 0.01, (at, size))) for seed in range(50)]
    assert sum(points == [at] for points in found) >= 48


def test_a_step_below_the_floor_is_no_change() -> None:
    assert not any(change_points(series(seed, 30, 0.002, (15, 0.012))) for seed in range(50))


def test_two_steps_are_both_found() -> None:
    assert change_points(series(3, 30, 0.01, (10, 0.1), (20, -0.07))) == [10, 20]


def test_one_outlier_is_no_level() -> None:
    values = series(4, 20, 0.005)
    values[12] += 0.3
    assert change_points(values) == []


def test_runs_that_are_all_equal_have_no_change_and_an_exact_step_is_one() -> None:
    assert change_points([1.0] * 12) == []
    assert change_points([1.0] * 6 + [1.2] * 6) == [6]


def test_fewer_runs_than_tell_a_step_from_noise_have_no_change() -> None:
    assert change_points([0.0, 0.0, 0.0, 0.5, 0.5][: changepoints.MIN_RUNS - 1]) == []
