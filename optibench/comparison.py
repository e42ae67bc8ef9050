"""From records to a comparison: pure functions, so that the same records always say the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, cast

from optibench import __version__, cautions, doctor, explain, health, padding, plugins, roofline, stats
from optibench.agreement import with_agreement
from optibench.end_to_end import with_generations
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
from optibench.samples import Samples, builds, reference_of, untwinned
from optibench.tasks.base import has_metric, length_unit
from optibench.values import Case, Executed, Record, Score, Shape

PRECISE = 0.05
"""A speed-up's figure is worth showing when its 95% interval reaches no further than this to either side, in logs."""


def kept_seconds(records: Sequence[Record]) -> dict[str, list[float]]:
    """Every undisturbed call in seconds, by case and shape (``cpu/openvino/int8 at 1x128``)."""
    found: dict[str, list[float]] = {}
    samples = Samples(records)
    for case in dict.fromkeys(record.case for record in records if record.measurement and not record.case.copy):
        for shape in records[-1].workload.shapes:
            rounds = samples.of(case, shape).values()
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

    def unknown(samples: Samples, case: Case, reference: Case, shape: Shape) -> bool:
        return judged(samples.round_values(case, reference, shape), samples.least)[1] == "unknown"

    return _wanting(records, unknown)


def imprecise(records: Sequence[Record]) -> list[Case]:
    """Living cases whose speed-up at some shape is known to no better than 5%, or is of more than one pace of the
    machine: decided or not, its figure says little. Empty for a quick run, or one of fewer rounds than usual: those ask
    for no figures of that kind."""

    def vague(samples: Samples, case: Case, reference: Case, shape: Shape) -> bool:
        values = samples.round_values(case, reference, shape)
        return stats.half_width(values) > PRECISE or samples.mixed(case, reference, shape)

    asked = records[-1].workload if records else None
    if asked is None or asked.tier == "quick" or asked.rounds < stats.LEAST_ROUNDS:
        return []
    return _wanting(records, vague)


def _wanting(records: Sequence[Record], wants: Callable[[Samples, Case, Case, Shape], bool]) -> list[Case]:
    records = builds(records)
    reference = reference_of(records)
    if reference is None or not records:
        return []
    workload = records[-1].workload
    samples = Samples(records)
    dead = {r.case for r in records if r.status != "ok"}
    found = []
    for case in dict.fromkeys(r.case for r in records):
        if case == reference or case.copy or case in dead or reference in dead:
            continue
        for shape in workload.shapes:
            rounds = len(samples.round_values(case, reference, shape))
            if wants(samples, case, reference, shape) and rounds < workload.max_rounds:
                found.append(case)
                break
    return found


def comparison_from_records(
    records: Sequence[Record], *, command: str, created: str, warnings: Sequence[str] = ()
) -> Comparison:
    """The whole comparison of one run. ``warnings``: what happened while it was measured and records do not hold."""
    everything, records = records, builds(records)
    if not records:
        raise OptibenchError("There are no records to compare: nothing was measured yet.")
    reference = reference_of(records)
    last = next((r for r in reversed(records) if not r.case.variant), records[-1])  # of what the run is about
    samples = Samples(records)
    results = explain.with_notes(case_results(records, samples), last.host)
    results = with_agreement(records, results, reference)
    results = with_generations(results, reference.name if reference else None)
    results, limits = roofline.with_shares(everything, results)
    results = padding.with_padding(results)
    noise = _noise(records, samples, reference)
    dataset = next((r.dataset for r in records if r.dataset), None)
    task = last.model.task
    recommended, why_not = recommend(
        results, reference.name if reference else None, length_unit(task), has_metric(task)
    )
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
        warnings=(*warnings, *spoils, *cautions.told(everything, samples, results, noise, done)),
        findings=findings,
        recommended=recommended,
        recommended_reason=why_not,
        reference=reference.name if reference else None,
        limits=limits,
        gpus=health.gpus(records),
        cases=tuple(results),
    )


