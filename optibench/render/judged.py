"""What was found in submissions, as text and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from optibench.leaderboard.judged import Judged
from optibench.leaderboard.rows import Entry, rows_of
from optibench.render.plain import plain
from optibench.render.units import counted

MOST_PROBLEMS = 12
"""Of a file: one kind of fault often shows in every case and round."""


def text(judged: Sequence[Judged]) -> str:
    """A line for each file that is sound; what is wrong with the others below their names; the count last."""
    count = f"Sound: {sum(one.fine for one in judged)} of {counted(len(judged), 'submission')}."
    return lines(judged) + count + "\n"


def lines(judged: Sequence[Judged]) -> str:
    """Just the files."""
    return "".join(f"{line}\n" for line in _lines(judged))


def _lines(judged: Sequence[Judged]) -> Iterator[str]:
    for one in judged:
        name = plain(str(one.path))
        if one.entry:
            yield f"sound    {name}: {plain(summary(one.entry))}"
            yield from (f"         not checked: {plain(note)}" for note in one.entry.unchecked)
        else:
            yield f"refused  {name}"
            yield from (f"         {plain(problem)}" for problem in one.problems[:MOST_PROBLEMS])
            if (more := len(one.problems) - MOST_PROBLEMS) > 0:
                yield f"         and {more} more of the kind (--json has all)"


def summary(entry: Entry) -> str:
    """What a submission is of, in a line."""
    found, rows = entry.comparison, list(rows_of(entry))
    hardware = ", ".join(dict.fromkeys(row.hardware for row in rows))
    signed = f"signed by {entry.verified_by}" if entry.verified_by else "unverified"
    return f"{found.model.id} on {hardware}, {counted(len(rows), 'row')}, {found.workload.tier}, {signed}"


def plain_values(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """The same as values that JSON can hold."""
    return [
        {
            "file": str(one.path),
            "sound": one.fine,
            "problems": list(one.problems),
            "id": one.entry.id if one.entry else None,
            "verified_by": one.entry.verified_by if one.entry else None,
            "unchecked": list(one.entry.unchecked) if one.entry else [],
        }
        for one in judged
    ]
