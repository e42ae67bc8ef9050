"""From records to a comparison: pure functions, so that the same records always say the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast

from optibench import __version__, doctor, explain, plugins, roofline, stats
from optibench.errors import OptibenchError
from optibench.recommend import recommend, within_floor
from optibench.results import (
    BuildSeconds,
    BurstCount,
    CaseResult,
    Comparison,
    Interval,
    Latency,
    Noise,
    ScoreResult,
    Verdict,
    WorkloadResult,
)
from optibench.tasks.base import length_unit
from optibench.values import Burst, Case, Record, Score, Series, Shape

DISTURBED_WARNING = 0.2
VARIATION_WARNING = 0.10
IDLE_WARNING = 0.05


@dataclass(frozen=True)
class Sampled:
    """One case's bursts at one shape in one round (and group), with which of them count."""

    bursts: tuple[Burst, ...]
    kept: list[bool]


Rounds = dict[tuple[int, int], Sampled]


def reference_of(records: Iterable[Record]) -> Case | None:
    """The reference: the case that has a twin."""
    return next((untwinned(r.case) for r in records if r.case.copy == 1), None)


def untwinned(case: Case) -> Case:
    """The case itself, of a case or its twin."""
    import msgspec

    return msgspec.structs.replace(case, copy=0)


def builds(records: Iterable[Record]) -> list[Record]:
    """The records of cases: those of the machine's limits (limits.py) are left out."""
    return [record for record in records if not record.case.is_limit]


def sampled(records: Iterable[Record], case: Case, shape: Shape) -> Rounds:
    """A case's bursts at a shape by (round, group); disturbed ones are told against the case's best over all rounds."""
    found: dict[tuple[int, int], Series] = {}
    for record in records:
        if record.case == case and record.measurement:
            for series in record.measurement.series:
                if series.shape == shape:
                    found[record.round, record.group] = series
    kept = iter(stats.undisturbed([burst for series in found.values() for burst in series.bursts]))
    return {key: Sampled(series.bursts, [next(kept) for _ in series.bursts]) for key, series in found.items()}


def values_by_round(candidate: Rounds, base: Rounds) -> dict[tuple[int, int], float]:
    """The value of every round (and group) that has one, in order."""
    values = {}
    for key in sorted(candidate.keys() & base.keys()):
        mine, theirs = candidate[key], base[key]
        value, _ = stats.round_value(mine.bursts, mine.kept, theirs.bursts, theirs.kept)
        if value is not None:
            values[key] = value
    return values


def round_values(candidate: Rounds, base: Rounds) -> list[float]:
    """The value of every round that has one, in order."""
    return list(values_by_round(candidate, base).values())


def kept_seconds(records: Sequence[Record]) -> dict[str, list[float]]:
    """Every undisturbed call in seconds, by case and shape (``cpu/openvino/int8 at 1x128``)."""
    found: dict[str, list[float]] = {}
    for case in dict.fromkeys(record.case for record in records if record.measurement and not record.case.copy):
        for shape in records[-1].workload.shapes:
            rounds = sampled(records, case, shape).values()
            bursts = [b for one in rounds for b, keep in zip(one.bursts, one.kept, strict=True) if keep]
            found[f"{case.name} at {shape.name}"] = [wall / 1e9 for burst in bursts for wall in burst.wall_ns]
    return found


def judged(values: Sequence[float], least: int) -> tuple[Interval | None, Verdict]:
    """Speed-up with its 95% interval, and the verdict, from the rounds' log ratios of time."""
    if not values:
        return None, "unknown"
    low, mid, high = stats.mean_interval(values)
    if len(values) < 2:
        return None, "unknown"
    speedup = Interval(low=math.exp(-high), mid=math.exp(-mid), high=math.exp(-low))
    return speedup, cast(Verdict, stats.verdict(low, high)) if len(values) >= least else "unknown"


