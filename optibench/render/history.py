"""A history as text and as CSV: every run's figures, and where a level changed, with what else was new there."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO

from optibench.render.columns import shape_text
from optibench.render.csv import Cell, field
from optibench.render.plain import plain, with_text
from optibench.render.units import counted, ratio_text, score_text, seconds_text
from optibench.trend import Change, History, Trend


def text(history: History) -> str:
    """The changes first, then each case's runs, then the runs and what was new in each."""
    shown = with_text(history, plain)
    return "\n".join(_lines(shown)) + "\n"


def _lines(history: History) -> Iterator[str]:
    yield f"{history.model} · {history.task} · {span(history)}"
    yield f"Speed-ups over {history.reference} of the same run, with their 95% intervals."
    yield ""
    changed = [(trend, change) for trend in history.trends for change in trend.changes]
    yield "Changes" if changed else "No change of level was found."
    for trend, change in changed:
        yield f"  {title(trend)}: {sentence(change)}"
        yield f"    new in run {change.run}: {', '.join(change.changed) or 'nothing that is known'}"
    for trend in history.trends:
        yield ""
        yield title(trend) + (f" ({trend.note})" if trend.note else "")
        yield from _rows(trend, history)
    yield ""
    yield "Runs"
    width = max(len(run.name) for run in history.runs)
    for run in history.runs:
        new = f"  new: {', '.join(run.changes)}" if run.changes else ""
        yield f"  {run.number:3}  {day(run.created)}  {run.name:{width}}  {counted(run.rounds, 'round')}{new}".rstrip()
    for heading, lines in (
        ("Left out", [f"{one.name}: {one.reason}" for one in history.left_out]),
        ("Notes", list(history.notes)),
    ):
        if lines:
            yield ""
            yield heading
            yield from (f"  {line}" for line in lines)


def _rows(trend: Trend, history: History) -> Iterator[str]:
    created = {run.number: run.created for run in history.runs}
    changes = {change.run: change for change in trend.changes}
    cells = [
        (
            f"{point.run:3}",
            day(created[point.run]),
            ratio_text(point.speedup),
            seconds_text(point.latency_p50_seconds),
            f"{trend.metric} {score_text(point.score)}" if point.score is not None else "",
            f"<- {changes[point.run].verdict}" if point.run in changes else "",
        )
        for point in trend.points
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        yield ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def title(trend: Trend) -> str:
    """``cpu/openvino/int8 at 1×128``."""
    return f"{trend.case} at {shape_text(trend)}"


def sentence(change: Change) -> str:
    """The change in one sentence."""
    return (
        f"{change.verdict} from run {change.run} on, by {ratio_text(change.ratio)}: "
        f"{ratio_text(change.before)} in the {counted(change.runs_before, 'run')} before, "
        f"{ratio_text(change.after)} in the {counted(change.runs_after, 'run')} since"
    )


def span(history: History) -> str:
    """How many runs, from when to when."""
    first, last = history.runs[0], history.runs[-1]
    return f"{counted(len(history.runs), 'run')}, {day(first.created)} to {day(last.created)}"


def day(created: str) -> str:
    """``2026-11-24 21:13``: the time of a run, to the minute."""
    return created[:16].replace("T", " ")


def table(history: History) -> str:
    """A row for each case, shape and run; ``change`` and what comes after it stand in the row where a level begins."""
    shown = with_text(history, plain)
    runs = {run.number: run for run in shown.runs}
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for trend in shown.trends:
        changes = {change.run: change for change in trend.changes}
        for point in trend.points:
            run, change, speedup = runs[point.run], changes.get(point.run), point.speedup
            row: list[Cell] = [trend.case, trend.batch, trend.length, trend.phase or None]
            row += [run.number, run.created, run.name, run.rounds]
            row += [speedup.low, speedup.mid, speedup.high, point.latency_p50_seconds, trend.metric, point.score]
            row += [point.artifact_sha256, "; ".join(run.changes) or None]
            if change:
                row += [change.verdict, change.ratio.low, change.ratio.mid, change.ratio.high]
                row += ["; ".join(change.changed) or None]
            writer.writerow([field(value) for value in row] + [None] * (len(COLUMNS) - len(row)))
    return out.getvalue()


COLUMNS = (
    *("case", "batch", "length", "phase", "run", "created", "name", "rounds"),
    *("speedup_low", "speedup_mid", "speedup_high", "latency_p50_seconds", "metric", "score"),
    *("artifact_sha256", "run_changes"),
    *("change", "change_ratio_low", "change_ratio_mid", "change_ratio_high", "changed_there"),
)
