"""Metrics of the lm-evaluation-harness without it: records are read where it is not installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from optibench import harness, plugins
from optibench.errors import NotInstalled
from optibench.stats import paired_change

METRICS = plugins.load("task", "lm-eval").METRICS
NONE = np.zeros(3)


def test_what_is_no_ratio_of_sums_is_the_mean_whatever_its_name_or_filter() -> None:
    outcomes = np.array([[1.0, 0.0, 1.0]])
    assert METRICS["acc"](outcomes, NONE)[0] == pytest.approx(2 / 3)
    assert METRICS["exact_match,strict-match"](outcomes, NONE)[0] == pytest.approx(2 / 3)


def test_ratios_are_of_sums_over_all_examples() -> None:
    counts = np.array([[[-4.0, 2.0], [-2.0, 4.0]]])
    assert METRICS["word_perplexity"](counts, NONE)[0] == pytest.approx(np.e)
    assert METRICS["bits_per_byte"](counts, NONE)[0] == pytest.approx(1 / np.log(2))
    assert METRICS["next_token"](np.abs(counts), NONE)[0] == 1


def test_a_change_has_an_interval_over_examples() -> None:
    mine, theirs = np.tile([[-2.0, 1.0], [-4.0, 2.0]], (50, 1)), np.tile([[-1.0, 1.0], [-2.0, 2.0]], (50, 1))
    low, mid, high = paired_change(METRICS["byte_perplexity"], mine, theirs, np.zeros(100), seed=0)
    assert low <= mid <= high
    assert mid == pytest.approx(np.exp(2) - np.exp(1))


def test_without_the_harness_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(NotInstalled, match=r"pip install 'optibench\[lm-eval\]'"):
        harness.task_of("lm-eval:a-task-of-no-cache", trusted=False)
