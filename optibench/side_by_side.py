"""Two runs of the same cases beside each other: pure functions of both runs' records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import cast

from optibench import comparison, plugins, stats
from optibench.measured import p50_seconds
from optibench.results import Comparison, Interval, Verdict
from optibench.samples import Samples, reference_of
from optibench.values import Case, ModelRef, Phase, Record, Score, Shape, Value

REPLAY_SCHEMA = 1
SAME = 1e-6
"""Figures that were computed from the same records differ by less, whatever library computed them."""


class Check(Value, frozen=True, kw_only=True):
    """One digest (or figure) that was held against what it should be."""

    what: str
    fine: bool
    said: str


class CasePair(Value, frozen=True, kw_only=True):
    """One case at one shape, then and now. ``ratio``: its speed-up now over that of then (over 1 is faster), by
    Welch's t over the rounds of both; ``score_change``: now - then on the same examples, paired."""

    case: str
    batch: int
    length: int
    phase: Phase = ""
    new_tokens: int = 0
    speedup_then: Interval | None
    speedup_now: Interval | None
    ratio: Interval | None
    verdict: Verdict
    reason: str | None = None
    latency_p50_seconds_then: float | None
    latency_p50_seconds_now: float | None
    metric: str | None = None
    score_then: float | None = None
    score_now: float | None = None
    score_change: Interval | None = None
    same_artifact: bool | None = None
    same_answers: bool | None = None

    @property
    def shape(self) -> Shape:
        """The shape that it was measured at."""
        return Shape(batch=self.batch, length=self.length, phase=self.phase, new_tokens=self.new_tokens)


class Replay(Value, frozen=True, kw_only=True):
    """replay.json: a run measured again. ``not_again``: cases of then that were not measured, with why."""

    schema: int = REPLAY_SCHEMA
    run: str
    model: ModelRef
    created_then: str
    created_now: str
    machine_changes: tuple[str, ...]
    software_changes: tuple[str, ...]
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    cases: tuple[CasePair, ...]
    not_again: dict[str, str] = {}


def pairs(then: Sequence[Record], now: Sequence[Record], cases: Sequence[Case]) -> Iterator[CasePair]:
    """Each of ``cases`` at each shape, with a verdict. Both runs have the same reference."""
    reference = reference_of(then)
    sampled = Samples(then), Samples(now)
    for case in cases:
        for shape in then[-1].workload.shapes:
            yield _pair(then, now, sampled, case, shape, reference)


def _pair(
    then: Sequence[Record],
    now: Sequence[Record],
    sampled: tuple[Samples, Samples],
    case: Case,
    shape: Shape,
    reference: Case | None,
) -> CasePair:
    old, new = (one.round_values(case, reference, shape) if reference else [] for one in sampled)
    broken = next((record for record in now if record.case == case and record.status != "ok"), None)
    ratio: Interval | None = None
    verdict: Verdict = "unknown"
    reason: str | None = None
    if broken:
        reason = f"{broken.status} now: {broken.reason}"
    elif case == reference:
        verdict = "reference"
    elif min(len(old), len(new)) < 2:
        reason = "too few undisturbed rounds: at least 2 are needed on both sides"
    else:
        low, mid, high = stats.welch_interval(new, old)
        ratio = Interval(low=math.exp(-high), mid=math.exp(-mid), high=math.exp(-low))
        verdict = cast(Verdict, stats.verdict(low, high))
    before, after = _judged(then, case), _judged(now, case)
    first, second = _score(before), _score(after)
    return CasePair(
        case=case.name,
        batch=shape.batch,
        length=shape.length,
        phase=shape.phase,
        new_tokens=shape.new_tokens,
        speedup_then=comparison.judged(old, 0)[0],
        speedup_now=None if broken else comparison.judged(new, 0)[0],
        ratio=ratio,
        verdict=verdict,
        reason=reason,
        latency_p50_seconds_then=p50_seconds(sampled[0].of(case, shape)),
        latency_p50_seconds_now=None if broken else p50_seconds(sampled[1].of(case, shape)),
        metric=first.metric if first else None,
        score_then=first.value if first else None,
        score_now=second.value if second else None,
        score_change=_score_change(before, after),
        same_artifact=_same(_artifact(then, case), _artifact(now, case)),
        same_answers=_same(_answers(before), _answers(after)),
    )


