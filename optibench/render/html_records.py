"""What a row of the page's table opens: the record of a case at a shape, down to its raw samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from optibench.render import details
from optibench.render.columns import executed_text, mark, shape_text, shown_cases
from optibench.render.units import NONE, bytes_text, counted, seconds_text, share_text
from optibench.reported import Reported
from optibench.results import CaseResult
from optibench.samples import Rounds, Samples
from optibench.values import Record

Facts = list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class RoundView:
    """One process's calls. ``samples``: microseconds of each call, bursts divided by a bar, those that were left out
    in brackets; ``told`` says how many of how many stand there."""

    title: str
    told: str
    samples: str


@dataclass(frozen=True, kw_only=True)
class RecordView:
    """A case at a shape. ``facts`` are of the result, ``artifact`` and ``recipe`` of the build it is of."""

    number: int
    title: str
    mark: str
    facts: Facts
    artifact: Facts
    recipe: Facts
    notes: tuple[str, ...]
    rounds: tuple[RoundView, ...]


def record_views(run: Reported, most_samples: int) -> list[RecordView]:
    """A view for each row of the table, in its order, with ``most_samples`` raw samples over all."""
    cases = shown_cases(run.comparison)
    of_case: dict[str, list[Record]] = defaultdict(list)
    for record in run.records:
        of_case[record.case.name].append(record)
    sampled = Samples(run.records) if run.records else None
    share = most_samples // max(1, len(cases))
    views = []
    for number, case in enumerate(cases, 1):
        records = of_case[case.case]
        rounds = sampled.of(records[0].case, case.shape) if sampled and records else {}
        views.append(_view(number, case, records, rounds, share))
    return views


def _view(number: int, case: CaseResult, records: Sequence[Record], rounds: Rounds, share: int) -> RecordView:
    artifact = next((record.artifact for record in reversed(records) if record.artifact), None)
    answers = next((record.answers_sha256 for record in records if record.answers_sha256), None)
    facts = [("verdict", mark(case)), *([("reason", case.reason)] if case.reason else [])]
    if case.latency_seconds:
        quantiles = case.latency_seconds
        named = (("p50", quantiles.p50), ("p90", quantiles.p90), ("p99", quantiles.p99))
        facts.append(("latency", ", ".join(f"{name} {seconds_text(value)}" for name, value in named)))
        facts += zip(details.TIMES[1:], details.times(case)[1:], strict=True)
        facts += [
            (title, text) for title, text in zip(details.OUTPUTS, details.outputs(case), strict=True) if text != NONE
        ]
        facts.append(("peak memory", bytes_text(case.peak_memory_bytes)))
    if case.executed:
        facts.append(("executed", executed_text(case.executed)))
        facts.append(("operations", details.operations(case)))
        facts += [(f"executed: {name}", _json(value)) for name, value in case.executed.detail.items()]
    if answers:
        facts.append(("answers sha256", answers))
    built: Facts = []
    if artifact:
        built = [
            ("format", artifact.format),
            ("size", bytes_text(artifact.bytes)),
            ("sha256", artifact.sha256),
            ("made from", artifact.parent_sha256 or NONE),
            ("build", details.phases(case.build_seconds)),
            ("tools", ", ".join(f"{name} {version}" for name, version in sorted(artifact.tools.items())) or NONE),
        ]
    elif case.artifact_sha256:
        built = [("sha256", case.artifact_sha256), ("size", bytes_text(case.artifact_bytes))]
    return RecordView(
        number=number,
        title=f"{case.case} at {shape_text(case)}",
        mark=mark(case),
        facts=facts,
        artifact=built,
        recipe=[(name, _json(value)) for name, value in artifact.recipe.items()] if artifact else [],
        notes=case.notes,
        rounds=_rounds(rounds, share),
    )


def _rounds(rounds: Rounds, share: int) -> tuple[RoundView, ...]:
    views = []
    for (number, group), sampled in rounds.items():
        calls = sum(len(burst.wall_ns) for burst in sampled.bursts)
        left_out = sum(not kept for kept in sampled.kept)
        room, parts = share // max(1, len(rounds)), []
        shown = 0
        for burst, kept in zip(sampled.bursts, sampled.kept, strict=True):
            if shown + len(burst.wall_ns) > room:
                break
            text = " ".join(f"{wall / 1e3:.5g}" if wall < 1e8 else f"{wall / 1e3:.0f}" for wall in burst.wall_ns)
            parts.append(text if kept else f"({text})")
            shown += len(burst.wall_ns)
        told = (
            "all calls"
            if shown == calls
            else f"the first {shown:,} of {counted(calls, 'call')}; all are in records.jsonl"
        )
        views.append(
            RoundView(
                title=f"Round {number}{f', group {group}' if group else ''}: {counted(len(sampled.bursts), 'burst')}, "
                f"{left_out} left out ({share_text(left_out / max(1, len(sampled.bursts)))})",
                told=told,
                samples=" | ".join(parts),
            )
        )
    return tuple(views)


def _json(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
