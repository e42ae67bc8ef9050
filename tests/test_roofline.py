"""Share of the peak: pure functions of records and results."""

from __future__ import annotations

from typing import Any

import pytest

from optibench import roofline
from optibench.limits import COUNT, MEMORY, case_of, limit_of
from optibench.results import CaseResult, Latency, Limits
from optibench.values import Burst, Case, Executed, Gauged, Record
from tests.factories import case, record

ADDS = {"1x128": 1_000_000_000}


def limit(name: str, *per_second: float, target: str = "cpu", **detail: Any) -> Record:
    """A limit's record: one burst for each rate, each call moving a billion."""
    gauged = tuple(
        Gauged(
            amount=10**9,
            burst=Burst(block=block, wall_ns=(int(1e18 / rate), int(1e18 / rate)), cpu_ns=1, switches=0),
            detail={"how": f"a product in {name}", **detail},
        )
        for block, rate in enumerate(per_second)
    )
    return record(case=case_of(target, name), measurement=None, artifact=None, gauged=gauged)


def result(milliseconds: float, executed: str = "fp32", name: str = "cpu/onnxruntime/fp32", **more: Any) -> CaseResult:
    return case(
        name,
        latency_seconds=Latency(p50=milliseconds / 1e3, p90=None, p99=None),
        executed=Executed(provider="CPU", precision=executed, threads=2),
        **more,
    )


def shared(*results: CaseResult, limits: list[Record], **more: Any) -> tuple[list[CaseResult], dict[str, Limits]]:
    builds = [Case(target=r.target, backend=r.backend, precision=r.precision) for r in results]
    return roofline.with_shares([*(record(case=c, multiply_adds=ADDS, **more) for c in builds), *limits], results)


def test_a_share_is_twice_the_multiply_adds_over_the_time_against_the_best_burst() -> None:
    (found,), limits = shared(result(20), limits=[limit("fp32", 150e9, 200e9, 120e9)])
    assert limits["cpu"].operations_per_second == {"fp32": pytest.approx(200e9)}
    assert found.multiply_adds == ADDS["1x128"]
    assert found.peak_share == pytest.approx(0.5)  # 2 billion operations in 20 ms: 100 of 200 billion a second


@pytest.mark.parametrize(("executed", "share"), [("fp32", 0.5), ("int8", 0.125), ("weights", 0.5)])
def test_the_precision_that_counts_is_the_one_that_was_executed(executed: str, share: float) -> None:
    limits = [limit("fp32", 200e9), limit("int8", 800e9)]
    (found,), _ = shared(result(20, executed, "cpu/openvino/int8-weights"), limits=limits)
    assert found.peak_share == pytest.approx(share)


def test_a_case_above_the_matrix_product_is_the_limit_itself_and_that_is_said() -> None:
    (fast, slow), limits = shared(result(5, name="cpu/openvino/fp32"), result(10), limits=[limit("fp32", 200e9)])
    assert (fast.peak_share, slow.peak_share) == (1.0, pytest.approx(0.5))
    assert limits["cpu"].operations_per_second["fp32"] == pytest.approx(400e9)
    assert limits["cpu"].how["fp32"].startswith("cpu/openvino/fp32 at 1x128, which was faster than a product")


def test_without_a_limit_a_count_or_a_time_there_is_no_share() -> None:
    (found,), _ = shared(result(20, "fp16"), limits=[limit("fp32", 200e9)])
    assert found.peak_share is None
    (found,), _ = shared(result(20, batch=8), limits=[limit("fp32", 200e9)])
    assert (found.multiply_adds, found.peak_share) == (None, None)
    (found,), _ = shared(case(status="failed", reason="no"), limits=[limit("fp32", 200e9)])
    assert found.peak_share is None
    (found,), limits = roofline.with_shares([record()], [result(20)])
    assert (found.peak_share, limits) == (None, {})


def test_each_target_has_limits_of_its_own() -> None:
    found, limits = shared(
        result(20), result(20, name="cuda/pytorch/fp32"),
        limits=[limit("fp32", 200e9), limit("fp32", 1000e9, target="cuda")],
    )  # fmt: skip
    assert list(limits) == ["cpu", "cuda"]
    assert [r.peak_share for r in found] == [pytest.approx(0.5), pytest.approx(0.1)]


def test_why_a_limit_is_not_known_is_kept() -> None:
    failed = record(case=case_of("cpu", "bf16"), status="failed", reason="it was killed", measurement=None)
    uncounted = record(case=case_of("cpu", COUNT), status="skipped", reason="an odd operator", measurement=None)
    _, limits = roofline.with_shares([record(), failed, uncounted], [result(20)])
    assert limits["cpu"].missing == {"bf16": "it was killed", COUNT: "an odd operator"}


@pytest.mark.parametrize(
    ("computing", "weights", "cache", "lower"),
    [
        (0.010, 40e6, 1e6, "compute"),  # 40 MB at 10 GB/s are read in 4 ms
        (0.001, 40e6, 1e6, "memory"),
        (0.001, 40e6, 64e6, "compute"),  # they stay in the cache
        (0.001, None, 1e6, None),
        (0.001, 40e6, None, None),
    ],
)
def test_the_lower_limit_is_what_takes_longer_at_best(
    computing: float, weights: float | None, cache: int | None, lower: str | None
) -> None:
    assert roofline.lower_limit(computing, weights, 10e9, cache) == lower


def test_smaller_weights_are_read_faster() -> None:
    limits = [limit("fp32", 200e9), limit("int8", 800e9), limit(MEMORY, 10e9, cache_bytes=1_000_000)]
    found, _ = shared(
        result(40, name="cpu/openvino/fp32"), result(40, name="cpu/openvino/int8-weights"), limits=limits,
        multiplied_weights=50_000_000,
    )  # fmt: skip
    assert [r.limit for r in found] == ["memory", "compute"]  # 200 MB in 20 ms, 50 MB in 5; computing takes 10 of both


def test_labels_and_executed_precisions_lead_to_the_same_limit() -> None:
    asked = ("fp32", "bf16", "int8", "int8-dynamic", "int8-weights", "int4-weights", "weights")
    assert [limit_of(name) for name in asked] == ["fp32", "bf16", "int8", "int8", "fp32", "fp32", "fp32"]


def test_a_peak_that_was_measured_beside_others_work_is_told() -> None:
    def burst(rate: float, cpu_share: float) -> Gauged:
        wall = int(1e18 / rate)
        return Gauged(
            amount=10**9,
            burst=Burst(block=1, wall_ns=(wall, wall), cpu_ns=int(2 * 2 * wall * cpu_share), switches=0),
            detail={"how": "a product", "threads": 2},
        )

    def told(*bursts: Gauged) -> dict[tuple[str, str], float]:
        return roofline.disturbed_peaks(
            [record(case=case_of("cpu", "fp32"), measurement=None, artifact=None, gauged=bursts)]
        )

    assert told(burst(1e10, 0.6), burst(2e10, 0.99)) == {}
    assert told(burst(1e10, 0.99), burst(2e10, 0.6)) == {("cpu", "fp32"): pytest.approx(0.6, abs=0.01)}
    assert roofline.disturbed_peaks([limit("fp32", 1e10)]) == {}  # a GPU's: the processor only waits
