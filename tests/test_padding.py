"""What padding costs, computed from latencies at several lengths."""

from __future__ import annotations

import pytest

from optibench.padding import padding_share, with_padding
from optibench.results import CaseResult, Latency
from tests.factories import case


def at(batch: int, length: int, p50: float | None) -> CaseResult:
    return case(batch=batch, length=length, latency_seconds=Latency(p50=p50, p90=None, p99=None))


def test_rows_that_take_no_longer_for_their_length_cost_nothing_to_fill_up() -> None:
    assert padding_share([0.2, 0.2, 0.2]) == pytest.approx(0)


def test_half_the_time_is_paddings_where_half_of_it_is_filled_up() -> None:
    assert padding_share([0.0, 1.0]) == pytest.approx(0.5)
    assert padding_share([1.0, 2.0, 9.0]) == pytest.approx(1 - 4 / 9)


def test_one_length_says_nothing() -> None:
    assert padding_share([1.0]) is None


def test_the_longest_of_several_rows_tells_and_no_other() -> None:
    shapes = [(1, 32, 0.001), (1, 128, 0.004), (8, 128, 0.04), (8, 32, 0.01)]
    found = with_padding([at(*shape) for shape in shapes])
    shares = {(one.batch, one.length): one.padding_share for one in found}
    assert shares == {(1, 32): None, (1, 128): None, (8, 32): None, (8, 128): pytest.approx(1 - 0.025 / 0.04)}


def test_builds_are_kept_apart_and_what_has_no_latency_is_left_alone() -> None:
    other = case("cpu/openvino/fp32", batch=8, length=32, latency_seconds=Latency(p50=0.5, p90=None, p99=None))
    found = with_padding([at(8, 128, 0.04), other, at(8, 32, None)])
    assert [one.padding_share for one in found] == [None, None, None]
