"""How near each case comes to what its target reaches at best: pure functions of records (docs/limits.md).

The roofline model: Williams, Waterman, Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

from optibench import stats
from optibench.limits import MEMORY, limit_of
from optibench.results import CaseResult, Limits
from optibench.values import Gauged, Record

BYTES = {"fp32": 4.0, "tf32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.0, "fp8": 1.0, "int4": 0.5}
"""Of a weight, by the precision that it is kept in."""


def with_shares(records: Sequence[Record], results: Sequence[CaseResult]) -> tuple[list[CaseResult], dict[str, Limits]]:
    """The results with multiply-adds, share of the peak and the limit that lies lower; and the limits by target."""
    models = {record.case.name: record for record in records if record.multiply_adds}
    counted = [
        msgspec.structs.replace(result, multiply_adds=models[result.case].multiply_adds.get(result.shape.name))
        if result.case in models
        else result
        for result in results
    ]
    targets = dict.fromkeys(record.case.target for record in records if record.case.is_limit)
    limits = {
        target: limits_of([r for r in records if r.case.target == target and r.case.is_limit]) for target in targets
    }
    limits = {target: _raised(target, found, counted) for target, found in limits.items()}
    caches = {
        r.case.target: r.gauged[0].detail.get("cache_bytes") for r in records if r.gauged and r.case.precision == MEMORY
    }
    shared = []
    for result in counted:
        if result.case in models and result.target in limits:
            weights = models[result.case].multiplied_weights
            result = _held(result, limits[result.target], weights, caches.get(result.target))
            result = _decoded(result, limits[result.target], weights, caches.get(result.target))
        shared.append(result)
    return shared, limits


def reached(result: CaseResult) -> float | None:
    """Operations a second of a case: its arithmetic over its median time, a multiply-add counting as two."""
    p50 = result.latency_seconds.p50 if result.latency_seconds else None
    return 2 * result.multiply_adds / p50 if result.multiply_adds and p50 else None


def limits_of(records: Sequence[Record]) -> Limits:
    """One target's limits, from its own records: the best burst counts, since what disturbs only takes away."""
    rates, how = {}, {}
    for record in records:
        if record.gauged:
            best = max(record.gauged, key=_per_second)
            rates[record.case.precision] = _per_second(best)
            how[record.case.precision] = str(best.detail.get("how", ""))
    unknown = [record for record in records if record.status != "ok" and record.case.precision not in rates]
    published = {record.case.precision: record.published for record in unknown if record.published}
    for name, found in published.items():
        rates[name], how[name] = found.per_second, f"published: {found.source}"
    memory = rates.pop(MEMORY, None)
    return Limits(
        operations_per_second=rates,
        memory_bytes_per_second=memory,
        how=how,
        missing={r.case.precision: r.reason or "no reason was recorded" for r in unknown if not r.published},
        published={name: found.source for name, found in published.items()},
    )


def disturbed_peaks(records: Sequence[Record]) -> dict[tuple[str, str], float]:
    """The target and limit of each peak whose best burst had less than its share of the processor, and what it had:
    measured beside others' work, it is no peak."""
    found = {}
    for record in records:
        best = max(record.gauged, key=_per_second, default=None)
        threads = best and best.detail.get("threads")
        if best and threads:
            share = best.burst.cpu_ns / (threads * sum(best.burst.wall_ns))
            if share < stats.CPU_SHARE:
                found[record.case.target, record.case.precision] = share
    return found


def _per_second(gauged: Gauged) -> float:
    return gauged.amount / statistics.median(gauged.burst.wall_ns) * 1e9


def _raised(target: str, limits: Limits, results: Sequence[CaseResult]) -> Limits:
    """The limits where no case is above them: what a case reached can be reached, whatever a matrix product did."""
    rates, how, published = dict(limits.operations_per_second), dict(limits.how), dict(limits.published)
    for result in results:
        precision, rate = _executed(result), reached(result)
        if result.target == target and rate and precision in rates and rate > rates[precision]:
            rates[precision] = rate
            how[precision] = f"{result.case} at {result.shape.name}, which was faster than {limits.how[precision]}"
            published.pop(precision, None)
    return msgspec.structs.replace(limits, operations_per_second=rates, how=how, published=published)


def _held(result: CaseResult, limits: Limits, weights: int | None, cache: int | None) -> CaseResult:
    """The result held against its target's limits."""
    rate, peak = reached(result), limits.operations_per_second.get(_executed(result) or "")
    if rate is None or peak is None or result.multiply_adds is None:
        return result
    return msgspec.structs.replace(
        result,
        peak_share=rate / peak,
        limit=lower_limit(
            2 * result.multiply_adds / peak,
            weights and weights * BYTES.get(_kept(result), 4.0),
            limits.memory_bytes_per_second,
            cache,
        ),
    )


def _decoded(result: CaseResult, limits: Limits, weights: int | None, cache: int | None) -> CaseResult:
    """A token of decode held against the memory, which all weights and all kept keys and values are read from. The
    cache grows while a burst lasts: half of what the new tokens add is taken off its end."""
    p50 = result.latency_seconds.p50 if result.latency_seconds else None
    if result.phase != "decode" or not p50 or not weights or not limits.memory_bytes_per_second or cache is None:
        return result
    weight_bytes = weights * BYTES.get(_kept(result), 4.0)
    if weight_bytes <= cache:
        return result
    seen = 1 - result.new_tokens / 2 / (result.length + result.new_tokens)
    read = weight_bytes + (result.cache_bytes or 0) * seen
    return msgspec.structs.replace(result, bandwidth_share=read / p50 / limits.memory_bytes_per_second)


def lower_limit(
    computing_seconds: float, weight_bytes: float | None, bytes_per_second: float | None, cache_bytes: int | None
) -> Literal["compute", "memory"] | None:
    """Whether computing with the weights or reading them must take longer. Weights that a cache can hold need not be
    read from memory at each call. None where one of the two is not known."""
    if weight_bytes is None or bytes_per_second is None or cache_bytes is None:
        return None
    reading_seconds = weight_bytes / bytes_per_second if weight_bytes > cache_bytes else 0.0
    return "memory" if reading_seconds > computing_seconds else "compute"


def _executed(result: CaseResult) -> str | None:
    return limit_of(result.executed.precision) if result.executed else None


def _kept(result: CaseResult) -> str:
    """The precision in which the case's weights are kept: its label's, since weights may be smaller than what is
    computed with."""
    return result.precision.partition("-")[0]
