"""Many runs of one model as trends: each case's speed-up from run to run, and where its level changed.

A run's value is the case's speed-up over the reference of the same run, so that a slower machine alone is no change.
"""

from __future__ import annotations

import fnmatch
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from optibench import changepoints, stats, store
from optibench.changes import run_changes
from optibench.errors import OptibenchError, unknown_name
from optibench.measured import Measured, measured_from_records, of_one_subject
from optibench.results import Interval
from optibench.runs import found_in, open_kept
from optibench.values import Phase, Shape, Value

HISTORY_SCHEMA = 1

Say = Callable[[str], None]


class SeenRun(Value, frozen=True, kw_only=True):
    """One run of the history, numbered by its time; ``changes``: what differs from the run before it."""

    number: int
    name: str
    created: str
    rounds: int
    changes: tuple[str, ...] = ()


class Point(Value, frozen=True, kw_only=True):
    """A case in one run; the speed-up is over the reference of that run."""

    run: int
    speedup: Interval
    latency_p50_seconds: float | None
    score: float | None
    artifact_sha256: str | None


class Change(Value, frozen=True, kw_only=True):
    """A new level from ``run`` on. ``ratio``: the speed-up after over that before (over 1 is faster), by Welch's t
    over runs; ``changed``: what else was new in that run."""

    run: int
    verdict: Literal["faster", "slower"]
    ratio: Interval
    before: Interval
    after: Interval
    runs_before: int
    runs_after: int
    changed: tuple[str, ...]


class Trend(Value, frozen=True, kw_only=True):
    """One case at one shape over the runs; ``note`` says why no change was looked for."""

    case: str
    batch: int
    length: int
    phase: Phase = ""
    new_tokens: int = 0
    metric: str | None
    points: tuple[Point, ...]
    changes: tuple[Change, ...] = ()
    note: str | None = None

    @property
    def shape(self) -> Shape:
        """The shape that it was measured at."""
        return Shape(batch=self.batch, length=self.length, phase=self.phase, new_tokens=self.new_tokens)


class LeftOut(Value, frozen=True, kw_only=True):
    """A run that does not belong here, or cannot be read."""

    name: str
    reason: str


