"""Two kept runs held against each other, whatever they are of: two models, machines, commits or versions.

What changed is told, each case that both measured is compared, and what cannot be compared is named with the reason.
Pure functions of both runs' records; docs/reports.md says by which rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import cast

from optibench import __version__, baseline, changes, comparable, side_by_side, stats
from optibench.difference_values import Basis, CaseDifference, Difference, NotCompared, Quantity, RunSide, Verdict
from optibench.errors import OptibenchError
from optibench.reported import Reported
from optibench.results import CaseResult, Comparison, Interval
from optibench.samples import Samples, builds, reference_of, untwinned
from optibench.values import Case, Record, Shape


def difference(names: tuple[str, str], a: Reported, b: Reported, warnings: Sequence[str] = ()) -> Difference:
    """B against A; ``names`` are what the user called them. Error: a run in which nothing was measured."""
    first, second = (_measured(name, run) for name, run in zip(names, (a, b), strict=True))
    last_a, last_b = (next(r for r in reversed(records) if not r.case.variant) for records in (first, second))
    basis, reason = _basis(last_a, last_b)
    common, left_out = _common(a.comparison, b.comparison)
    sampled = Samples(first), Samples(second)
    return Difference(
        optibench_version=__version__,
        a=_side(names[0], a.comparison),
        b=_side(names[1], b.comparison),
        basis=basis,
        basis_reason=reason,
        changes=(*_subject_changes(a.comparison, b.comparison), *changes.run_changes(last_a, last_b)),
        cases=tuple(_case(one, other, first, second, sampled, basis) for one, other in common),
        not_compared=(*_whole(a.comparison, b.comparison, last_a, last_b), *left_out),
        warnings=(*warnings, *_distrusted(a.comparison, b.comparison), *_pace(first, second, sampled, basis)),
    )


def _measured(name: str, run: Reported) -> list[Record]:
    records = builds(run.records)
    if not any(record.measurement for record in records):
        why = next((record.reason for record in records if record.reason), None)
        raise OptibenchError(
            f"Nothing was measured in {name}{f' ({why})' if why else ''}, so there is nothing to compare. "
            "Give a run in which cases ran; optibench report shows what became of this one."
        )
    return records


def _side(name: str, comparison: Comparison) -> RunSide:
    host = comparison.host
    return RunSide(
        run=name,
        model=comparison.model,
        created=comparison.created,
        optibench_version=comparison.optibench_version,
        machine=", ".join((host.cpu_model, f"{len(host.affinity)} cores used", *host.gpus)),
        reference=comparison.reference,
        tier=comparison.workload.tier,
        rounds=comparison.workload.rounds,
        recommended=comparison.recommended.case if comparison.recommended else None,
    )


def _basis(a: Record, b: Record) -> tuple[Basis, str]:
    """Speed-ups over the reference tell a change of a build from a change of the machine, as long as the reference is
    the same thing on the same kind of machine. Else the clock is all that both have in common."""
    machines = comparable.hardware_differences(
        baseline.hardware_of(b.host, b.threads), baseline.hardware_of(a.host, a.threads)
    )
    if machines:
        return "clock", "The machines differ, so latencies are compared: what a user of either would wait."
    if a.model.id != b.model.id and a.model.weights_sha256 != b.model.weights_sha256:
        return "clock", (
            "The models differ, and with them the references, so latencies are compared. The runs lie apart in "
            "time: a machine at another pace would show as a difference. Both in one run: "
            "optibench gate MODEL --against OTHER."
        )
    return "reference", (
        "The same model on the same kind of machine: each case's speed-up over the reference of its own run is "
        "compared, so a slower machine alone is no difference."
    )


def _subject_changes(a: Comparison, b: Comparison) -> Iterator[str]:
    yield from changes.changed("model id", a.model.id, b.model.id)
    yield from changes.changed("task", a.model.task, b.model.task)
    yield from changes.changed("weights", a.model.weights_sha256[:12], b.model.weights_sha256[:12])
    yield from changes.changed("optibench", a.optibench_version, b.optibench_version)
    yield from changes.changed("reference", a.reference, b.reference)
    for name in ("dataset", "calibration"):
        old, new = (getattr(one.workload, name) for one in (a, b))
        shown = (
            f"{data.id} ({data.count} examples, sha256 {data.sha256[:12]})" if data else None for data in (old, new)
        )
        yield from changes.changed(f"{name} data" if name == "calibration" else name, *shown)
    yield from changes.changed("seed", a.workload.seed, b.workload.seed)
    yield from changes.changed("accuracy floor", a.workload.accuracy_floor, b.workload.accuracy_floor)


def _common(a: Comparison, b: Comparison) -> tuple[list[tuple[CaseResult, CaseResult]], list[NotCompared]]:
    """The cases that ran in both runs at the same shape, and why each other one is left out."""
    ours, theirs = ({(case.case, case.shape.name): case for case in one.cases} for one in (a, b))
    common, left_out = [], []
    for key in dict.fromkeys((*ours, *theirs)):
        mine, other = ours.get(key), theirs.get(key)
        name = f"{key[0]} at {key[1].replace('x', '×')}"
        if mine and other and mine.status == other.status == "ok":
            common.append((mine, other))
        elif mine is None or other is None:
            only = "A" if other is None else "B"
            left_out.append(NotCompared(what=name, reason=f"only {only} has this case and shape"))
        elif mine.status == other.status:
            left_out.append(NotCompared(what=name, reason=f"{mine.status} in both: {other.reason}"))
        else:
            broken = [(side, one) for side, one in (("A", mine), ("B", other)) if one.status != "ok"]
            said = "; ".join(f"{one.status} in {side}: {one.reason}" for side, one in broken)
            left_out.append(NotCompared(what=name, reason=said))
    return common, _grouped(left_out)


def _grouped(found: Sequence[NotCompared]) -> list[NotCompared]:
    """One line a reason."""
    by_reason: dict[str, list[str]] = {}
    for one in found:
        by_reason.setdefault(one.reason, []).append(one.what)
    return [NotCompared(what=", ".join(names), reason=reason) for reason, names in by_reason.items()]


def _whole(a: Comparison, b: Comparison, last_a: Record, last_b: Record) -> Iterator[NotCompared]:
    """What cannot be compared of any case."""
    old, new = a.workload.dataset, b.workload.dataset
    if (old or new) and (old is None or new is None or old.sha256 != new.sha256):
        side = "A" if old is None else "B" if new is None else None
        why = f"{side} was judged by no data" if side else "the runs were judged by other data"
        yield NotCompared(what="scores", reason=f"{why}: they stand beside each other without a verdict")
    runtimes = (getattr(one.host, "packages", {}) for one in (last_a, last_b))
    reference = a.reference.partition("/")[2].partition("/")[0] if a.reference and a.reference == b.reference else None
    if reference:
        from optibench import plugins

        names = getattr(plugins.load("backend", reference), "RUNTIME", ())
        of_a, of_b = ({name: packages.get(name, "none") for name in names} for packages in runtimes)
        if moved := changes.package_changes(of_a, of_b):
            yield NotCompared(
                what="changes of the reference itself",
                reason=f"{', '.join(moved)}, which runs the reference: it may have become faster or slower too",
            )


def _distrusted(a: Comparison, b: Comparison) -> Iterator[str]:
    for text in side_by_side.distrusted(a, b):
        yield text.replace("of then failed", "of A failed").replace("of now failed", "of B failed")
    if "quick" in (a.workload.tier, b.workload.tier):
        yield "At least one run is a quick one: its intervals are wide, and it is not for ranking."


def _pace(
    first: Sequence[Record], second: Sequence[Record], sampled: tuple[Samples, Samples], basis: Basis
) -> Iterator[str]:
    """Builds do not all slow down alike where the machine is at another pace (docs/method.md, slow blocks)."""
    reference = reference_of(first)
    if basis != "reference" or reference is None or reference_of(second) != reference:
        return
    for shape in first[-1].workload.shapes:
        logs = [_log_seconds(one, reference, shape) for one in sampled]
        if all(logs):
            moved = stats.mean_interval(logs[1])[1] - stats.mean_interval(logs[0])[1]
            if abs(moved) > stats.PACE:
                yield (
                    f"The reference took {math.exp(moved):.2f} times as long in B: the machine was at another pace, "
                    "which slows some builds more than others."
                )
                return


# One case


def _case(
    a: CaseResult,
    b: CaseResult,
    first: Sequence[Record],
    second: Sequence[Record],
    sampled: tuple[Samples, Samples],
    basis: Basis,
) -> CaseDifference:
    mine, theirs = (_case_of(records, one) for records, one in ((first, a), (second, b)))
    found = [
        _latency(
            a, b, [_log_seconds(one, case, a.shape) for one, case in zip(sampled, (mine, theirs), strict=True)], basis
        ),
        _speedup(
            a,
            b,
            [_log_ratios(r, s, c, a.shape) for r, s, c in zip((first, second), sampled, (mine, theirs), strict=True)],
            basis,
        ),
        _score(a, b, first, second, mine, theirs),
        _size(a, b),
        _memory(a, b, [_peaks(records, case, a.shape) for records, case in ((first, mine), (second, theirs))]),
    ]
    quantities = tuple(quantity for quantity in found if quantity)
    leading = next((q for q in quantities if q.name == ("speedup" if basis == "reference" else "latency")), None)
    same = a.artifact_sha256 == b.artifact_sha256 if a.artifact_sha256 and b.artifact_sha256 else None
    return CaseDifference(
        case=a.case,
        shape=a.shape.name,
        verdict=leading.verdict if leading else "unknown",
        quantities=quantities,
        same_artifact=same,
    )


def _case_of(records: Sequence[Record], result: CaseResult) -> Case:
    return next(untwinned(record.case) for record in records if untwinned(record.case).name == result.case)


def _log_seconds(sampled: Samples, case: Case, shape: Shape) -> list[float]:
    """The log of each round's median undisturbed call."""
    import numpy as np

    found = []
    for one in sampled.of(case, shape).values():
        calls = [ns for burst, kept in zip(one.bursts, one.kept, strict=True) if kept for ns in burst.wall_ns]
        if calls:
            found.append(math.log(float(np.median(calls)) / 1e9))
    return found


