"""Which bursts count where the whole machine has two paces, as a shared host's has."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from optibench.comparison import comparison_from_records, imprecise
from optibench.results import CaseResult, Comparison
from optibench.samples import Samples
from optibench.values import Burst, Case, Record
from tests.test_comparison import FP32, INT8, REFERENCE, SHAPE, TWIN, records

TIMES = {REFERENCE: 20.0, TWIN: 20.0, FP32: 16.0, INT8: 5.0}
SHARED = {REFERENCE: 1.3, TWIN: 1.3, FP32: 1.25, INT8: 1.6}
"""How much longer a call takes while another guest sits on the same cores: the CPU time is all there."""


def slowed(found: list[Record], blocks: int, factors: Mapping[Case, float]) -> list[Record]:
    """The same records, on a machine that was slow in the first so many blocks of each round."""

    def burst(one: Burst, factor: float) -> Burst:
        wall = tuple(round(ns * factor) for ns in one.wall_ns)
        return msgspec.structs.replace(one, wall_ns=wall, cpu_ns=round(one.cpu_ns * factor))

    result = []
    for record in found:
        assert record.measurement
        series = tuple(
            msgspec.structs.replace(
                one,
                bursts=tuple(burst(b, factors.get(record.case, 1.0)) if b.block < blocks else b for b in one.bursts),
            )
            for one in record.measurement.series
        )
        measurement = msgspec.structs.replace(record.measurement, series=series)
        result.append(msgspec.structs.replace(record, measurement=measurement))
    return result


def compared(found: list[Record]) -> Comparison:
    return comparison_from_records(found, command="", created="")


def int8_of(comparison: Comparison) -> tuple[float, CaseResult]:
    """The speed-up and all else that is said of the int8 build."""
    int8 = next(case for case in comparison.cases if case.case == INT8.name)
    assert int8.speedup
    return int8.speedup.mid, int8


def test_a_speed_up_is_that_of_the_machine_at_its_best_pace() -> None:
    comparison = compared(slowed(records(TIMES), 12, SHARED))
    speedup, int8 = int8_of(comparison)
    assert speedup == pytest.approx(4.0, rel=0.01)
    assert int8.latency_seconds
    assert int8.latency_seconds.p50 == pytest.approx(0.005, rel=0.02)
    assert comparison.noise.slow_share == pytest.approx(12 / 25)
    assert comparison.noise.disturbed_share == 0
    assert any("slow in 48% of the blocks though no CPU time was lost" in text for text in comparison.warnings)


def test_a_machine_that_is_seldom_at_its_best_pace_is_measured_as_it_is() -> None:
    speedup, int8 = int8_of(compared(slowed(records(TIMES), 21, SHARED)))
    assert speedup == pytest.approx(4.0 * 1.3 / 1.6, rel=0.02)
    assert int8.verdict == "faster"
    # So its figure is of two paces, and more rounds are wanted for one that is not.
    assert INT8 in imprecise(slowed(records(TIMES), 21, SHARED))
    assert imprecise(slowed(records(TIMES), 12, SHARED)) == []


def test_rounds_at_the_best_pace_count_alone_once_there_are_enough_of_them() -> None:
    slow = slowed(records(TIMES, rounds=4), 25, SHARED)
    fine = [msgspec.structs.replace(r, round=r.round + 4) for r in records(TIMES, rounds=5, seed=1)]
    assert Samples([*slow, *fine]).values(INT8, REFERENCE, SHAPE).keys() == {(number, 0) for number in range(5, 10)}
    few = [record for record in fine if record.round < 9]
    assert len(Samples([*slow, *few]).values(INT8, REFERENCE, SHAPE)) == 8


def test_a_builds_own_slow_bursts_are_not_left_out() -> None:
    comparison = compared(slowed(records(TIMES), 14, {INT8: 1.6}))
    assert comparison.noise.slow_share == 0
    assert int8_of(comparison)[0] == pytest.approx(4.0 / 1.6, rel=0.02)
