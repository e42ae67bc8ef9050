"""table.csv: a row for each case and shape, flat columns with their unit in their name."""

from __future__ import annotations

import csv
from io import StringIO

from optibench.render.plain import plain, with_text
from optibench.results import CaseResult, Comparison

Cell = str | int | float | None


def render(comparison: Comparison) -> str:
    """The table as CSV (a header, ``\\n`` at line ends), the header the same whatever the comparison holds; an empty
    field where there is no value, ``true`` and ``false``."""
    shown = with_text(comparison, plain)
    best = shown.recommended.case if shown.recommended else None
    header = list(_row(NOTHING, best))
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for case in shown.cases:
        writer.writerow([field(value) for value in _row(case, best).values()])
    return out.getvalue()


NOTHING = CaseResult(case="", target="", backend="", precision="", batch=0, length=0, status="skipped")


def _row(case: CaseResult, best: str | None) -> dict[str, Cell]:
    score = case.scores[0] if case.scores else None
    change = score and score.change
    return {
        **_fields(case, "case target backend precision batch length status reason"),
        **_fields(case.latency_seconds, "p50 p90 p99", "latency_{}_seconds"),
        **_fields(case, "samples rounds"),
        **_fields(case.bursts, "kept disturbed", "bursts_{}"),
        **_fields(case.speedup, "low mid high", "speedup_{}"),
        **_fields(case, "verdict throughput_per_second cold_start_seconds load_seconds first_call_seconds"),
        **_fields(case.build_seconds, "export quantize compile", "{}_seconds"),
        **_fields(case.build_seconds, "cached", "build_{}"),
        **_fields(case, "peak_memory_bytes artifact_bytes artifact_sha256"),
        **_fields(case.executed, "provider precision threads", "executed_{}"),
        **_fields(case.executed, "fallback_nodes"),
        # The primary score; all of them stand in comparison.json.
        **_fields(score, "metric value reference count", "score_{}"),
        **_fields(change, "low mid high", "score_change_{}"),
        **_fields(case.parity, "cosine cosine_min max_abs_difference top1_agreement"),
        **_fields(case, "within_floor multiply_adds peak_share limit"),
        **_fields(case, "device_seconds device_memory_bytes energy_joules_per_call"),
        **_fields(case, "phase new_tokens cache_bytes bandwidth_share"),
        **_fields(case.generation, "first_token_seconds seconds tokens_per_second speedup", "generation_{}"),
        **_fields(case.agreement, "prompts tokens equal", "agreement_{}"),
        "recommended": case.case == best,
        "notes": " / ".join(case.notes) or None,
    }


def _fields(value: object, names: str, title: str = "{}") -> dict[str, Cell]:
    """Fields of a value under their column titles; without a value, the same columns empty."""
    return {title.format(name): None if value is None else getattr(value, name) for name in names.split()}


def field(value: Cell) -> Cell:
    """The value as a CSV's field holds it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    # A spreadsheet computes a text that begins like a formula; an apostrophe keeps it a text.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
