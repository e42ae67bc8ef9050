"""A replay as text: what differs, what was checked, and each case then and now."""

from __future__ import annotations

from collections.abc import Iterator

from optibench.render.columns import shape_text
from optibench.render.history import day
from optibench.render.plain import plain, with_text
from optibench.render.units import NONE, change_text, ratio_text, score_places, score_text, seconds_text
from optibench.side_by_side import CasePair, Replay

HEADER = ("case", "then", "now", "now / then", "verdict", "p50 then", "p50 now", "score then", "score now", "artifact")


def text(replay: Replay) -> str:
    """The whole replay; no line is cut."""
    return "\n".join(_lines(with_text(replay, plain))) + "\n"


def _lines(replay: Replay) -> Iterator[str]:
    yield f"{replay.model.id} · {replay.model.task} · {replay.run}"
    yield f"then {day(replay.created_then)}, now {day(replay.created_now)}"
    yield ""
    yield from _listed("The machine", replay.machine_changes, "the same kind of machine")
    yield from _listed("Software", replay.software_changes, "the same versions")
    yield from _listed("Checked", [f"{c.what}: {'' if c.fine else 'DIFFERS: '}{c.said}" for c in replay.checks], "")
    yield from _listed("Warnings", replay.warnings, "")
    rows = [HEADER, *(_row(pair) for pair in replay.cases)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield "Speed-ups are over the reference of their own run; now / then is over 1 where a case became faster."
    reasons = [f"{_title(pair)}: {pair.reason}" for pair in replay.cases if pair.reason]
    reasons += [f"{name}: {reason}" for name, reason in replay.not_again.items()]
    yield from _listed("Not compared", reasons, "")


def _listed(title: str, lines: tuple[str, ...] | list[str], nothing: str) -> Iterator[str]:
    if len(lines) == 0 and not nothing:
        return
    yield title
    yield from (f"  {line}" for line in lines or [nothing])
    yield ""


def _title(pair: CasePair) -> str:
    return f"{pair.case} at {shape_text(pair)}"


def _row(pair: CasePair) -> tuple[str, ...]:
    reference = pair.verdict == "reference"
    score = NONE if pair.score_now is None else score_text(pair.score_now)
    if pair.score_now is not None and pair.score_change:
        score += f" {change_text(pair.score_change, score_places(pair.score_now))}"
    return (
        _title(pair),
        NONE if reference else ratio_text(pair.speedup_then),
        NONE if reference else ratio_text(pair.speedup_now),
        ratio_text(pair.ratio),
        pair.verdict,
        seconds_text(pair.latency_p50_seconds_then),
        seconds_text(pair.latency_p50_seconds_now),
        NONE if pair.score_then is None else f"{pair.metric} {score_text(pair.score_then)}",
        score,
        {True: "the same", False: "another", None: NONE}[pair.same_artifact],
    )
