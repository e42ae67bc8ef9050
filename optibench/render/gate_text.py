"""A gate on a terminal: how it ended, a table of all cases, then why each that did not pass did not."""

from __future__ import annotations

from collections.abc import Sequence

from optibench.render.plain import plain, with_text
from optibench.render.units import NONE, share_text
from optibench.verdicts import Aspect, GateCase, GateResult

TITLES = ("case", "shape", "verdict", "latency", "accuracy", "memory", "size")
COLORS = {"regressed": "31", "not measured": "31", "unknown": "35", "improved": "32"}


def render(result: GateResult, color: bool = False) -> str:
    """The gate as text; ``color`` adds ANSI colours."""
    shown = with_text(result, plain)
    lines = [_colored(shown.sentence, "1;32" if shown.passed else "1;31", color)]
    lines += [f"{shown.model}: {shown.run} against {shown.baseline}", "", *_table(shown.cases, color)]
    for title, texts in sections(shown):
        lines += ["", title, *(f"  {text}" for text in texts)]
    return "\n".join(lines) + "\n"


def sections(result: GateResult) -> list[tuple[str, list[str]]]:
    """What is below the table, those parts that have something to say."""
    parts = [
        (verdict.capitalize(), [f"{case.name}: {case.message}" for case in result.with_verdict(verdict)])
        for verdict in ("regressed", "not measured", "unknown")
    ]
    refuted = [case for case in result.cases if case.second == "refuted" and case.verdict != "unknown"]
    parts.append(("Not confirmed", [f"{case.name}: {case.message}" for case in refuted]))
    parts.append(("New, so not judged (optibench baseline update takes them in)", list(result.new_cases)))
    parts.append(("Notes", list(result.notes)))
    return [(title, texts) for title, texts in parts if texts]


def row(case: GateCase) -> tuple[str, ...]:
    """The cells of a case, in the order of TITLES."""
    latency, accuracy, memory, size = (case.aspect(name) for name in ("latency", "accuracy", "memory", "size"))
    return (case.case, case.shape, case.verdict, _share(latency), _points(accuracy), _share(memory), _share(size))


def _share(aspect: Aspect | None) -> str:
    """``+3.1% (+1.0% to +5.2%)``: more is slower, or larger."""
    if aspect is None or aspect.change is None:
        return NONE
    if aspect.low is None or aspect.high is None:
        return _signed(aspect.change)
    return f"{_signed(aspect.change)} ({_signed(aspect.low)} to {_signed(aspect.high)})"


def _signed(share: float) -> str:
    return f"{'+' if share >= 0 else ''}{share_text(share)}"


def _points(aspect: Aspect | None) -> str:
    if aspect is None or aspect.change is None:
        return NONE
    return f"{aspect.change * 100:+.1f} points"


def _table(cases: Sequence[GateCase], color: bool) -> list[str]:
    if not cases:
        return ["no cases"]
    rows = [TITLES, *(row(case) for case in cases)]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(TITLES))]
    codes = ["1", *(COLORS.get(case.verdict, "") for case in cases)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]
    return [_colored(line, code, color) for line, code in zip(lines, codes, strict=True)]


def _colored(text: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color and code else text
