"""Both sides of a run of two, build by build: pure functions of records, as comparison.py's are."""

from __future__ import annotations

from collections.abc import Sequence

from optibench.comparison import judged, paired_scores
from optibench.plan import AGAINST, counterpart_of
from optibench.results import Interval, ScoreResult, Verdict
from optibench.samples import Samples
from optibench.values import Case, Record, Shape, Status, Value


class Pair(Value, frozen=True, kw_only=True):
    """One build at one shape on both sides.

    ``values`` is, a round, the log of this side's time over the other's (above 0: slower), each from bursts that lay
    next to each other. ``speedup`` is over the other side, with its 95% interval; ``verdict`` by the usual rule (2%).
    ``scores`` are this side's, with the other's as their ``reference`` and the paired interval of the change.
    ``status`` and ``reason`` are those of the side that did not run, if one did not; ``neither``: both could not.
    """

    case: str
    against: str
    shape: Shape
    status: Status = "ok"
    reason: str | None = None
    neither: bool = False
    values: tuple[float, ...] = ()
    speedup: Interval | None = None
    verdict: Verdict = "unknown"
    scores: tuple[ScoreResult, ...] = ()


def pairs_from_records(records: Sequence[Record]) -> list[Pair]:
    """Every build that both sides were to run, at every shape, in the records' order; [] for a run of one side."""
    found = []
    samples = Samples(records)
    for case in _paired(records):
        other = counterpart_of(case)
        broken = sorted((r for r in records if r.case in (case, other) and r.status != "ok"), key=_left_out)
        neither = {case, other} == {record.case for record in broken if not _left_out(record)}
        scores = paired_scores(records, case, other)
        for shape in records[-1].workload.shapes:
            values = samples.round_values(case, other, shape)
            speedup, verdict = judged(values, samples.least)
            found.append(
                Pair(
                    case=case.name,
                    against=other.name,
                    shape=shape,
                    status=broken[0].status if broken else "ok",
                    reason=f"{broken[0].case.name}: {broken[0].reason}" if broken else None,
                    neither=neither,
                    values=tuple(values),
                    speedup=speedup,
                    verdict=verdict,
                    scores=scores,
                )
            )
    return found


def open_pairs(records: Sequence[Record]) -> list[Case]:
    """The builds (by this side's case) that both sides run, and whose verdict at some shape still wants rounds."""
    workload = records[-1].workload
    dead = {record.case for record in records if record.status != "ok"}
    found = []
    samples = Samples(records)
    for case in _paired(records):
        if case in dead or counterpart_of(case) in dead:
            continue
        values = [samples.round_values(case, counterpart_of(case), shape) for shape in workload.shapes]
        if any(judged(v, samples.least)[1] == "unknown" and len(v) < workload.max_rounds for v in values):
            found.append(case)
    return found


def _paired(records: Sequence[Record]) -> list[Case]:
    """This side's case of each build of which the other side has a record."""
    other = {record.case for record in records if record.case.variant == AGAINST}
    mine = dict.fromkeys(record.case for record in records if not record.case.variant and not record.case.copy)
    return [case for case in mine if counterpart_of(case) in other]


def _left_out(record: Record) -> bool:
    """Whether it was built, and left out since the other side was not: then it is not the one to blame."""
    return record.status == "skipped" and record.artifact is not None