def undecided(records: Sequence[Record]) -> list[Case]:
    """Living cases whose verdict at some shape still wants rounds: it is unknown, and fewer than the most rounds have
    a value. A round that was too disturbed to have one does not count, and so is repeated."""
    records = builds(records)
    reference = reference_of(records)
    if reference is None or not records:
        return []
    workload = records[-1].workload
    dead = {r.case for r in records if r.status != "ok"}
    open_cases = []
    for case in dict.fromkeys(r.case for r in records):
        if case == reference or case.copy or case in dead or reference in dead:
            continue
        for shape in workload.shapes:
            values = round_values(sampled(records, case, shape), sampled(records, reference, shape))
            if judged(values, workload.rounds)[1] == "unknown" and len(values) < workload.max_rounds:
                open_cases.append(case)
                break
    return open_cases


def comparison_from_records(
    records: Sequence[Record], *, command: str, created: str, warnings: Sequence[str] = ()
) -> Comparison:
    """The whole comparison of one run. ``warnings``: what happened while it was measured and records do not hold."""
    everything, records = records, builds(records)
    if not records:
        raise OptibenchError("There are no records to compare: nothing was measured yet.")
    reference = reference_of(records)
    last = next((r for r in reversed(records) if not r.case.variant), records[-1])  # of what the run is about
    results = explain.with_notes(case_results(records), last.host)
    results, limits = roofline.with_shares(everything, results)
    noise = _noise(records, reference)
    dataset = next((r.dataset for r in records if r.dataset), None)
    recommended, why_not = recommend(results, reference.name if reference else None, length_unit(last.model.task))
    done = len({r.round for r in records if r.measurement})
    # Rounds that measured something speak of it; what the doctor found before them speaks only where there is none.
    findings = doctor.of_rounds(r.findings for r in [r for r in records if r.measurement] or records)
    spoils = [doctor.sentence(finding) for finding in findings if not finding.fine]
    return Comparison(
        optibench_version=__version__,
        created=created,
        command=command,
        model=last.model,
        workload=WorkloadResult(
            batches=tuple(dict.fromkeys(s.batch for s in last.workload.shapes)),
            lengths=tuple(dict.fromkeys(s.length for s in last.workload.shapes)),
            dataset=dataset,
            calibration=next((r.calibration for r in records if r.calibration), None),
            seed=last.workload.seed,
            rounds=done,
            tier=_tier(records, done),
            accuracy_floor=last.workload.accuracy_floor,
        ),
        host=last.host,
        noise=noise,
        warnings=(*warnings, *spoils, *_warnings(records, results, noise)),
        findings=findings,
        recommended=recommended,
        recommended_reason=why_not,
        reference=reference.name if reference else None,
        limits=limits,
        cases=tuple(results),
    )


def case_results(records: Sequence[Record]) -> list[CaseResult]:
    """Every case at every shape; twins are not cases of their own."""
    reference = reference_of(records)
    cases = dict.fromkeys(untwinned(r.case) for r in records)
    shapes = records[-1].workload.shapes
    return [_case_result(records, case, shape, reference) for case in cases for shape in shapes]


def _tier(records: Sequence[Record], rounds: int) -> Literal["official", "quick"]:
    """Official only if rounds, blocks and data reach the official settings, whatever was asked for."""
    full = type(records[-1].workload)(shapes=())
    asked = records[-1].workload
    blocks = min((len(s.bursts) for r in records if r.measurement for s in r.measurement.series), default=0)
    enough = rounds >= full.rounds and blocks >= full.blocks and asked.burst_seconds >= full.burst_seconds
    return "official" if enough and asked.limit is None and asked.tier == "official" else "quick"