def case_results(records: Sequence[Record], samples: Samples | None = None) -> list[CaseResult]:
    """Every case at every shape; twins are not cases of their own."""
    reference = reference_of(records)
    cases = dict.fromkeys(untwinned(r.case) for r in records)
    shapes = records[-1].workload.shapes
    samples = samples or Samples(records)
    return [_case_result(records, samples, case, shape, reference) for case in cases for shape in shapes]


def _tier(records: Sequence[Record], rounds: int) -> Literal["official", "quick"]:
    """Official only if rounds, blocks and data reach the official settings, whatever was asked for."""
    full = type(records[-1].workload)(shapes=())
    asked = records[-1].workload
    blocks = min((len(s.bursts) for r in records if r.measurement for s in r.measurement.series), default=0)
    enough = rounds >= full.rounds and blocks >= full.blocks and asked.burst_seconds >= full.burst_seconds
    return "official" if enough and asked.limit is None and asked.tier == "official" else "quick"


def _case_result(
    records: Sequence[Record], samples: Samples, case: Case, shape: Shape, reference: Case | None
) -> CaseResult:
    import numpy as np

    mine = [r for r in records if r.case == case]
    broken = next((r for r in mine if r.status != "ok"), None)
    rounds = samples.of(case, shape)
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
    least = samples.least
    speedup: Interval | None = None
    verdict: Verdict = "unknown"
    values: list[float] = []
    if case == reference:
        speedup, verdict = (Interval(low=1.0, mid=1.0, high=1.0) if measured else None), "reference"
    elif reference:
        values = samples.round_values(case, reference, shape)
        speedup, verdict = judged(values, least)
    busy = verdict == "unknown" and len(values) < least <= len(rounds)
    executed = next((m.executed for m in measurements if m.executed), None)
    p50 = stats.quantile(calls, 0.5) if len(calls) else None
    return CaseResult(
        case=case.name,
        target=case.target,
        backend=case.backend,
        precision=case.precision,
        variant=case.variant,
        batch=shape.batch,
        length=shape.length,
        phase=shape.phase,
        new_tokens=shape.new_tokens,
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
        executed=executed,
        device_seconds=_device_seconds(executed) if shape == mine[-1].workload.shapes[0] else None,
        device_memory_bytes=health.peak_bytes(series),
        energy_joules_per_call=health.joules_per_call(series),
        scores=scores,
        parity=judged_record.parity if judged_record else None,
        cache_bytes=next((s.cache_bytes for s in series if s.cache_bytes is not None), None),
        within_floor=within_floor(scores, mine[-1].workload.accuracy_floor),
        notes=artifact.notes if artifact else (),
    )


def _device_seconds(executed: Executed | None) -> float | None:
    """A backend that times calls by its device's events tells so of the first shape."""
    seconds = executed.detail.get("device_seconds") if executed else None
    return float(seconds) if seconds is not None else None


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


def _noise(records: Sequence[Record], samples: Samples, reference: Case | None) -> Noise:
    """The A/A check at the shape where it is widest, and how quiet the machine was."""
    import msgspec

    kept = total = 0
    widest: Interval | None = None
    settled = True
    for shape in records[-1].workload.shapes:
        for case in dict.fromkeys(r.case for r in records):
            for one in samples.of(case, shape).values():
                kept, total = kept + sum(one.undisturbed), total + len(one.undisturbed)
        if reference:
            twin = msgspec.structs.replace(reference, copy=1)
            values = samples.round_values(twin, reference, shape)
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
        slow_share=samples.slow_share,
    )


def _doubt(ratio: Interval) -> tuple[bool, float]:
    """How much an A/A ratio speaks against a run: an interval without 1.0 first, then its width."""
    return not ratio.low <= 1.0 <= ratio.high, ratio.high / ratio.low
