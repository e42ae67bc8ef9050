"""What a submission must show of itself: pure functions of its records, each yielding sentences about what is wrong.

They find mistakes, damage and numbers edited by hand. A person who writes a whole run of made-up samples with care is
not found by them: that is what signatures and a second submission of the same case are for (docs/leaderboard.md).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from optibench import roofline, side_by_side
from optibench.comparison import comparison_from_records
from optibench.data import shared_rows
from optibench.errors import OptibenchError, first_line
from optibench.leaderboard.samples import copied_samples
from optibench.leaderboard.submission import Submission
from optibench.limits import limit_of
from optibench.results import CaseResult, Comparison, Limits
from optibench.roofline import BYTES, reached
from optibench.values import Gauged, Record, mislabelled

BEYOND_PEAK = 1.5
"""A product of matrices is not the most a machine can do (docs/limits.md), so a case may be this much faster."""
BEYOND_CPU = 1.5
"""No process burns more CPU time than all of the machine's processors have; the loop between the calls is not in their
wall time (calls of milliseconds: 2%)."""
LONGEST_CALL_NS = 24 * 3600 * 10**9
SKEW = timedelta(hours=1)
"""Clocks of two machines, and one that is put right in a run, differ by less."""
LONGEST_START = timedelta(days=30)
"""From the start of a run to its first record: a build, and a run that was left and resumed."""
MOST_DIFFERENCES = 3
"""So many places in which a comparison differs from its records are named; the rest are counted."""
NOT_COMPUTED = ("optibench_version", "created", "command", "warnings")

Check = Callable[[Sequence[Record], Comparison, Comparison], Iterator[str]]


@dataclass(frozen=True)
class Found:
    """What is wrong with a submission (nothing, if it is sound), and the comparison that its raw samples give."""

    problems: tuple[str, ...]
    computed: Comparison | None = None


def examined(submission: Submission) -> Found:
    """Every check of a submission."""
    records = submission.records
    early = [text for check in (_numbers, _duplicates, _one_run) for text in check(records)]
    early += _times(records, submission.claimed.created)
    if early:  # figures made of such records would say nothing
        return Found(tuple(early))
    try:
        computed = _recomputed(submission)
        return Found(tuple(t for check in CHECKS for t in check(records, submission.claimed, computed)), computed)
    except OptibenchError as error:
        return Found((str(error),))
    except Exception as error:  # a stranger's records: values that fit their types and make no sense together
        return Found((f"its records make no sense together: no figures could be made of them ({first_line(error)})",))


def _recomputed(submission: Submission) -> Comparison:
    """The comparison that the raw samples give, with what happened while it was measured."""
    claimed = submission.claimed
    made = comparison_from_records(submission.records, command=claimed.command, created=claimed.created)
    return msgspec.structs.replace(made, warnings=tuple(dict.fromkeys([*claimed.warnings, *made.warnings])))


def unchecked(records: Sequence[Record], comparison: Comparison) -> list[str]:
    """What could not be checked, for readers of the board."""
    limits = _measured_limits(records)
    found = {
        f"{case.case}: no peak of {case.target} was measured in the precision that was executed"
        for case in comparison.cases
        if case.status == "ok" and case.latency_seconds and allowed(case, limits) is None
    }
    return sorted(found)


# Before anything is computed


def _times(records: Sequence[Record], created: str) -> Iterator[str]:
    """When it was begun and measured: of two that share samples the older one stays, and a feed shows the newest."""
    times = {text: _time(text) for text in (created, *(record.created for record in records))}
    for text in (text for text, time in times.items() if time is None):
        yield f"it says {_short(text)!r} for when it was made: expected a time with its zone"
        return
    begun, known = times[created], [time for record in records if (time := times[record.created])]
    if begun is None or not known:
        return
    if max(begun, *known) > datetime.now(UTC) + SKEW:
        yield f"it was made at {max(begun, *known).isoformat()}, which is yet to come"
    elif not -SKEW <= min(known) - begun <= LONGEST_START:
        yield f"it says that it was begun at {created}, and its first record is of {min(known).isoformat()}"


def _time(text: str) -> datetime | None:
    """The moment, in UTC; None for a text that names none."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _numbers(records: Sequence[Record]) -> Iterator[str]:
    """Numbers that no measurement gives: negative times and sizes, scores that are not finite."""
    for record in records:
        where = f"{record.case.name} in round {record.round}"
        measurement, artifact = record.measurement, record.artifact
        numbers: dict[str, float] = {"artifact bytes": artifact.bytes if artifact else 0}
        if record.host.cores < 1 or record.threads < 1:
            yield f"{where} ran on {record.host.cores} processors with {record.threads} threads"
        if measurement:
            numbers |= {"load time": measurement.load_seconds, "cold start": measurement.cold_start_seconds}
            for series in measurement.series:
                numbers[f"first call at {series.shape.name}"] = series.first_call_seconds
                numbers[f"peak memory at {series.shape.name}"] = series.peak_bytes
                if any(burst.cpu_ns < 0 or burst.switches < 0 for burst in series.bursts):
                    yield f"{where} has a burst that took less than no CPU time"
                if any(max(burst.wall_ns) > LONGEST_CALL_NS for burst in series.bursts):
                    yield f"{where} at {series.shape.name} has a call of more than a day"
                if [b.block for b in series.bursts] != sorted({b.block for b in series.bursts}):
                    yield f"{where} at {series.shape.name} has two bursts in one block"
        for what, number in numbers.items():
            if not (math.isfinite(number) and number >= 0):
                yield f"{where} has {number:g} as its {what}"
        for score in record.scores:
            if score.count != len(score.labels) or len(score.predictions) != len(score.labels):
                yield f"{where} names {score.count} examples for its {score.metric}, and holds others"


