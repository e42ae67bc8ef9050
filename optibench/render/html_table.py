"""The page's main table: the report's columns with the values they are sorted by, and more columns on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from optibench.render import details
from optibench.render.columns import DEVICE, DEVICE_MEMORY, ENERGY, PEAK, Column, columns, latency_of, mark, shown_cases
from optibench.render.units import NONE
from optibench.results import CaseResult, Comparison

Value = float | int | None

VALUES: dict[str, Callable[[CaseResult], Value]] = {
    "p50": lambda case: latency_of(case).p50,
    "p90": lambda case: latency_of(case).p90,
    "p99": lambda case: latency_of(case).p99,
    "speedup": lambda case: case.speedup.mid if case.speedup else None,
    "cosine": lambda case: case.parity.cosine if case.parity else None,
    "lowest cosine": lambda case: case.parity.cosine_min if case.parity else None,
    "largest difference": lambda case: case.parity.max_abs_difference if case.parity else None,
    "same top-1": lambda case: case.parity.top1_agreement if case.parity else None,
    PEAK: lambda case: case.peak_share,
    DEVICE: lambda case: case.device_seconds,
    ENERGY: lambda case: case.energy_joules_per_call,
    DEVICE_MEMORY: lambda case: case.device_memory_bytes,
    "size": lambda case: case.artifact_bytes,
    "peak memory": lambda case: case.peak_memory_bytes,
    "throughput": lambda case: case.throughput_per_second,
    "load": lambda case: case.load_seconds,
    "cold start": lambda case: case.cold_start_seconds,
    "first call": lambda case: case.first_call_seconds,
    "rounds": lambda case: case.rounds,
    "calls": lambda case: case.samples,
    "disturbed": lambda case: case.bursts.disturbed / max(1, case.bursts.kept + case.bursts.disturbed),
}
"""What a column is sorted by, by its title; the others go by their text."""
HIDDEN = ("executed",)
"""Columns of the report that the page shows on demand: they stand in a section of their own."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """``value`` is None where the column goes by its text; ``style`` is a class of the style sheet."""

    text: str
    value: Value = None
    style: str = ""


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A column. ``extra``: shown on demand."""

    title: str
    number: bool
    extra: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """A case at a shape; ``record`` is the number of its record below the table."""

    record: int
    best: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """The whole table; the first column names the case."""

    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]


def table_view(comparison: Comparison) -> Table:
    """The table of all cases that ran or failed, in the report's order."""
    cases = shown_cases(comparison)
    found = [(c.title, c.right, _on_demand(c), c.cells) for c in columns(comparison)]
    found += _more(cases)
    headings = tuple(Heading(title=title, number=right, extra=extra) for title, right, extra, _ in found)
    best = comparison.recommended.case if comparison.recommended else None
    return Table(
        headings=headings,
        rows=tuple(
            Row(
                record=number,
                best=case.case == best,
                cells=tuple(_cell(case, title, cells[number - 1]) for title, _, _, cells in found),
            )
            for number, case in enumerate(cases, 1)
        ),
    )


def _on_demand(column: Column) -> bool:
    """A column that says nothing in this run, or stands elsewhere on the page, leaves room for the others."""
    return column.title in HIDDEN or set(column.cells) == {NONE}


def _more(cases: list[CaseResult]) -> list[tuple[str, bool, bool, tuple[str, ...]]]:
    """Columns beside the report's own: what a case is, its times and its outputs."""
    names = ("target", "backend", "precision")
    more = [(name, False, True, tuple(getattr(case, name) for case in cases)) for name in names]
    for titles, cells in ((details.TIMES, details.times), (details.OUTPUTS, details.outputs), (BUILT, _built)):
        rows = [cells(case) for case in cases]
        more += [
            (title, title in VALUES, True, tuple(row[place] for row in rows)) for place, title in enumerate(titles)
        ]
    return more


BUILT = ("build", "artifact sha256", "operations")


def _built(case: CaseResult) -> tuple[str, ...]:
    build, _, digest, operations = details.build(case)
    return build, digest, operations


def _cell(case: CaseResult, title: str, text: str) -> Cell:
    value = VALUES[title](case) if title in VALUES else None
    if case.scores and title == case.scores[0].metric:
        value = case.scores[0].value
    style = mark(case).partition(":")[0].replace(" ", "-") if title == "verdict" else ""
    return Cell(text=text, value=value, style=style)