def _log_ratios(records: Sequence[Record], sampled: Samples, case: Case, shape: Shape) -> list[float]:
    """Each round's log of the case's time over the reference's."""
    reference = reference_of(records)
    return sampled.round_values(case, reference, shape) if reference and reference != case else []


TOO_FEW = "too few undisturbed rounds: at least 2 are needed in both runs"


def _welch(values: Sequence[float], base: Sequence[float]) -> tuple[float, float, float] | None:
    """The interval of a difference of logs; None where there are too few rounds for one."""
    if min(len(values), len(base)) < 2:
        return None
    found = stats.welch_interval(values, base)
    return found if all(map(math.isfinite, found)) else None


def _exp(low: float, mid: float, high: float) -> Interval:
    return Interval(low=math.exp(low), mid=math.exp(mid), high=math.exp(high))


def _latency(a: CaseResult, b: CaseResult, logs: Sequence[Sequence[float]], basis: Basis) -> Quantity:
    found = _welch(logs[1], logs[0])
    verdict: Verdict = "unknown"
    reason = None if found else TOO_FEW
    if basis == "reference":
        reason = "judged by the speed-up: the machine's pace is in both latencies"
    elif found:
        verdict = cast(Verdict, stats.verdict(found[0], found[2]))
    p50 = (one.latency_seconds.p50 if one.latency_seconds else None for one in (a, b))
    old, new = p50
    return Quantity(
        name="latency",
        unit="seconds",
        a=old,
        b=new,
        change=_exp(*found) if found else None,
        verdict=verdict,
        reason=reason,
    )


