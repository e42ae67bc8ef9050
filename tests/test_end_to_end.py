"""Whole generations from their two phases, whose tokens agree, what is recommended, and how a report says it."""

from __future__ import annotations

from typing import Any

import pytest

from optibench import recommend
from optibench.agreement import agreement
from optibench.end_to_end import with_generations
from optibench.render import csv, markdown, several, text
from optibench.results import Agreement, CaseResult, Comparison, Latency
from tests.factories import REFERENCE, case, comparison, interval, model, reference, score

FAST = "cpu/openvino/int4-weights"


def phases(name: str, first: float, token: float, **changes: Any) -> list[CaseResult]:
    """A case's two rows: what was measured of prefill and of decode."""
    make = (lambda name, **more: reference(**more)) if name == REFERENCE else case
    scores = (score(0.40, 0.40, "next_token"), score(12.0, 12.0, "perplexity"), score(1.5, 1.5, "bits_per_byte"))
    common = {"length": 128, "parity": None, "scores": scores, **changes}
    verdicts = {} if name == REFERENCE else {"verdict": "faster"}
    prefill = make(name, phase="prefill", latency_seconds=Latency(p50=first, p90=None, p99=None), **common)
    decode = make(
        name, phase="decode", new_tokens=64, latency_seconds=Latency(p50=token, p90=None, p99=None),
        cache_bytes=1_500_000, **{**verdicts, **common},
    )  # fmt: skip
    return [prefill, decode]


def compared(*more: CaseResult) -> list[CaseResult]:
    return with_generations([*phases(REFERENCE, 0.100, 0.020), *more], REFERENCE)


def report(*more: CaseResult) -> Comparison:
    return comparison(cases=tuple(compared(*more)), model=model(id="tiny-llama", task="text-generation"))


def test_a_generation_is_the_first_token_and_all_others_after_it() -> None:
    _, decode = compared()[:2]
    assert decode.generation is not None
    assert decode.generation.seconds == pytest.approx(0.100 + 63 * 0.020)
    assert decode.generation.tokens_per_second == pytest.approx(64 / (0.100 + 63 * 0.020))
    assert decode.generation.speedup == 1


def test_the_speed_up_of_a_generation_weighs_both_phases_by_their_time() -> None:
    slow_start = compared(*phases(FAST, 0.300, 0.010))[-1]
    assert slow_start.generation is not None
    assert slow_start.generation.speedup == pytest.approx((0.100 + 63 * 0.020) / (0.300 + 63 * 0.010))


def test_a_slower_prefill_is_forgiven_where_the_whole_generation_is_faster() -> None:
    rows = phases(FAST, 0.150, 0.010)
    rows[0] = case(FAST, **{**{f: getattr(rows[0], f) for f in ("phase", "length", "latency_seconds", "scores")},
                            "verdict": "slower", "speedup": interval(0.66)})  # fmt: skip
    found, _ = recommend.recommend(compared(*rows), REFERENCE)
    assert found is not None
    assert found.case == FAST
    assert "tokens a second at batch 1 after a prompt of 128" in found.sentence


def test_a_build_whose_generations_are_slower_is_not_recommended_though_it_decodes_faster() -> None:
    found, _ = recommend.recommend(compared(*phases(FAST, 2.0, 0.019)), REFERENCE)
    assert found is not None
    assert found.case == REFERENCE


def test_a_build_below_the_floor_is_not_recommended() -> None:
    found, _ = recommend.recommend(compared(*phases(FAST, 0.05, 0.005, within_floor=False)), REFERENCE)
    assert found is not None
    assert found.case == REFERENCE


def test_tokens_are_held_against_the_references_place_by_place() -> None:
    right = [[1, 2, 3, 4], [5, 6, 7, 8], [1, 1, 1, 1]]
    assert agreement(right, right) == Agreement(prompts=3, tokens=12, equal=12)
    found = agreement([[1, 2, 9, 4], [5, 6, 7, 8], [2, 1, 1, 1]], right)
    assert found == Agreement(prompts=3, tokens=12, equal=10, parts=((1, 3), (3, 1)))
    assert agreement([[1, 2]], right) is None


def test_the_report_has_both_phases_in_one_row_and_says_where_texts_part() -> None:
    parts = Agreement(prompts=20, tokens=1280, equal=900, parts=((3, 17), (5, 20)))
    same = Agreement(prompts=20, tokens=1280, equal=1280)
    shown = report(
        *phases(FAST, 0.090, 0.008, agreement=parts, bandwidth_share=0.61),
        *phases("cpu/onnxruntime/fp32", 0.080, 0.015, agreement=same),
    )
    found = text.render(shown, width=None)
    rows = [line for line in found.splitlines() if line.startswith(FAST)]
    assert len(rows) == 2  # its row in the table, and where it parts
    for cell in ("90.0 ms", "8.00 ms", "61%", "70%", "1.50 MB"):
        assert cell in rows[0], rows[0]
    for title in ("TTFT", "TPOT p50", "tokens/s", "prefill speedup", "decode speedup", "perplexity", "% of bandwidth"):
        assert title in found
    assert f"{FAST} parts from the reference's text in 2 of 20 prompts, first at token 17 of prompt 3." in found
    assert "the reference's tokens, each one, of all 20 prompts: cpu/onnxruntime/fp32." in found
    assert "prompts of 128 · 64 new tokens" in found
    assert "TPOT p50" in markdown.render(shown)


def test_the_csv_holds_both_phases_and_the_whole() -> None:
    header, *lines = csv.render(report(*phases(FAST, 0.090, 0.008))).splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=False)) for line in lines]
    assert [row["phase"] for row in rows] == ["prefill", "decode"] * 2
    assert rows[3]["generation_tokens_per_second"]
    assert not rows[2]["generation_tokens_per_second"]


def test_several_models_stand_in_one_table_with_bits_a_byte() -> None:
    other = comparison(
        cases=tuple(compared(*phases(FAST, 0.05, 0.004))), model=model(id="tiny-gpt2", task="text-generation")
    )
    found = several.render([report(), other])
    assert [line.split()[0] for line in found.splitlines() if REFERENCE in line][:2] == ["tiny-llama", "tiny-gpt2"]
    assert "bits_per_byte" in found
    assert "tiny-gpt2: Recommended: " in found
