"""Several models' comparisons in one table: each build of each, with the same columns."""

from __future__ import annotations

from collections.abc import Sequence

from optibench.render import sentences
from optibench.render.columns import Column, columns, shown_cases
from optibench.render.plain import plain, with_text
from optibench.render.text import console_to, print_tables
from optibench.render.units import NONE
from optibench.results import Comparison

LEGEND = (
    "Each model was measured in rounds of its own, against its own reference: speed-ups and changes of score are "
    "within a model. Times of different models lie minutes apart."
)
TOKENIZERS = "Perplexity is a token's, so that only models of one tokenizer compare by it; bits_per_byte compares all."


def render(comparisons: Sequence[Comparison], width: int | None = None, color: bool = False) -> str:
    """One table of all, then what is advised of each."""
    from io import StringIO

    shown = [with_text(comparison, plain) for comparison in comparisons]
    cases = [case for comparison in shown for case in shown_cases(comparison)]
    out = StringIO()
    print_tables(console_to(out, color), merged(shown) if cases else [], cases, None, width)
    lines = [f"{one.model.id}: {sentences.advice(one)}" for one in shown]
    lines += ["", LEGEND, *([TOKENIZERS] if any(case.phase for case in cases) else [])]
    return "\n".join(line.rstrip() for line in [*out.getvalue().splitlines(), *lines]) + "\n"


def merged(comparisons: Sequence[Comparison]) -> list[Column]:
    """The columns that any of the comparisons has, begun by the model's name."""
    each = [{column.title: column for column in columns(one, every_score=True)} for one in comparisons]
    rows = [len(shown_cases(one)) for one in comparisons]
    names = [one.model.id for one, count in zip(comparisons, rows, strict=True) for _ in range(count)]
    found = [Column(title="model", cells=tuple(names), key=True, right=False)]
    for title, column in {title: column for one in each for title, column in one.items()}.items():
        cells = [
            cell
            for one, count in zip(each, rows, strict=True)
            for cell in (one[title].cells if title in one else [NONE] * count)
        ]
        found.append(Column(title=title, cells=tuple(cells), key=column.key, right=column.right))
    return sorted(found, key=lambda column: not column.key)
