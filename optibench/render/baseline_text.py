"""A baseline as a person reads it, and what an update of one changes."""

from __future__ import annotations

from optibench.baseline import Baseline, CaseFigures, ShapeFigures
from optibench.render.plain import plain, with_text
from optibench.render.units import NONE, bytes_text, counted, listed, score_text, seconds_text

TITLES = ("case", "shape", "speedup", "p50", "score", "size", "peak memory", "rounds")


def render(baseline: Baseline, old: Baseline | None = None) -> str:
    """A line a case and shape; beside a figure that ``old`` had otherwise, what it was."""
    new = with_text(baseline, plain)
    was = with_text(old, plain) if old else None
    hardware = new.hardware
    revision = f" at {new.model.revision}" if new.model.revision else ""  # figures of functions have none
    data = f"{new.dataset.id}, {counted(new.dataset.count, 'example')}" if new.dataset else "none"
    lines = [
        f"{new.model.id} ({new.model.task}){revision}, measured {new.created}",
        f"{hardware.cpu_model}, {counted(hardware.cores_used, 'core')}; GPUs: {listed(hardware.gpus) or 'none'}",
        f"data: {data}",
        "",
    ]
    rows: list[tuple[str, ...]] = [TITLES]
    for case in new.cases:
        for figures in case.shapes:
            before = was.case(case.case) if was else None
            cells = _cells(case, figures)
            old_cells = _cells(before, at) if before and (at := before.at(figures.shape)) else cells
            changed = (f"{a} (was {b})" if a != b else a for a, b in zip(cells, old_cells, strict=True))
            rows.append((case.case, figures.shape.name, *changed))
    widths = [max(len(row[i]) for row in rows) for i in range(len(TITLES))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if was:
        gone = [case.case for case in was.cases if new.case(case.case) is None]
        lines += ["", f"No longer there: {listed(gone)}"] if gone else []
    return "\n".join(lines) + "\n"


def _cells(case: CaseFigures, figures: ShapeFigures) -> tuple[str, ...]:
    score = next(iter(case.scores.items()), None)
    peaks = sorted(figures.peak_bytes)
    return (
        f"{figures.speedup:.2f}×" if figures.speedup else NONE,
        seconds_text(figures.p50_seconds),
        f"{score[0]} {score_text(score[1])}" if score else NONE,
        bytes_text(case.artifact_bytes),
        bytes_text(peaks[len(peaks) // 2] if peaks else None),
        str(len(figures.log_ratios) or NONE),
    )