def _judged(records: Sequence[Record], case: Case) -> Record | None:
    return next((record for record in records if record.case == case and record.answers_sha256), None)


def _rows(record: Record) -> str | None:
    return record.dataset.sha256 if record.dataset else None


def _artifact(records: Sequence[Record], case: Case) -> str | None:
    return next((record.artifact.sha256 for record in records if record.case == case and record.artifact), None)


def _answers(record: Record | None) -> str | None:
    return record.answers_sha256 if record else None


def _score(record: Record | None) -> Score | None:
    return record.scores[0] if record and record.scores else None


def _same(a: str | None, b: str | None) -> bool | None:
    return a == b if a and b else None


def score_change(then: Sequence[Record], now: Sequence[Record], old: Case, new: Case) -> Interval | None:
    """The change of the score from a case of one run to a case of another, on the same examples, paired; None where
    the examples are not the same ones, or one was not judged."""
    return _score_change(_judged(then, old), _judged(now, new))


def _score_change(then: Record | None, now: Record | None) -> Interval | None:
    """None where the examples are not the same ones."""
    import numpy as np

    old, new = _score(then), _score(now)
    if then is None or now is None or old is None or new is None or old.metric != new.metric:
        return None
    if _rows(then) != _rows(now) or old.labels != new.labels or len(old.predictions) != len(new.predictions):
        return None
    low, mid, high = stats.paired_change(
        plugins.load("task", now.model.task).METRICS[new.metric],
        np.array(new.predictions),
        np.array(old.predictions),
        np.array(new.labels),
        seed=now.workload.seed,
    )
    return Interval(low=low, mid=mid, high=high)


def distrusted(then: Comparison | None, now: Comparison) -> Iterator[str]:
    """Why a verdict means nothing: a run whose reference differs from its own twin."""
    for when, one in (("then", then), ("now", now)):
        ratio = one.noise.aa_ratio if one else None
        if ratio and not ratio.low <= 1 <= ratio.high:
            yield (
                f"The A/A check of {when} failed: its reference and the twin differed by {abs(ratio.mid - 1):.1%}. "
                "Differences of that size mean nothing."
            )


def record_checks(records: Sequence[Record], found: Comparison | None) -> Iterator[Check]:
    """Whether what was kept agrees with itself: a number that was edited by hand does not follow from the rest."""
    import numpy as np

    wrong = []
    for record in records:
        metrics = plugins.load("task", record.model.task).METRICS
        for score in record.scores:
            if score.metric in metrics and score.predictions:
                value = float(metrics[score.metric](np.array([score.predictions]), np.array([score.labels]))[0])
                if abs(value - score.value) > SAME:
                    wrong.append(f"{record.case.name} ({score.metric} {score.value:g}, its answers give {value:g})")
    yield Check(
        what="scores",
        fine=not wrong,
        said="follow from the recorded answers" if not wrong else f"do not follow from the answers: {', '.join(wrong)}",
    )
    if found is None:
        yield Check(what="comparison.json", fine=False, said="missing: the run was not finished")
        return
    reference, sampled = reference_of(records), Samples(records)
    by_name = {record.case.name: record.case for record in records}
    differing = []
    for result in found.cases:
        case, shape = by_name.get(result.case), result.shape
        if case is None or reference in (None, case) or result.speedup is None:
            continue
        speedup = comparison.judged(sampled.round_values(case, reference, shape), 0)[0]
        if speedup is None or abs(speedup.mid / result.speedup.mid - 1) > SAME:
            differing.append(f"{result.case} at {shape.name}")
    said = f"does not follow from the records, so one was edited: {', '.join(differing)}"
    yield Check(what="comparison.json", fine=not differing, said=said if differing else "follows from the records")
