"""table.csv as a script or a spreadsheet reads it."""

from __future__ import annotations

import csv as csv_reader
from io import StringIO

from optibench.render import csv
from tests.factories import case, comparison, reference
from tests.render.hostile import OBEYED, hostile_comparison


def rows(text: str) -> list[dict[str, str]]:
    return list(csv_reader.DictReader(StringIO(text), strict=True))


def test_each_case_and_shape_is_a_row_with_units_in_the_names() -> None:
    found = rows(csv.render(comparison(cases=(reference(), case(), case(batch=8)))))
    assert [(r["case"], r["batch"]) for r in found][1:] == [
        ("cpu/onnxruntime/int8-dynamic", "1"),
        ("cpu/onnxruntime/int8-dynamic", "8"),
    ]
    expected = {
        "latency_p50_seconds": "0.0123",
        "latency_p99_seconds": "",
        "speedup_mid": "2.41",
        "verdict": "faster",
        "peak_memory_bytes": "212000000",
        "export_seconds": "6.1",
        "executed_provider": "CPUExecutionProvider",
        "score_metric": "spearman",
        "within_floor": "true",
        "recommended": "true",
    }
    assert {name: found[1][name] for name in expected} == expected


def test_the_header_is_the_same_when_nothing_ran() -> None:
    nothing = csv.render(comparison(cases=(case(status="skipped", reason="No GPU."),), recommended=None))
    assert nothing.splitlines()[0] == csv.render(comparison()).splitlines()[0]
    assert rows(nothing)[0]["reason"] == "No GPU."
    assert rows(nothing)[0]["speedup_mid"] == ""


def test_hostile_text_is_one_plain_field() -> None:
    text = csv.render(hostile_comparison())
    assert not set(OBEYED) & set(text)
    assert len(rows(text)) == 4


def test_a_reason_that_looks_like_a_formula_stays_text() -> None:
    found = rows(csv.render(comparison(cases=(case(status="failed", reason="=HYPERLINK(1)"),))))
    assert found[0]["reason"] == "'=HYPERLINK(1)"
