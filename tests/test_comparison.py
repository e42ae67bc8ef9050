"""From records to a comparison: what is planted must be found, and what is not known must not be said."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from optibench.comparison import comparison_from_records, undecided
from optibench.results import CaseResult, Comparison
from optibench.strict_json import strict_json
from optibench.values import Burst, Case, Executed, Measurement, Record, Score, Series, Shape, Workload
from tests.factories import host, model

SHAPE = Shape(batch=1, length=128)
REFERENCE = Case(target="cpu", backend="pytorch", precision="fp32")
TWIN = Case(target="cpu", backend="pytorch", precision="fp32", copy=1)
INT8 = Case(target="cpu", backend="onnxruntime", precision="int8")
FP32 = Case(target="cpu", backend="onnxruntime", precision="fp32")


def bursts(ms: float, noise: float, rng: np.random.Generator, disturbed: int = 0, calls: int = 6) -> tuple[Burst, ...]:
    made = []
    for block in range(25):
        slow = block < disturbed
        wall = tuple(int(ms * 1e6 * (2.5 if slow else 1) * math.exp(rng.normal(0, 0.01))) for _ in range(calls))
        made.append(Burst(block=block, wall_ns=wall, cpu_ns=int(sum(wall) * (1.0 if slow else 2.0)), switches=1))
    factor = math.exp(rng.normal(0, noise))
    slower = [(b.block, tuple(int(w * factor) for w in b.wall_ns), int(b.cpu_ns * factor)) for b in made]
    return tuple(Burst(block=block, wall_ns=wall, cpu_ns=cpu, switches=1) for block, wall, cpu in slower)


def score(right: float, count: int = 1000) -> Score:
    predictions = tuple(float(n < right * count) for n in range(count))
    return Score(metric="accuracy", value=right, count=count, predictions=predictions, labels=(1.0,) * count)


def records(
    times: dict[Case, float], *, rounds: int = 5, scores: dict[Case, float] | None = None, **more: Any
) -> list[Record]:
    rng = np.random.default_rng(more.get("seed", 0))
    noise = more.get("noise", 0.003)
    workload = more.get("workload", Workload(shapes=(SHAPE,)))
    found = []
    for number in range(1, rounds + 1):
        for case, ms in times.items():
            series = tuple(
                Series(
                    shape=shape,
                    first_call_seconds=0.1,
                    warmup_calls=8,
                    settled=True,
                    peak_bytes=100_000_000,
                    bursts=bursts(ms * shape.batch, noise, rng, more.get("disturbed", {}).get(case, 0)),
                )
                for shape in workload.shapes
            )
            kept = (scores or {}).get(case)
            found.append(
                Record(
                    case=case,
                    model=model(task="text-classification"),
                    workload=workload,
                    round=number,
                    threads=2,
                    status="ok",
                    host=host(),
                    measurement=Measurement(
                        load_seconds=0.2,
                        cold_start_seconds=0.4,
                        alone=number == 1,
                        executed=Executed(provider="CPUExecutionProvider", precision=case.precision, threads=2),
                        series=series,
                    ),
                    scores=(score(kept),) if kept is not None and number == 1 else (),
                )
            )
    return found


def compared(found: list[Record]) -> Comparison:
    comparison = comparison_from_records(found, command="optibench compare x", created="2026-01-01T00:00:00+00:00")
    strict_json(comparison)  # no NaN, no infinity
    return comparison


def case(comparison: Comparison, name: str) -> CaseResult:
    return next(c for c in comparison.cases if c.case == name)


BOTH = {REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0}


def test_a_planted_speed_up_is_found_with_its_interval_and_verdict() -> None:
    found = case(compared(records(BOTH)), "cpu/onnxruntime/int8")
    assert found.speedup is not None
    assert found.speedup.low < 4.0 < found.speedup.high
    assert found.speedup.mid == pytest.approx(4.0, rel=0.02)
    assert found.verdict == "faster"
    assert found.latency_seconds is not None
    assert found.latency_seconds.p50 == pytest.approx(0.005, rel=0.02)
    assert found.latency_seconds.p99 is not None  # 750 calls
    assert found.throughput_per_second == pytest.approx(200, rel=0.02)


def test_a_p99_of_too_few_calls_is_null() -> None:
    found = case(compared(records(BOTH, rounds=2)), "cpu/onnxruntime/int8")
    assert found.latency_seconds is not None
    assert found.latency_seconds.p99 is None
    assert found.samples == 300


def test_disturbed_bursts_are_counted_and_change_nothing() -> None:
    comparison = compared(records(BOTH, disturbed={INT8: 10}))
    found = case(comparison, "cpu/onnxruntime/int8")
    assert found.bursts.disturbed == 50
    assert found.speedup is not None
    assert found.speedup.mid == pytest.approx(4.0, rel=0.02)


def test_a_case_disturbed_in_most_blocks_gets_no_verdict_and_the_report_says_why() -> None:
    comparison = compared(records(BOTH, disturbed={INT8: 20}))
    assert case(comparison, "cpu/onnxruntime/int8").verdict == "unknown"
    assert any("the machine was busy" in text for text in comparison.warnings)


def test_a_case_disturbed_in_every_block_has_no_latency_and_the_report_says_why() -> None:
    all_of_them = []
    for record in records(BOTH, rounds=2):
        if record.case == INT8 and record.measurement:
            # The few bursts that had the cores' time to themselves were switched out far more often than the others.
            spoilt = [
                msgspec.structs.replace(
                    burst, cpu_ns=burst.cpu_ns // (1 if burst.block < 3 else 2), switches=99 if burst.block < 3 else 1
                )
                for burst in record.measurement.series[0].bursts
            ]
            series = msgspec.structs.replace(record.measurement.series[0], bursts=tuple(spoilt))
            measurement = msgspec.structs.replace(record.measurement, series=(series,))
            all_of_them.append(msgspec.structs.replace(record, measurement=measurement))
        else:
            all_of_them.append(record)
    comparison = compared(all_of_them)
    found = case(comparison, "cpu/onnxruntime/int8")
    assert (found.status, found.latency_seconds, found.bursts.kept) == ("ok", None, 0)
    assert any("No latency of cpu/onnxruntime/int8: others used the cores" in text for text in comparison.warnings)


def test_the_twin_gives_the_noise_floor() -> None:
    noise = compared(records(BOTH)).noise
    assert noise.aa_ratio is not None
    assert noise.aa_ratio.low <= 1.0 <= noise.aa_ratio.high
    assert noise.floor is not None
    assert noise.floor < 0.02


def test_a_twin_that_differs_is_said() -> None:
    comparison = compared(records({**BOTH, TWIN: 21.0}))
    assert any("A/A check failed" in text for text in comparison.warnings)


def test_the_fastest_case_within_the_floor_is_recommended() -> None:
    scores = {REFERENCE: 0.9, INT8: 0.895, FP32: 0.9}
    comparison = compared(records({**BOTH, FP32: 15.0}, scores=scores))
    assert comparison.recommended is not None
    assert comparison.recommended.case == "cpu/onnxruntime/int8"
    assert "99.4%" in comparison.recommended.sentence


def test_a_case_below_the_floor_is_shown_and_never_recommended() -> None:
    scores = {REFERENCE: 0.9, INT8: 0.85, FP32: 0.9}
    comparison = compared(records({**BOTH, FP32: 15.0}, scores=scores))
    assert comparison.recommended is not None
    assert comparison.recommended.case == "cpu/onnxruntime/fp32"
    below = case(comparison, "cpu/onnxruntime/int8")
    assert below.within_floor is False
    assert below.scores[0].change.mid == pytest.approx(-0.05)


def test_the_reference_is_kept_where_nothing_is_faster() -> None:
    comparison = compared(records({**BOTH, INT8: 30.0}, scores={REFERENCE: 0.9, INT8: 0.9}))
    assert comparison.recommended is not None
    assert comparison.recommended.case == "cpu/pytorch/fp32"
    assert comparison.recommended.sentence == (
        "Keep PyTorch fp32: no build is both faster and accurate enough on this machine "
        "(20 ms at batch 1 × 128 tokens)."
    )


def test_the_reference_is_kept_for_now_where_nothing_was_decided() -> None:
    found = records({REFERENCE: 2000.0, TWIN: 2000.0, INT8: 500.0}, rounds=1, scores={REFERENCE: 0.9, INT8: 0.9})
    comparison = compared(found)
    assert comparison.recommended is not None
    assert comparison.recommended.sentence == (
        "Keep PyTorch fp32: so far no build is known to be both faster and accurate enough on this machine, "
        "and 1 build is undecided (2 s at batch 1 × 128 tokens)."
    )


def test_nothing_is_recommended_without_accuracy_and_the_reason_says_what_to_give() -> None:
    comparison = compared(records(BOTH))
    assert comparison.recommended is None
    assert "--dataset" in str(comparison.recommended_reason)
    assert case(comparison, "cpu/onnxruntime/int8").within_floor is None


def test_a_reference_that_scores_nothing_cannot_judge() -> None:
    comparison = compared(records(BOTH, scores={REFERENCE: 0.0, INT8: 0.0}))
    assert case(comparison, "cpu/onnxruntime/int8").within_floor is None
    assert comparison.recommended is None


def test_a_case_that_failed_in_one_round_is_failed_and_its_reason_shown() -> None:
    found = records(BOTH)
    broken = Record(
        case=INT8, model=found[0].model, workload=found[0].workload, round=6, threads=2, status="failed",
        reason="it crashed (SIGSEGV)", host=host(),
    )  # fmt: skip
    shown = case(compared([*found, broken]), "cpu/onnxruntime/int8")
    assert (shown.status, shown.reason) == ("failed", "it crashed (SIGSEGV)")


def test_several_shapes_are_rows_of_their_own() -> None:
    shapes = (SHAPE, Shape(batch=8, length=128))
    comparison = compared(records(BOTH, workload=Workload(shapes=shapes)))
    rows = [c for c in comparison.cases if c.case == "cpu/onnxruntime/int8"]
    assert [(r.batch, r.length) for r in rows] == [(1, 128), (8, 128)]
    assert comparison.workload.batches == (1, 8)


def test_fewer_rounds_or_data_than_official_make_a_run_quick() -> None:
    assert compared(records(BOTH)).workload.tier == "official"
    assert compared(records(BOTH, rounds=3, workload=Workload(shapes=(SHAPE,), rounds=3))).workload.tier == "quick"
    assert compared(records(BOTH, workload=Workload(shapes=(SHAPE,), limit=10))).workload.tier == "quick"


def test_a_run_that_had_no_time_for_its_rounds_says_so() -> None:
    def told(**asked: Any) -> list[str]:
        comparison = compared(records(BOTH, rounds=3, workload=Workload(shapes=(SHAPE,), **asked)))
        assert comparison.workload.tier == "quick"
        return [text for text in comparison.warnings if "fitted in the budget" in text]

    (text,) = told()
    assert text.startswith("Only 3 of 5 rounds fitted in the budget of 5 min, so the run is marked quick")
    assert "--budget" in text
    assert told(tier="quick") == told(rounds=3) == []  # asked for


def test_rounds_go_on_for_what_is_undecided_alone() -> None:
    equal = Case(target="cpu", backend="openvino", precision="fp32")
    found = records({**BOTH, equal: 19.6})  # 2% faster: on the edge of the floor, no verdict in five rounds
    assert undecided(found) == [equal]
    assert undecided(records(BOTH)) == []
    assert undecided(records(BOTH, rounds=3)) == [INT8]  # fewer than five rounds decide nothing


def test_a_quantized_case_slower_than_its_sibling_says_why() -> None:
    found = [msgspec.structs.replace(r, host=host(isa=("avx2",))) for r in records({**BOTH, FP32: 10.0, INT8: 15.0})]
    notes = case(compared(found), "cpu/onnxruntime/int8").notes
    assert any("no integer dot product" in note for note in notes)