class History(Value, frozen=True, kw_only=True):
    """Trends of one model. ``notes`` are remarks on the runs that are in it."""

    schema: int = HISTORY_SCHEMA
    model: str
    task: str
    reference: str
    runs: tuple[SeenRun, ...]
    trends: tuple[Trend, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def history_of(
    places: Sequence[Path], *, cases: str = "*", model: str | None = None, say: Say = lambda text: None
) -> History:
    """The history of the runs at ``places``: folders of runs, runs, bundles. ``cases`` is a pattern of case names
    (``cpu/openvino/*``); ``model`` picks one where there are several, by default the one with most runs.

    Error: no run that can be used, or no case of that name.
    """
    left_out: list[LeftOut] = []
    notes: list[str] = []
    measured = list(_measured(places, left_out, notes, say))
    chosen, others = of_one_subject(measured, model)
    left_out += [LeftOut(name=name, reason=reason) for name, reason in others.items()]
    if not chosen:
        reasons = " ".join(f"{one.name}: {one.reason}" for one in left_out[:5])
        more = f" And {len(left_out) - 5} more." if len(left_out) > 5 else ""
        raise OptibenchError(f"There is no run to make a history of. {reasons or 'No run was found.'}{more}")
    chosen.sort(key=lambda run: (run.created, run.name))
    found = {key: None for run in chosen for key in run.figures}
    wanted = [key for key in found if fnmatch.fnmatchcase(key[0], cases)]
    if not wanted:
        raise unknown_name("case", cases, {name for name, _ in found}, "--cases takes a pattern such as 'cpu/*/int8'.")
    trends = [_trend(chosen, name, shape) for name, shape in sorted(wanted)]
    return History(
        model=chosen[0].last.model.id,
        task=chosen[0].last.model.task,
        reference=chosen[0].reference.name,
        runs=tuple(_seen(chosen)),
        trends=tuple(trends),
        left_out=tuple(left_out),
        notes=(*notes, *_shared_changes(trends, chosen[0].reference.name)),
    )


def _measured(places: Sequence[Path], left_out: list[LeftOut], notes: list[str], say: Say) -> Iterator[Measured]:
    """Every run with a figure in it; the others go to ``left_out`` with the reason."""
    told: dict[str, Path] = {}
    paths = list(found_in(places))
    say(f"reading runs: {len(paths)}")
    for path in paths:
        try:
            kept = open_kept(path)
            digest = hashlib.sha256(kept.files.get(store.RECORDS, b"")).hexdigest()
            if digest in told:
                raise OptibenchError(f"it is the same run as {told[digest]}, counted once.")
            records, torn = kept.records()
            run = measured_from_records(str(path), records)
        except OptibenchError as error:
            left_out.append(LeftOut(name=str(path), reason=str(error)))
            continue
        told[digest] = path
        notes.extend(torn)
        if store.COMPARISON not in kept.files:
            rounds = len({r.round for r in records if r.measurement})
            notes.append(f"{path} was not finished: the rounds that it has ({rounds}) are used.")
        yield run


def _seen(runs: Sequence[Measured]) -> Iterator[SeenRun]:
    for number, run in enumerate(runs, 1):
        before = runs[number - 2] if number > 1 else None
        yield SeenRun(
            number=number,
            name=run.name,
            created=run.created.isoformat(timespec="seconds"),
            rounds=run.rounds,
            changes=run_changes(before.last, run.last) if before else (),
        )


def _trend(runs: Sequence[Measured], name: str, shape: Shape) -> Trend:
    """One case's trend. What changed beside a new level is told against the case's run before, whichever that was."""
    having = [(number, run) for number, run in enumerate(runs, 1) if (name, shape) in run.figures]
    figures = [run.figures[name, shape] for _, run in having]
    changes: list[Change] = []
    note = None
    if name == runs[0].reference.name:
        note = "the reference: its latency follows the machine, and no change is looked for in it"
    elif len(figures) < changepoints.MIN_RUNS:
        note = (
            f"no change is looked for in {len(figures)} of the {changepoints.MIN_RUNS} runs that tell a step from noise"
        )
    else:
        values = [math.log(one.speedup.mid) for one in figures]
        found = changepoints.change_points(values)
        for index, at in enumerate(found):
            before, after = changepoints.levels_beside(values, found, index)
            changed = run_changes(having[at - 1][1].last, having[at][1].last)
            old, new = figures[at - 1].artifact_sha256, figures[at].artifact_sha256
            if old != new and old and new:
                changed = (*changed, f"artifact {old[:12]} -> {new[:12]}")
            changes.append(_change(having[at][0], before, after, changed))
    return Trend(
        case=name,
        batch=shape.batch,
        length=shape.length,
        phase=shape.phase,
        new_tokens=shape.new_tokens,
        metric=next((one.metric for one in reversed(figures) if one.metric), None),
        points=tuple(
            Point(
                run=number,
                speedup=one.speedup,
                latency_p50_seconds=one.latency_p50_seconds,
                score=one.score,
                artifact_sha256=one.artifact_sha256,
            )
            for (number, _), one in zip(having, figures, strict=True)
        ),
        changes=tuple(changes),
        note=note,
    )


def _change(run: int, before: Sequence[float], after: Sequence[float], changed: tuple[str, ...]) -> Change:
    ratio = _exp(stats.welch_interval(after, before, trimmed=0.0))
    return Change(
        run=run,
        verdict="faster" if ratio.mid > 1 else "slower",
        ratio=ratio,
        before=_exp(stats.mean_interval(before)),
        after=_exp(stats.mean_interval(after)),
        runs_before=len(before),
        runs_after=len(after),
        changed=changed,
    )


def _exp(interval: tuple[float, float, float]) -> Interval:
    low, mid, high = (math.exp(value) for value in interval)
    return Interval(low=low, mid=mid, high=high)


def _shared_changes(trends: Sequence[Trend], reference: str) -> Iterator[str]:
    """Where every case changed alike, the reference is the likelier cause: all speed-ups are over it."""
    others = [trend for trend in trends if trend.case != reference]
    for number in sorted({change.run for trend in others for change in trend.changes}):
        at = [change.verdict for trend in others for change in trend.changes if change.run == number]
        having = [trend for trend in others if any(point.run == number for point in trend.points)]
        if len(having) > 1 and len(at) == len(having) and len(set(at)) == 1:
            other = "faster" if at[0] == "slower" else "slower"
            yield (
                f"Every case became {at[0]} at run {number}. All are measured against {reference}: look there first, "
                f"it may have become {other}."
            )
