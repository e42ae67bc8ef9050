"""report.md: the text report's content and all that is worth keeping beside it, in tables that GitHub renders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from optibench.render import details, sentences, shapes
from optibench.render.columns import columns, shown_cases
from optibench.render.plain import markdown_plain, plain, with_text
from optibench.results import Comparison


def render(comparison: Comparison) -> str:
    """The report as GitHub-flavoured Markdown. Texts in it are escaped, so that none is taken for markup."""
    shown = with_text(comparison, markdown_plain)
    parts = [
        *_top(shown),
        *_main_table(shown),
        "\n".join(f"- {line}" for line in _basis(shown)),
        *_by_shape(shown),
        *_groups(shown),
        *_details(shown),
        "## Environment",
        table(("", ""), details.environment(shown)),
        "## Command",
        _code(plain(comparison.command)),
    ]
    return "\n\n".join(parts) + "\n"


def _top(comparison: Comparison) -> Iterable[str]:
    reason = sentences.distrust(comparison)
    if reason:
        yield f"> [!CAUTION]\n> **{reason}**"
    yield f"# {sentences.model_line(comparison)}"
    yield f"{sentences.machine_line(comparison)}\\\n{sentences.workload_line(comparison)}"
    yield f"**{sentences.advice(comparison)}**"


def _main_table(comparison: Comparison) -> Iterable[str]:
    if not shown_cases(comparison):
        return
    shown = columns(comparison)
    rows = zip(*(column.cells for column in shown), strict=True)
    yield table([column.title for column in shown], rows, right=[column.right for column in shown])


def _by_shape(comparison: Comparison) -> Iterable[str]:
    if shown := shapes.columns(comparison):
        yield f"## {shapes.TITLE} (p50)"
        rows = zip(*(column.cells for column in shown), strict=True)
        yield table([column.title for column in shown], rows, right=[column.right for column in shown])
        yield from shapes.legend(comparison)


def _basis(comparison: Comparison) -> list[str]:
    return [
        *sentences.legend(comparison),
        sentences.noise(comparison),
        *sentences.accuracy(comparison),
    ]


def _groups(comparison: Comparison) -> Iterable[str]:
    left_out = sentences.left_out(comparison)
    for kind, title in (("skipped", "Skipped"), ("failed", "Failed")):
        if rows := [(group.cases, group.text) for group in left_out if group.kind == kind]:
            yield f"## {title}"
            yield table(("case", "reason"), rows)
    if notes := sentences.notes(comparison):
        yield "## Notes"
        yield table(("case", "note"), [(group.cases, group.text) for group in notes])
    if comparison.warnings:
        yield "## Warnings"
        yield "\n".join(f"- {warning}" for warning in comparison.warnings)


def _details(comparison: Comparison) -> Iterable[str]:
    """All that was measured of each case, in three tables: times, outputs, builds."""
    cases = [case for case in comparison.cases if case.status == "ok"]
    if not cases:
        return
    yield "## Times"
    rows = [(*details.key(case), *details.times(case)) for case in cases]
    yield table(("case", "shape", *details.TIMES), rows, right=[False, *[True] * 9])
    if rows := [(*details.key(case), *details.outputs(case)) for case in cases if case.parity or case.scores]:
        yield "## Outputs against the reference's"
        yield table(("case", "shape", *details.OUTPUTS), rows, right=[False, True, False, *[True] * 4])
    yield "## Builds and what ran"
    yield table(("case", *details.BUILDS), {case.case: (case.case, *details.build(case)) for case in cases}.values())


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[bool] = ()) -> str:
    """A Markdown table; cells are escaped already."""
    aligned = right or [False] * len(titles)
    lines = [titles, ["---:" if to_right else "---" for to_right in aligned], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    """A block of code, fenced by more backticks than the text has in a row."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}sh\n{text}\n{fence}"
