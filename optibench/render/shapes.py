"""Latency against batch and length: each case's p50 at every shape side by side, and what padding would cost."""

from __future__ import annotations

from optibench.render.columns import Column, latency_of, shape_text
from optibench.render.units import NONE, seconds_text, share_text
from optibench.results import CaseResult, Comparison
from optibench.tasks.base import length_unit

TITLE = "Latency by batch and length"


def columns(comparison: Comparison) -> list[Column]:
    """A row a case, a column a shape, then padding's share by batch; none where everything ran at one shape."""
    rows: dict[str, dict[str, CaseResult]] = {}
    for case in comparison.cases:
        if case.status == "ok":
            rows.setdefault(case.case, {})[shape_text(case)] = case
    shapes = list(dict.fromkeys(shape for found in rows.values() for shape in found))
    if len(shapes) < 2:
        return []
    result = [Column(title="case", cells=tuple(rows), key=True, right=False)]
    for shape in shapes:
        times = (latency_of(found[shape]).p50 if shape in found else None for found in rows.values())
        result.append(Column(title=shape, cells=tuple(map(seconds_text, times))))
    for batch in dict.fromkeys(case.batch for case in comparison.cases if case.padding_share is not None):
        shares = (_padding(list(found.values()), batch) for found in rows.values())
        cells = tuple(NONE if share is None else share_text(share) for share in shares)
        result.append(Column(title=f"padding of {batch}", cells=cells))
    return result


def _padding(cases: list[CaseResult], batch: int) -> float | None:
    return next((c.padding_share for c in cases if c.batch == batch and c.padding_share is not None), None)


def legend(comparison: Comparison) -> str | None:
    """What padding's column says; None where there is none."""
    lengths = [str(length) for length in comparison.workload.lengths]
    if all(case.padding_share is None for case in comparison.cases):
        return None
    unit = length_unit(comparison.model.task)
    return (
        f"Padding of N: the share of the time of N rows that goes into filling up, were they of {', '.join(lengths)} "
        f"{unit} in equal numbers and filled up to {max(comparison.workload.lengths)}; batches of rows of like length "
        "save it."
    )
