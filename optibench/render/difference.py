"""Two runs' difference as text and Markdown, and the cells and sentences that its page shows too."""

from __future__ import annotations

from collections.abc import Iterator

from optibench.difference_values import CaseDifference, Difference, Quantity, RunSide
from optibench.render.history import day
from optibench.render.markdown import table
from optibench.render.plain import markdown_plain, plain, with_text
from optibench.render.units import (
    NONE,
    bytes_text,
    change_text,
    counted,
    ratio_text,
    score_places,
    score_text,
    seconds_text,
)

TITLES = ("case", "verdict", "latency A → B", "speedup A → B", "score A → B", "size A → B", "memory A → B")
NAMES = ("latency", "speedup", "score", "size", "memory")
ORDER = ("slower", "faster", "same", "unknown", "reference")


def text(difference: Difference) -> str:
    """The whole difference on a terminal; no line is cut."""
    return "\n".join(_lines(with_text(difference, plain))) + "\n"


def markdown(difference: Difference) -> str:
    """The same as GitHub-flavoured Markdown; texts in it are escaped."""
    shown = with_text(difference, plain)
    parts = [f"# {markdown_plain(headline(shown))}", _items(sides(shown)), markdown_plain(shown.basis_reason)]
    if shown.cases:
        parts.append(table(TITLES, [[markdown_plain(text) for text in row(case)] for case in shown.cases]))
    for name, lines in sections(shown):
        parts += [f"## {name}", _items(lines)]
    return "\n\n".join(parts) + "\n"


def _items(lines: list[str]) -> str:
    return "\n".join(f"- {markdown_plain(line)}" for line in lines)


def headline(difference: Difference) -> str:
    """How many cases went which way: ``B against A: 2 faster, 5 same``."""
    if not difference.cases:
        return "B against A: nothing that can be compared"
    verdicts = [case.verdict for case in difference.cases if case.verdict != "reference"]
    counts = [f"{verdicts.count(name)} {name}" for name in ORDER if name in verdicts]
    return f"B against A: {', '.join(counts) or 'the reference alone'}"


def sides(difference: Difference) -> list[str]:
    """What A and B are."""
    return [f"{letter}: {_side(side)}" for letter, side in (("A", difference.a), ("B", difference.b))]


def sections(difference: Difference) -> list[tuple[str, list[str]]]:
    """What stands below the table, those parts that have something to say."""
    parts = [
        ("What changed", list(difference.changes) or ["nothing that is known"]),
        ("Recommended", _recommended(difference)),
        ("Not compared", [f"{one.what}: {one.reason}" for one in difference.not_compared]),
        ("No verdict", list(_undecided(difference))),
        ("Warnings", list(difference.warnings)),
    ]
    return [(title, lines) for title, lines in parts if lines]


def row(case: CaseDifference) -> tuple[str, ...]:
    """The cells of TITLES."""
    return (title(case), case.verdict, *(cell(case.quantity(name)) for name in NAMES))


def title(case: CaseDifference) -> str:
    """``cpu/openvino/int8 at 1×128``."""
    return f"{case.case} at {case.shape.replace('x', '×')}"


def cell(quantity: Quantity | None) -> str:
    """``12.3 ms → 11.0 ms, 0.90× (0.88–0.92)``, with the verdict where it is one."""
    if quantity is None or quantity.verdict == "reference":
        return NONE
    show = {"seconds": seconds_text, "bytes": bytes_text}.get(quantity.unit)
    if quantity.name == "speedup":
        values = [NONE if value is None else f"{value:.2f}×" for value in (quantity.a, quantity.b)]
    elif quantity.name == "score":
        values = [NONE if value is None else score_text(value) for value in (quantity.a, quantity.b)]
    else:
        assert show is not None
        values = [show(value) for value in (quantity.a, quantity.b)]
    said = " → ".join(values)
    if quantity.change and quantity.name == "score":
        said += f", {change_text(quantity.change, score_places(quantity.b or 0.0))}"
    elif quantity.change and quantity.change.low == quantity.change.high:
        said += f", {quantity.change.mid:.2f}×"
    elif quantity.change:
        said += f", {ratio_text(quantity.change)}"
    return said if quantity.verdict == "unknown" else f"{said}, {quantity.verdict}"


def _side(side: RunSide) -> str:
    return (
        f"{side.run}: {side.model.id}, {day(side.created)}, {side.machine}, optibench {side.optibench_version}, "
        f"{counted(side.rounds, 'round')}, {side.tier}"
    )


def _recommended(difference: Difference) -> list[str]:
    a, b = difference.a.recommended or "nothing", difference.b.recommended or "nothing"
    return [f"{a} in both" if a == b else f"{a} in A, {b} in B"]


def _undecided(difference: Difference) -> Iterator[str]:
    """Why figures have no verdict, a line a reason: of the one that the difference goes by, and of scores."""
    leading = "speedup" if difference.basis == "reference" else "latency"
    by_reason: dict[tuple[str, str], list[str]] = {}
    for case in difference.cases:
        for quantity in case.quantities:
            if quantity.verdict == "unknown" and quantity.name in (leading, "score", "memory"):
                reason = quantity.reason or "the interval is too wide: more rounds would decide it"
                by_reason.setdefault((quantity.name, reason), []).append(title(case))
    for (name, reason), cases in by_reason.items():
        yield f"{name} of {', '.join(cases)}: {reason}"


def _lines(difference: Difference) -> Iterator[str]:
    yield headline(difference)
    yield from sides(difference)
    yield difference.basis_reason
    yield ""
    if difference.cases:
        rows = [TITLES, *(row(case) for case in difference.cases)]
        widths = [max(len(cells[column]) for cells in rows) for column in range(len(TITLES))]
        for cells in rows:
            yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        yield ""
        yield "Each change is B over A (of scores B - A) with its 95% interval; of a speedup over 1 is faster."
    for name, lines in sections(difference):
        yield ""
        yield name
        yield from (f"  {line}" for line in lines)
