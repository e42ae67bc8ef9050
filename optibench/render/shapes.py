"""Latency against batch and length: each case's p50 at every shape side by side, and what padding would cost."""

from __future__ import annotations

from optibench.render.columns import Column, latency_of, shape_text
from optibench.render.units import NONE, seconds_text, share_text
from optibench.results import CaseResult, Comparison
from optibench.tasks.base import length_unit

TITLE = "Latency by batch and length"
MOST_SHAPES = 24
"""Of more there is no table: nobody could read it."""


def columns(comparison: Comparison) -> list[Column]:
    """A row a case, a column a shape, then padding's share by batch; none where everything ran at one size, or at
    more shapes than a table can show."""
    rows: dict[str, dict[str, CaseResult]] = {}
    for case in comparison.cases:
        if case.status == "ok":
            rows.setdefault(case.case, {})[shape_text(case)] = case
    shapes = list(dict.fromkeys(shape for found in rows.values() for shape in found))
    sizes = {(case.batch, case.length) for found in rows.values() for case in found.values()}
    if len(sizes) < 2 or len(shapes) > MOST_SHAPES:  # the two phases of a generation are of one size
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


def legend(comparison: Comparison) -> list[str]:
    """What padding's column says, where there is one."""
    if not columns(comparison) or all(case.padding_share is None for case in comparison.cases):
        return []
    lengths, unit = comparison.workload.lengths, length_unit(comparison.model.task)
    text = (
        "Padding of N: the share of the time of N rows that goes into filling up, were they of "
        f"{', '.join(map(str, lengths))} {unit} in equal numbers and filled up to {max(lengths)}; batches of rows of "
        "like length save it."
    )
    return [text]
