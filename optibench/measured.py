"""A run as far as a trend needs it: its cases' figures, with the raw samples let go of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from optibench import comparison, samples
from optibench.errors import OptibenchError, unknown_name
from optibench.results import Interval
from optibench.values import Case, Record, Shape


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a run says of one case at one shape; the speed-up is over the reference of that run."""

    speedup: Interval
    latency_p50_seconds: float | None
    metric: str | None
    score: float | None
    artifact_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run; ``last`` is its last record that was measured, which tells model, workload and machine."""

    name: str
    created: datetime
    rounds: int
    last: Record
    reference: Case
    figures: dict[tuple[str, Shape], Figures]

    @property
    def subject(self) -> tuple[str, str, str]:
        """What a speed-up is of: runs that differ in it cannot be held against each other."""
        return self.last.model.id, self.last.model.task, self.reference.name

    @property
    def shapes(self) -> set[Shape]:
        """The shapes that were measured."""
        return {shape for _, shape in self.figures}


def measured_from_records(name: str, records: Sequence[Record]) -> Measured:
    """A run's figures. Error: it has none, with why."""
    records = samples.builds(records)
    reference = samples.reference_of(records)
    measured = [record for record in records if record.measurement]
    if not measured:
        why = next((record.reason for record in records if record.reason), None)
        raise OptibenchError(f"nothing was measured in it{f' ({why})' if why else ''}.")
    if reference is None:
        raise OptibenchError("its reference was not measured, so there is no speed-up.")
    figures = dict(_figures(records, reference))
    if not figures:
        raise OptibenchError("it has too few undisturbed rounds for a speed-up: at least 2 are needed.")
    try:
        created = datetime.fromisoformat(min(record.created for record in records))
    except ValueError as error:
        raise OptibenchError("its records do not say when they were made.") from error
    return Measured(
        name=name,
        created=created if created.tzinfo else created.replace(tzinfo=UTC),
        rounds=len({record.round for record in measured}),
        last=measured[-1],
        reference=reference,
        figures=figures,
    )


def _figures(records: Sequence[Record], reference: Case) -> Iterator[tuple[tuple[str, Shape], Figures]]:
    broken = {record.case for record in records if record.status != "ok"}
    cases = [case for case in dict.fromkeys(r.case for r in records) if not case.copy and case not in broken]
    sampled = samples.Samples(records)
    for shape in records[-1].workload.shapes:
        for case in cases:
            speedup = comparison.judged(sampled.round_values(case, reference, shape), 0)[0]
            if speedup is None:
                continue
            score = next((r.scores[0] for r in records if r.case == case and r.scores), None)
            yield (
                (case.name, shape),
                Figures(
                    speedup=speedup,
                    latency_p50_seconds=p50_seconds(sampled.of(case, shape)),
                    metric=score.metric if score else None,
                    score=score.value if score else None,
                    artifact_sha256=next((r.artifact.sha256 for r in records if r.case == case and r.artifact), None),
                ),
            )


def p50_seconds(rounds: samples.Rounds) -> float | None:
    """The median undisturbed call."""
    import numpy as np

    calls = [
        ns
        for s in rounds.values()
        for burst, kept in zip(s.bursts, s.kept, strict=True)
        if kept
        for ns in burst.wall_ns
    ]
    return float(np.median(calls)) / 1e9 if calls else None


def of_one_subject(runs: Sequence[Measured], model: str | None) -> tuple[list[Measured], dict[str, str]]:
    """The runs of one model, task and reference, and why each other run is left out, by name.

    One: that of most runs (of the latest, among equals), or of ``model``. A run that shares no shape with what is
    usual among them is of another workload. Error: no run is of ``model``.
    """
    known = {run.last.model.id for run in runs}
    if model is not None and model not in known:
        raise unknown_name("model", model, known, "--model takes a model of these runs.")
    latest = sorted(runs, key=lambda run: run.created, reverse=True)  # Counter keeps this order among equals
    counts = Counter(run.subject for run in latest if model in (None, run.last.model.id))
    if not counts:
        return [], {}
    subject = counts.most_common(1)[0][0]
    same = [run for run in latest if run.subject == subject]
    usual = set(Counter(tuple(sorted(run.shapes)) for run in same).most_common(1)[0][0])
    kept, others = [], {}
    for run in runs:
        if run.subject != subject:
            name, task, reference = run.subject
            others[run.name] = f"another model or reference: {name} ({task}), over {reference}."
        elif not run.shapes & usual:
            others[run.name] = f"another workload: shapes {', '.join(shape.name for shape in sorted(run.shapes))}."
        else:
            kept.append(run)
    return kept, others
