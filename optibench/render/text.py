"""The report on a terminal: what to do first, one table, then what the numbers rest on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING

from optibench.render import sentences, shapes
from optibench.render.columns import Column, columns, mark, shown_cases
from optibench.render.plain import plain, with_text
from optibench.results import CaseResult, Comparison, Recommended

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES = {"faster": "green", "slower": "red", "failed": "red", "below floor": "yellow", "unknown": "magenta"}


def render(comparison: Comparison, width: int | None = None, color: bool = False) -> str:
    """The report as text. ``width`` is the terminal's; None (a file, a pipe) breaks no line.

    Columns that do not fit go on in a further table below, so that no name or number is cut; a name wider than the
    terminal makes its line longer. ``color`` adds ANSI colours.
    """
    from io import StringIO

    from rich.text import Text

    comparison = with_text(comparison, plain)
    out = StringIO()
    console = console_to(out, color)

    def say(text: str, style: str = "", *, indent: str = "", hanging: str = "") -> None:
        for line in _wrapped(text, width, indent, hanging):
            console.print(Text(line, style=style, end=""))

    if reason := sentences.distrust(comparison):
        say(reason, "bold red")
        say("")
    say(sentences.model_line(comparison), "bold")
    say(sentences.machine_line(comparison))
    say(sentences.workload_line(comparison), "yellow" if comparison.workload.tier == "quick" else "")
    say("")
    say(sentences.advice(comparison), "bold green" if comparison.recommended else "bold yellow")
    say("")
    cases = shown_cases(comparison)
    print_tables(console, columns(comparison) if cases else [], cases, comparison.recommended, width)
    if by_shape := shapes.columns(comparison):
        say(f"{shapes.TITLE} (p50)", "bold")
        ran = {case.case: case for case in comparison.cases if case.status == "ok"}
        print_tables(console, by_shape, list(ran.values()), comparison.recommended, width)
        for line in shapes.legend(comparison):
            say(line)
    for line in (*sentences.legend(comparison), sentences.noise(comparison), *sentences.accuracy(comparison)):
        say(line)
    for title, lines in _lists(comparison):
        say("")
        say(title, "bold")
        for text in lines:
            say(text, indent="  ", hanging="    ")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _lists(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    """The titled lists below the table, those that have something to say."""
    groups = [*sentences.left_out(comparison), *sentences.notes(comparison)]
    for kind, title in (("skipped", "Skipped"), ("failed", "Failed"), ("note", "Notes")):
        if lines := [f"{group.cases}: {group.text}" for group in groups if group.kind == kind]:
            yield title, lines
    if comparison.warnings:
        yield "Warnings", list(comparison.warnings)


def console_to(out: IO[str], color: bool) -> Console:
    """A console that writes to ``out``. All that rich would otherwise ask of the environment is said here. No line is
    ever too long for it: tables are split and words wrapped before."""
    from rich.console import Console

    return Console(
        file=out,
        width=100_000,
        height=100,
        force_terminal=color,
        force_jupyter=False,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
    )


def print_tables(
    console: Console,
    shown: Sequence[Column],
    cases: Sequence[CaseResult],
    recommended: Recommended | None,
    width: int | None,
) -> None:
    """The columns as tables that fit, a row for each of ``cases``."""
    from rich.text import Text

    for part in _parts(shown, width) if shown else ():
        widths = [_column_width(column) for column in part]
        console.print(_row(part, widths, [column.title for column in part], ["bold"] * len(part)))
        console.print(Text("─" * (sum(widths) + 2 * (len(widths) - 1)), end=""))
        for row, case in enumerate(cases):
            bold = "bold" if recommended and case.case == recommended.case else ""
            style = STYLES.get(mark(case).partition(":")[0], "")
            styles = [f"{bold} {style if column.title == 'verdict' else ''}" for column in part]
            console.print(_row(part, widths, [column.cells[row] for column in part], styles))
        console.print()


def _row(part: list[Column], widths: list[int], cells: list[str], styles: list[str]) -> Text:
    """One line of the table. Not rich's own table, which takes seconds where there are thousands of cases."""
    from rich.cells import cell_len
    from rich.text import Text

    line = Text(end="")
    for column, width, cell, style in zip(part, widths, cells, styles, strict=True):
        pad = " " * (width - cell_len(cell))
        line.append("  " if line else "").append((pad + cell) if column.right else (cell + pad), style.strip())
    return line


def _column_width(column: Column) -> int:
    """Terminal cells of a column: a wide character takes two."""
    from rich.cells import cell_len

    return max(map(cell_len, (column.title, *column.cells)))


def _parts(all_columns: Iterable[Column], width: int | None) -> list[list[Column]]:
    """The columns, cut into tables that fit; each begins with the key columns."""
    all_columns = list(all_columns)
    keys = [column for column in all_columns if column.key]
    parts: list[list[Column]] = [[]]
    for column in all_columns[len(keys) :]:
        if width is not None and parts[-1] and _width([*keys, *parts[-1], column]) > width:
            parts.append([])
        parts[-1].append(column)
    return [[*keys, *part] for part in parts]


def _width(part: list[Column]) -> int:
    """Terminal cells of a table."""
    return sum(map(_column_width, part)) + 2 * (len(part) - 1)


def _wrapped(text: str, width: int | None, indent: str, hanging: str) -> list[str]:
    if width is None or not text:
        return [indent + text]
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )
