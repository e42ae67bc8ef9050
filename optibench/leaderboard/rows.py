"""The rows of a board: from what submissions measured, and of several submissions of one case one row.

A row is one case at one shape. The rule for merging (docs/leaderboard.md has it in words): nothing is averaged, so
every figure on a board belongs to one run that can be opened.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from optibench import plugins
from optibench.errors import OptibenchError
from optibench.leaderboard.submission import Submission
from optibench.results import CaseResult, Comparison
from optibench.values import Host, Value

BOARD_SCHEMA = 1
DEFAULT_FLOOR = 0.99


class Row(Value, frozen=True, kw_only=True):
    """One case at one shape. ``submissions`` runs measured it, whose p50 lie from ``p50_seconds_least`` to ``_most``;
    all other figures are of the run ``submission``."""

    id: str
    """Of the record: the submission's id and the case's place in it."""
    submission: str
    task: str
    model: str
    revision: str
    weights_sha256: str
    hardware: str
    target: str
    backend: str
    precision: str
    runtime: str
    """The packages that ran it, with versions."""
    batch: int
    length: int
    threads: int
    tier: Literal["official", "quick"]
    verified_by: str | None
    """Whose key signed the submission, of the keys that the board trusts."""
    p50_seconds: float
    p99_seconds: float | None
    per_second: float
    """Rows of the batch, in one stream of calls."""
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    verdict: str
    metric: str | None
    score: float | None
    reference_score: float | None
    kept: float | None
    """The score as a share of the reference's; None where there is no score, or the reference's is 0 or less."""
    dataset: str | None
    artifact_bytes: int | None
    peak_memory_bytes: int | None
    peak_share: float | None
    created: str
    submissions: int = 1
    others: tuple[str, ...] = ()
    """Ids of the other records of this case."""
    p50_seconds_least: float
    p50_seconds_most: float


class Entry(Value, frozen=True, kw_only=True):
    """A submission on the board: who, of what, and its whole comparison. ``unchecked``: what could not be checked."""

    id: str
    verified_by: str | None
    comparison: Comparison
    threads: int
    unchecked: tuple[str, ...] = ()


class Board(Value, frozen=True, kw_only=True):
    """What a site shows. The same submissions always give the same board: ``updated`` is the newest one's time."""

    schema: int = BOARD_SCHEMA
    updated: str
    rows: tuple[Row, ...]


def entry_of(submission: Submission, computed: Comparison, verified_by: str | None, notes: Sequence[str]) -> Entry:
    """A submission that was checked, without its samples."""
    return Entry(
        id=submission.id,
        verified_by=verified_by,
        comparison=computed,
        threads=submission.records[-1].threads,
        unchecked=tuple(notes),
    )


def rows_of(entry: Entry) -> Iterator[Row]:
    """The rows of one submission: its measured cases, of what the run is about."""
    for number, case in enumerate(entry.comparison.cases):
        if case.status == "ok" and not case.variant and case.latency_seconds and case.latency_seconds.p50:
            yield _row(entry, number, case, case.latency_seconds.p50, case.latency_seconds.p99)


def _row(entry: Entry, number: int, case: CaseResult, p50: float, p99: float | None) -> Row:
    found = entry.comparison
    speedup = case.speedup
    score = case.scores[0] if case.scores else None
    gpu = found.gpus.get(case.target)
    return Row(
        id=f"{entry.id}-{number}",
        submission=entry.id,
        task=found.model.task,
        model=found.model.id,
        revision=found.model.revision,
        weights_sha256=found.model.weights_sha256,
        hardware=gpu.name if gpu else f"{cpu_name(found.host.cpu_model)}, {_cores(entry.threads)}",
        target=case.target,
        backend=case.backend,
        precision=case.precision,
        runtime=runtime_of(case.backend, found.host),
        batch=case.batch,
        length=case.length,
        threads=entry.threads,
        tier=found.workload.tier,
        verified_by=entry.verified_by,
        p50_seconds=p50,
        p99_seconds=p99,
        per_second=case.batch / p50,
        speedup=speedup.mid if speedup else None,
        speedup_low=speedup.low if speedup else None,
        speedup_high=speedup.high if speedup else None,
        verdict=case.verdict,
        metric=score.metric if score else None,
        score=score.value if score else None,
        reference_score=score.reference if score else None,
        kept=score.value / score.reference if score and score.reference > 0 else None,
        dataset=found.workload.dataset.id if found.workload.dataset else None,
        artifact_bytes=case.artifact_bytes,
        peak_memory_bytes=case.peak_memory_bytes,
        peak_share=case.peak_share,
        created=found.created,
        p50_seconds_least=p50,
        p50_seconds_most=p50,
    )


def cpu_name(model: str) -> str:
    """A processor's name without trade marks and clock: "Intel Xeon Platinum 8481C"."""
    return (
        " ".join(re.sub(r"\((?:R|TM|C)\)|\bCPU\b|@.*$", " ", model, flags=re.IGNORECASE).split()) or "unknown processor"
    )


def _cores(count: int) -> str:
    return f"{count} core{'' if count == 1 else 's'}"


def runtime_of(backend: str, host: Host) -> str:
    """The backend's packages with their versions, as far as the host's list names them: "openvino 2026.4.1"."""
    try:
        names: Sequence[str] = getattr(plugins.load("backend", backend), "RUNTIME", ())
    except OptibenchError:  # a stranger's plugin, which is not installed where the board is made
        names = (backend,)
    return ", ".join(f"{name} {host.packages[name]}" for name in names if name in host.packages)


def merged(rows: Iterable[Row]) -> list[Row]:
    """One row a case. Of several submissions the one with the median p50 stands for all (of an even number the slower
    of the two in the middle, so that nobody gains by submitting often); if any is verified, verified ones alone
    count."""
    cases: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        cases[_case(row)].append(row)
    return [_merged(found) for found in cases.values()]


def _case(row: Row) -> tuple[Any, ...]:
    """What must be equal in two rows of one case: the weights and not what they are called, the data, the hardware,
    the build and its runtime, the shape, and the tier."""
    return (
        *(row.task, row.weights_sha256, row.metric, row.dataset, row.hardware, row.threads, row.tier),
        *(row.target, row.backend, row.precision, row.runtime, row.batch, row.length),
    )


def _merged(rows: Sequence[Row]) -> Row:
    counted = [row for row in rows if row.verified_by] or list(rows)
    counted.sort(key=lambda row: (row.p50_seconds, row.id))
    shown = counted[len(counted) // 2]
    return msgspec.structs.replace(
        shown,
        submissions=len(rows),
        others=tuple(sorted(row.id for row in rows if row.id != shown.id)),
        p50_seconds_least=counted[0].p50_seconds,
        p50_seconds_most=counted[-1].p50_seconds,
    )


def board_of(entries: Sequence[Entry]) -> Board:
    """The board of these submissions, the fastest over their own references first."""
    rows = merged(row for entry in entries for row in rows_of(entry))
    rows.sort(key=lambda row: (-(row.speedup or 0.0), row.p50_seconds, row.id))
    return Board(updated=max((entry.comparison.created for entry in entries), default=""), rows=tuple(rows))


def ranked(rows: Iterable[Row], tier: str, floor: float = DEFAULT_FLOOR) -> list[tuple[int | None, Row]]:
    """The rows of one tier with their ranks: first those that keep at least ``floor`` of the reference's score, then,
    without a rank, the others."""
    mine = [row for row in rows if row.tier == tier]
    sound = [row for row in mine if row.kept is not None and row.kept >= floor]
    others = [row for row in mine if row.kept is None or row.kept < floor]
    return [*enumerate(sound, 1), *((None, row) for row in others)]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of board.json (draft 2020-12)."""
    schema = msgspec.json.schema(Board)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "optibench board", **schema}