def _duplicates(records: Sequence[Record]) -> Iterator[str]:
    places = Counter((record.case, record.round, record.group) for record in records)
    for (case, number, _), count in places.items():
        if count > 1:
            yield f"{case.name} stands {count} times in round {number}: one process makes one record"


def _one_run(records: Sequence[Record]) -> Iterator[str]:
    named: dict[str, set[Any]] = {
        "model": {record.model for record in records if not record.case.variant},
        "processor": {(r.host.cpu_model, r.host.cores, r.host.memory_bytes) for r in records},
        "workload": {msgspec.json.encode(record.workload) for record in records},
        "number of threads": {record.threads for record in records},
        "data set": {record.dataset.sha256 for record in records if record.dataset},
        "calibration data": {record.calibration.sha256 for record in records if record.calibration},
    }
    for what, values in named.items():
        if len(values) > 1:
            yield f"its records are of several runs: they name more than one {what}"


# Held against what the samples give


def _statistics(records: Sequence[Record], claimed: Comparison, computed: Comparison) -> Iterator[str]:
    """Every figure of the comparison, made anew."""
    theirs, ours = (_compared(one) for one in (claimed, computed))
    found = list(_differences(theirs, ours, ""))
    for place, said, given in found[:MOST_DIFFERENCES]:
        yield f"{place} is {said}, and the records give {given}"
    if len(found) > MOST_DIFFERENCES:
        yield f"{len(found) - MOST_DIFFERENCES} more figures do not follow from the records"
    if found and claimed.optibench_version != computed.optibench_version:
        yield (
            f"it was packed by optibench {claimed.optibench_version}, and this is {computed.optibench_version}: "
            "if the method changed between them, pack the run again"
        )
    lost = [text for text in computed.warnings if text not in claimed.warnings]
    if lost:
        yield f"its comparison leaves out a warning that the records give: {lost[0]}"


def _compared(comparison: Comparison) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(comparison)
    cases = {f"{case['case']} at {case['batch']}x{case['length']}": case for case in plain.pop("cases")}
    return {name: value for name, value in plain.items() if name not in NOT_COMPUTED} | {"cases": cases}