def _speedup(a: CaseResult, b: CaseResult, logs: Sequence[Sequence[float]], basis: Basis) -> Quantity | None:
    if a.verdict == "reference" or b.verdict == "reference":
        return Quantity(name="speedup", unit="ratio", a=1.0, b=1.0, verdict="reference")
    if a.speedup is None and b.speedup is None:
        return None
    found = _welch(logs[1], logs[0])
    verdict: Verdict = "unknown"
    reason = None if found else TOO_FEW
    change = None
    if found:
        low, mid, high = found  # of times over the reference's: a speed-up is the inverse
        change = _exp(-high, -mid, -low)
        if basis == "reference":
            verdict = cast(Verdict, stats.verdict(low, high))
        else:
            reason = "each is over the reference of its own model and machine"
    old, new = (one.speedup.mid if one.speedup else None for one in (a, b))
    return Quantity(name="speedup", unit="ratio", a=old, b=new, change=change, verdict=verdict, reason=reason)


def _score(
    a: CaseResult, b: CaseResult, first: Sequence[Record], second: Sequence[Record], mine: Case, theirs: Case
) -> Quantity | None:
    if not a.scores and not b.scores:
        return None
    old, new = (one.scores[0] if one.scores else None for one in (a, b))
    metric = (new or old).metric  # type: ignore[union-attr]
    change = side_by_side.score_change(first, second, mine, theirs)
    verdict: Verdict = "unknown"
    reason: str | None = None
    if old is None or new is None or old.metric != new.metric:
        reason = "the runs have no metric in common"
    elif change is None:
        reason = "other data: the scores are of different examples"
    elif change.low > 0 or change.high < 0:
        verdict = "better" if change.low > 0 else "worse"
    elif change.low == change.high == 0:
        verdict = "same"
    else:
        reason = "too few examples to tell"
    return Quantity(
        name="score",
        unit=metric,
        a=old.value if old else None,
        b=new.value if new else None,
        change=change,
        verdict=verdict,
        reason=reason,
    )