def _case_result(records: Sequence[Record], case: Case, shape: Shape, reference: Case | None) -> CaseResult:
    import numpy as np

    mine = [r for r in records if r.case == case]
    broken = next((r for r in mine if r.status != "ok"), None)
    rounds = sampled(records, case, shape)
    calls = np.array(
        [ns for s in rounds.values() for b, k in zip(s.bursts, s.kept, strict=True) if k for ns in b.wall_ns]
    )
    kept = sum(sum(s.kept) for s in rounds.values())
    total = sum(len(s.kept) for s in rounds.values())
    measured = [r for r in mine if r.measurement]
    measurements = [r.measurement for r in measured if r.measurement]
    series = [s for m in measurements for s in m.series if s.shape == shape]
    alone = [m for m in measurements if m.alone] or measurements
    artifact = next((r.artifact for r in mine if r.artifact), None)
    judged_record = next((r for r in mine if r.scores or r.parity), None)
    scores = paired_scores(records, case, reference)
    least = mine[-1].workload.rounds
    speedup: Interval | None = None
    verdict: Verdict = "unknown"
    values: list[float] = []
    if case == reference:
        speedup, verdict = (Interval(low=1.0, mid=1.0, high=1.0) if measured else None), "reference"
    elif reference:
        values = round_values(rounds, sampled(records, reference, shape))
        speedup, verdict = judged(values, least)
    busy = verdict == "unknown" and len(values) < least <= len(rounds)
    p50 = stats.quantile(calls, 0.5) if len(calls) else None
    return CaseResult(
        case=case.name,
        target=case.target,
        backend=case.backend,
        precision=case.precision,
        variant=case.variant,
        batch=shape.batch,
        length=shape.length,
        status=broken.status if broken else "ok",
        reason=broken.reason if broken else None,
        latency_seconds=Latency(
            p50=_seconds(p50), p90=_seconds(stats.quantile(calls, 0.9)), p99=_seconds(stats.quantile(calls, 0.99))
        )
        if len(calls)
        else None,
        samples=len(calls),
        rounds=len(rounds),
        bursts=BurstCount(kept=kept, disturbed=total - kept),
        speedup=speedup,
        verdict=verdict,
        verdict_reason="machine busy" if busy else None,
        throughput_per_second=shape.batch / (p50 / 1e9) if p50 else None,
        cold_start_seconds=_median([m.cold_start_seconds for m in alone]),
        load_seconds=_median([m.load_seconds for m in alone]),
        first_call_seconds=_median([s.first_call_seconds for s in series]),
        build_seconds=BuildSeconds(
            export=artifact.build_seconds.export,
            quantize=artifact.build_seconds.quantize,
            compile=artifact.build_seconds.compile,
            cached=artifact.build_seconds.cached,
        )
        if artifact
        else None,
        peak_memory_bytes=int(_median([s.peak_bytes for s in series]) or 0) or None,
        artifact_bytes=artifact.bytes if artifact else None,
        artifact_sha256=artifact.sha256 if artifact else None,
        executed=next((m.executed for m in measurements if m.executed), None),
        scores=scores,
        parity=judged_record.parity if judged_record else None,
        within_floor=within_floor(scores, mine[-1].workload.accuracy_floor),
        notes=artifact.notes if artifact else (),
    )


def _seconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


def _median(values: Sequence[float]) -> float | None:
    import numpy as np

    return float(np.median(values)) if values else None


def paired_scores(records: Sequence[Record], case: Case, reference: Case | None) -> tuple[ScoreResult, ...]:
    """The case's scores beside another's (the reference's), with the paired interval of each change."""
    base = next((r for r in records if r.case == reference and r.scores), None)
    judged_record = next((r for r in records if r.case == case and r.scores), None)
    if judged_record is None or base is None:
        return ()
    theirs: dict[str, Score] = {score.metric: score for score in base.scores}
    metrics = plugins.load("task", judged_record.model.task).METRICS
    results = []
    for score in judged_record.scores:
        other = theirs.get(score.metric)
        if other is None or other.labels != score.labels:  # other rows, or classes numbered otherwise: no pairs
            continue
        change = _change(metrics[score.metric], score, other, judged_record.workload.seed)
        results.append(
            ScoreResult(metric=score.metric, value=score.value, reference=other.value, count=score.count, change=change)
        )
    return tuple(results)