def _differences(theirs: Any, ours: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Where two plain values differ, and by what; floats by more than what another library computes."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in theirs | ours:
            yield from _differences(theirs.get(key), ours.get(key), f"{place} {key}".strip())
    elif isinstance(theirs, list | tuple) and isinstance(ours, list | tuple) and len(theirs) == len(ours):
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from _differences(one, other, f"{place}[{number}]")
    elif isinstance(theirs, float | int) and isinstance(ours, float | int) and not isinstance(theirs, bool):
        if not math.isclose(theirs, ours, rel_tol=side_by_side.SAME, abs_tol=1e-12):
            yield place, f"{theirs:.6g}", f"{ours:.6g}"
    elif theirs != ours:
        yield place, _short(theirs), _short(ours)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _scores(records: Sequence[Record], claimed: Comparison, computed: Comparison) -> Iterator[str]:
    """A score that its own answers do not give."""
    check = next(side_by_side.record_checks(records, None))
    if not check.fine:
        yield f"its scores {check.said}"


def _labels(records: Sequence[Record], claimed: Comparison, computed: Comparison) -> Iterator[str]:
    labels = {(score.metric, score.labels) for record in records for score in record.scores if not record.case.variant}
    metrics = Counter(metric for metric, _ in labels)
    for metric, count in metrics.items():
        if count > 1:
            yield f"the labels of its {metric} differ from case to case: all answer the same examples"


def _measured(records: Sequence[Record], claimed: Comparison, computed: Comparison) -> Iterator[str]:
    if not any(case.latency_seconds for case in computed.cases):
        why = next((f" ({record.reason})" for record in records if record.reason), "")
        yield f"nothing was measured in it{why}"


def _same_as_itself(records: Sequence[Record], claimed: Comparison, computed: Comparison) -> Iterator[str]:
    """The A/A check: the reference against its own twin."""
    ratio = computed.noise.aa_ratio
    if ratio is None:
        yield "it has no A/A check: the reference was not measured beside its own twin in two rounds"
    elif not ratio.low <= 1.0 <= ratio.high:
        yield (
            f"the A/A check failed: the reference differs from its own twin by {abs(ratio.mid - 1):.1%} "
            f"({ratio.low:.3f} to {ratio.high:.3f}). Measure again on a quieter machine"
        )


def _disjoint(records: Sequence[Record], claimed: Comparison, computed: Comparison) -> Iterator[str]:
    """Data that calibrate a build must not judge it."""
    data = next((record.dataset for record in records if record.dataset), None)
    calibration = next((record.calibration for record in records if record.calibration), None)
    if data is None or calibration is None:
        return
    shared = shared_rows(data, calibration)
    if data.sha256 == calibration.sha256 or shared:
        what = f"{shared} or more of the {calibration.count} rows of the" if shared else "the"
        yield (
            f"{what} calibration data ({calibration.id}) are evaluated too ({data.id}): "
            "a build that has seen the questions is not judged by them"
        )


def _peak(records: Sequence[Record], claimed: Comparison, computed: Comparison) -> Iterator[str]:
    """No case computes faster than the machine was seen to."""
    limits = _measured_limits(records)
    for case in computed.cases:
        rate, most = reached(case), allowed(case, limits)
        if rate and most and rate > most:
            yield (
                f"{case.case} at {case.shape.name} would compute {rate / 1e9:.3g} Gop/s, and the machine's measured "
                f"peak allows {most / 1e9:.3g}: it cannot have done the whole computation"
            )


def _measured_limits(records: Sequence[Record]) -> dict[str, Limits]:
    """By target, before any case is taken for the limit. Where others had the cores meanwhile, the product's CPU time
    tells what it would have reached without them."""
    found = {}
    limits = [record for record in records if record.case.is_limit]
    for target in dict.fromkeys(record.case.target for record in limits):
        mine = [record for record in limits if record.case.target == target]
        seen = roofline.limits_of(mine)
        rates = dict(seen.operations_per_second)
        for record in mine:
            alone = [rate for one in record.gauged if (rate := _alone(one)) is not None]
            if record.case.precision in rates and alone:
                rates[record.case.precision] = max(rates[record.case.precision], *alone)
        found[target] = msgspec.structs.replace(seen, operations_per_second=rates)
    return found


def _alone(gauged: Gauged) -> float | None:
    """Operations a second of a product whose threads never wait for a core; None of a GPU's, which tells no threads."""
    threads, burst = gauged.detail.get("threads"), gauged.burst
    if not isinstance(threads, int) or burst.cpu_ns <= 0:
        return None
    return gauged.amount * len(burst.wall_ns) * threads / burst.cpu_ns * 1e9


def allowed(case: CaseResult, limits: dict[str, Limits]) -> float | None:
    """The most operations a second that a case may reach: by the peaks in all precisions, as many numbers of its own as
    fit in the place of theirs. Its own peak alone may be too low: a library's product does not use every processor's
    instructions in every precision. None where none is known."""
    if case.executed is None or case.target not in limits or not case.multiply_adds:
        return None
    mine = BYTES.get(limit_of(case.executed.precision))
    if mine is None:
        return None
    peaks = limits[case.target].operations_per_second.items()
    bounds = [rate * BYTES[other] / mine for other, rate in peaks if other in BYTES]
    return BEYOND_PEAK * max(bounds) if bounds else None


def _cpu_time(records: Sequence[Record], claimed: Comparison, computed: Comparison) -> Iterator[str]:
    """No process computes on more processors than there are: times that were made shorter by hand show."""
    worst: dict[str, tuple[float, int]] = {}
    for record in records:
        for series in record.measurement.series if record.measurement else ():
            wall = sum(sum(burst.wall_ns) for burst in series.bursts)
            used = sum(burst.cpu_ns for burst in series.bursts) / wall if wall else 0.0
            place = f"{record.case.name} at {series.shape.name}"
            if used > max(BEYOND_CPU * record.host.cores, worst.get(place, (0.0, 0))[0]):
                worst[place] = (used, record.host.cores)
    for place, (used, cores) in worst.items():
        yield f"{place} would keep {used:.1f} processors busy, and the machine has {cores}: its times were not measured"


def _executed(records: Sequence[Record], claimed: Comparison, computed: Comparison) -> Iterator[str]:
    """A case under a label that it did not run."""
    ran = [
        (record.case, record.measurement.executed) for record in records if record.measurement and record.status == "ok"
    ]
    for case, executed in dict.fromkeys((case, one.precision) for case, one in ran if one):
        if why := mislabelled(case.precision, executed):
            yield f"{case.name}: {why}"


def _copied(records: Sequence[Record], claimed: Comparison, computed: Comparison) -> Iterator[str]:
    yield from copied_samples(records)


CHECKS: tuple[Check, ...] = (
    _measured,
    _scores,
    _labels,
    _disjoint,
    _executed,
    _copied,
    _same_as_itself,
    _cpu_time,
    _peak,
    _statistics,
)