def _size(a: CaseResult, b: CaseResult) -> Quantity | None:
    """Sizes are exact: their interval is a point."""
    old, new = a.artifact_bytes, b.artifact_bytes
    if not old or not new:
        return None
    ratio = new / old
    return Quantity(
        name="size",
        unit="bytes",
        a=old,
        b=new,
        change=Interval(low=ratio, mid=ratio, high=ratio),
        verdict=_grown(ratio, ratio),
    )


def _memory(a: CaseResult, b: CaseResult, peaks: Sequence[Sequence[float]]) -> Quantity | None:
    old, new = a.peak_memory_bytes, b.peak_memory_bytes
    if not old or not new:
        return None
    found = _welch(peaks[1], peaks[0])
    change = _exp(*found) if found else None
    return Quantity(
        name="memory",
        unit="bytes",
        a=old,
        b=new,
        change=change,
        verdict=_grown(change.low, change.high) if change else "unknown",
        reason=None if change else TOO_FEW,
    )


def _peaks(records: Sequence[Record], case: Case, shape: Shape) -> list[float]:
    """The log of each process's peak."""
    series = [s for r in records if r.case == case and r.measurement for s in r.measurement.series if s.shape == shape]
    return [math.log(one.peak_bytes) for one in series if one.peak_bytes > 0]


def _grown(low: float, high: float) -> Verdict:
    """By the floor that every verdict here has."""
    if low > 1 + stats.FLOOR:
        return "larger"
    if high < 1 / (1 + stats.FLOOR):
        return "smaller"
    return "same" if low > 1 / (1 + stats.FLOOR) and high < 1 + stats.FLOOR else "unknown"