@lru_cache
def _change(metric: Callable[..., Any], score: Score, other: Score, seed: int) -> Interval:
    """The paired interval of a change of score. Remembered: accuracy is judged once a run, and asked for after each
    round (schedule.py) and at the end."""
    import numpy as np

    predictions, theirs, labels = (np.array(v) for v in (score.predictions, other.predictions, score.labels))
    low, mid, high = stats.paired_change(metric, predictions, theirs, labels, seed=seed)
    return Interval(low=low, mid=mid, high=high)


def _noise(records: Sequence[Record], reference: Case | None) -> Noise:
    """The A/A check at the shape where it is widest, and how quiet the machine was."""
    import msgspec

    kept = total = 0
    widest: Interval | None = None
    settled = True
    for shape in records[-1].workload.shapes:
        for case in dict.fromkeys(r.case for r in records):
            for one in sampled(records, case, shape).values():
                kept, total = kept + sum(one.kept), total + len(one.kept)
        if reference:
            twin = msgspec.structs.replace(reference, copy=1)
            values = round_values(sampled(records, twin, shape), sampled(records, reference, shape))
            if len(values) >= 2:
                low, mid, high = (math.exp(v) for v in stats.mean_interval(values))
                found = Interval(low=low, mid=mid, high=high)
                if widest is None or _doubt(found) > _doubt(widest):
                    widest = found
    for record in records:
        if record.measurement:
            settled = settled and all(series.settled for series in record.measurement.series)
    return Noise(
        aa_ratio=widest,
        floor=max(abs(widest.high - 1), abs(1 - widest.low)) if widest else None,
        settled=settled,
        disturbed_share=1 - kept / total if total else 0.0,
    )


def _doubt(ratio: Interval) -> tuple[bool, float]:
    """How much an A/A ratio speaks against a run: an interval without 1.0 first, then its width."""
    return not ratio.low <= 1.0 <= ratio.high, ratio.high / ratio.low


def _warnings(records: Sequence[Record], results: Sequence[CaseResult], noise: Noise) -> list[str]:
    found = []
    if noise.aa_ratio and not noise.aa_ratio.low <= 1.0 <= noise.aa_ratio.high:
        found.append(
            f"The A/A check failed: the reference differs from its own twin by {abs(noise.aa_ratio.mid - 1):.1%}. "
            "Differences of that size mean nothing in this run; measure again on a quieter machine."
        )
    if noise.disturbed_share > DISTURBED_WARNING:
        found.append(
            f"{noise.disturbed_share:.0%} of the bursts were disturbed by other load and left out. "
            "A quieter machine needs fewer rounds."
        )
    for case in dict.fromkeys(r.case for r in records if not r.case.copy):
        for shape in records[-1].workload.shapes:
            rounds = sampled(records, case, shape)
            bursts = [b for s in rounds.values() for b in s.bursts]
            keeps = [k for s in rounds.values() for k in s.kept]
            variation = stats.variation(bursts, keeps)
            if variation > VARIATION_WARNING:
                found.append(
                    f"{case.name} at {shape.name} varies by {variation:.0%} within its bursts (usual: under 10%)."
                )
            idle = sum(b.idle_wall_ns for b in bursts)
            burnt = sum(b.idle_cpu_ns for b in bursts) / idle if idle else 0.0
            if burnt > IDLE_WARNING:
                found.append(
                    f"{case.name} burnt {burnt:.0%} of a core while it waited for its turn: its threads spin, "
                    "and the others' figures suffer from it."
                )
    for result in results:
        if result.executed and result.executed.fallback_nodes:
            found.append(
                f"{result.case}: {result.executed.fallback_nodes} nodes do not run on {result.executed.provider}."
            )
    busy = [r.case for r in results if r.status == "ok" and r.verdict_reason == "machine busy"]
    if busy:
        least = records[-1].workload.rounds
        found.append(
            f"No verdict for {', '.join(dict.fromkeys(busy))}: the machine was busy, and fewer than {least} rounds had "
            "enough undisturbed blocks. A round without them does not count, and is repeated while the budget lasts."
        )
    return list(dict.fromkeys(found))
