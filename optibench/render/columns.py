"""The report's main table as plain text cells: what the text report and report.md both show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from optibench.render.units import (
    NONE,
    bytes_text,
    change_text,
    joules_text,
    rate_text,
    ratio_text,
    score_places,
    score_text,
    seconds_text,
    share_text,
)
from optibench.results import CaseResult, Comparison, Latency, ScoreResult
from optibench.values import Executed, Shape

PEAK = "% of peak"
SAME_TOKENS, BANDWIDTH = "same tokens", "% of bandwidth"
DEVICE, ENERGY, DEVICE_MEMORY = "on device", "energy a call", "device memory"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: a title and a cell for each of ``shown_cases``. ``key`` columns say which row it is."""

    title: str
    cells: tuple[str, ...]
    key: bool = False
    right: bool = True


def shown_cases(comparison: Comparison) -> list[CaseResult]:
    """The table's rows: what ran, and what failed though others ran (what was skipped is told below the table). A
    generation is one row, its decode's."""
    if not any(case.status == "ok" for case in comparison.cases):
        return []
    return [case for case in comparison.cases if case.status != "skipped" and case.phase != "prefill"]


def columns(comparison: Comparison, every_score: bool = False) -> list[Column]:
    """The columns, most important first. Accuracy stands beside every latency: the primary score (of generated text the
    second too), or where there are no labels the cosine to the reference's outputs."""
    cases = shown_cases(comparison)

    def column(title: str, cells: list[str], *, key: bool = False, right: bool = True) -> Column:
        return Column(title=title, cells=tuple(cells), key=key, right=right)

    result = [column("case", [case.case for case in cases], key=True, right=False)]
    if len({case.shape for case in cases}) > 1:
        result.append(column("shape", [case.shape.size.replace("x", "×") for case in cases], key=True))
    if any(case.phase for case in cases):
        result += [column(title, cells) for title, cells in _of_generations(comparison, cases)]
    else:
        result += [
            column("p50", [seconds_text(latency_of(case).p50) for case in cases]),
            column("p99", [seconds_text(latency_of(case).p99) for case in cases]),
            column("speedup", [speedup_cell(case) for case in cases]),
        ]
    result.append(column("verdict", [mark(case) for case in cases], right=False))
    if metrics := [score.metric for score in next((case.scores for case in cases if case.scores), ())]:
        generated = any(case.phase for case in cases)
        for number, metric in enumerate(metrics if every_score else metrics[: 1 + generated]):
            result.append(column(metric, [score_cell(case, number) for case in cases], right=False))
        if generated:
            result.append(column(SAME_TOKENS, [agreement_cell(case) for case in cases]))
    elif any(case.parity for case in cases):
        result.append(column("cosine", [f"{case.parity.cosine:.4f}" if case.parity else NONE for case in cases]))
    if any(case.peak_share for case in cases):
        result.append(column(PEAK, [share_text(case.peak_share) if case.peak_share else NONE for case in cases]))
    if any(case.device_seconds is not None for case in cases):
        result.append(column(DEVICE, [seconds_text(case.device_seconds) for case in cases]))
    if any(case.energy_joules_per_call is not None for case in cases):
        result.append(column(ENERGY, [joules_text(case.energy_joules_per_call) for case in cases]))
    if any(case.device_memory_bytes is not None for case in cases):
        result.append(column(DEVICE_MEMORY, [bytes_text(case.device_memory_bytes) for case in cases]))
    if any(case.bandwidth_share for case in cases):
        shares = [share_text(case.bandwidth_share) if case.bandwidth_share else NONE for case in cases]
        result.append(column(BANDWIDTH, shares))
    if any(case.cache_bytes for case in cases):
        result.append(column("KV cache", [bytes_text(case.cache_bytes) for case in cases]))
    return [
        *result,
        column("size", [bytes_text(case.artifact_bytes) for case in cases]),
        column("peak memory", [bytes_text(case.peak_memory_bytes) for case in cases]),
        column("executed", [executed_text(case.executed) for case in cases], right=False),
    ]


def _of_generations(comparison: Comparison, cases: list[CaseResult]) -> list[tuple[str, list[str]]]:
    """Both phases of each generation beside one another."""
    prefills = {(c.case, c.batch, c.length): c for c in comparison.cases if c.phase == "prefill"}
    firsts = [prefills.get((case.case, case.batch, case.length), case) for case in cases]
    whole = [case.generation for case in cases]
    return [
        ("TTFT", [seconds_text(latency_of(case).p50) for case in firsts]),
        ("TPOT p50", [seconds_text(latency_of(case).p50) for case in cases]),
        ("TPOT p99", [seconds_text(latency_of(case).p99) for case in cases]),
        ("tokens/s", [rate_text(one.tokens_per_second).removesuffix("/s") if one else NONE for one in whole]),
        ("prefill speedup", [speedup_cell(case) for case in firsts]),
        ("decode speedup", [speedup_cell(case) for case in cases]),
    ]


def speedup_cell(case: CaseResult) -> str:
    """The speed-up with its interval; none of the reference over itself."""
    return NONE if case.verdict == "reference" else ratio_text(case.speedup)


def agreement_cell(case: CaseResult) -> str:
    """``100%``, or the share of the reference's tokens that greedy decoding makes too."""
    return NONE if case.agreement is None else share_text(case.agreement.equal / case.agreement.tokens)


def mark(case: CaseResult) -> str:
    """The verdict in a word, or what matters more: that the case failed, or lost too much accuracy."""
    if case.status != "ok":
        return case.status
    if case.within_floor is False:
        return "below floor"
    return f"{case.verdict}: {case.verdict_reason}" if case.verdict_reason else case.verdict


def latency_of(case: CaseResult) -> Latency:
    """The case's quantiles, all None where it has none."""
    return case.latency_seconds or Latency(p50=None, p90=None, p99=None)


class Shaped(Protocol):
    """Whatever was measured at one shape."""

    @property
    def shape(self) -> Shape: ...


def shape_text(case: Shaped) -> str:
    """``8×128``: rows and tokens, or just rows; ``8×128 decode``."""
    return case.shape.name.replace("x", "×")


def primary_metric(comparison: Comparison) -> str | None:
    """The first metric that any case has a score of."""
    return next((score.metric for case in comparison.cases for score in case.scores), None)


def score_cell(case: CaseResult, number: int = 0) -> str:
    """The score of that number, and for all but the reference its change with the interval."""
    if len(case.scores) <= number:
        return NONE
    score = case.scores[number]
    return score_text(score.value) if case.verdict == "reference" else score_with_change(score)


def score_with_change(score: ScoreResult) -> str:
    """``0.725 -0.004 [-0.010, +0.002]``."""
    return f"{score_text(score.value)} {change_text(score.change, score_places(score.value))}"


def executed_text(executed: Executed | None) -> str:
    """What the runtime really did: ``CPUExecutionProvider fp32, 2 threads``."""
    if executed is None:
        return NONE
    threads = f"{executed.threads} thread{'' if executed.threads == 1 else 's'}"
    elsewhere = f", {executed.fallback_nodes} nodes elsewhere" if executed.fallback_nodes else ""
    return f"{executed.provider} {executed.precision}, {threads}{elsewhere}"
