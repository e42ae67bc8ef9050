"""The whole pipe in this process, on the fake backend: where rounds go, waiting, and time that is left."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from optibench import api, quiet, schedule
from optibench.execute import inline
from optibench.plan import Request
from optibench.results import CaseResult
from optibench.values import Workload

FakeTarget = Callable[..., Path]


@pytest.fixture
def measured(
    tiny_bert: Path, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[api.Result, list[str]]]:
    """Runs a request on the fake target, workers in this process; gives the result and what was said."""
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(targets: Path, **asked: Any) -> tuple[api.Result, list[str]]:
        said: list[str] = []
        request = Request(model=str(tiny_bert), targets=("pretend",), targets_dir=str(targets), lengths=(16,), **asked)
        result = api.run(
            request, out=tmp_path / "run", command="optibench compare x", say=said.append, launch=inline.launch
        )
        return result, said

    return run


def rounds_by_case(result: api.Result) -> dict[str, int]:
    assert result.path is not None
    lines = (result.path / "records.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return Counter(r["case"]["precision"] + "#2" * r["case"].get("copy", 0) for r in found if r["measurement"])


def case(result: api.Result, precision: str) -> CaseResult:
    return next(c for c in result.comparison.cases if c.precision == precision)


def test_rounds_after_the_least_go_to_the_open_comparison_alone(
    measured: Callable[..., tuple[api.Result, list[str]]], fake_target: FakeTarget
) -> None:
    edge = {"latency_seconds": 0.490, "round_noise": 0.01}  # 2% faster: on the edge of the floor, never decided
    target = fake_target(fp32={"latency_seconds": 0.500}, int8={"latency_seconds": 0.200}, bf16=edge)
    result, _ = measured(target, budget_seconds=600.0)
    rounds = rounds_by_case(result)
    assert rounds["int8"] == 5
    assert rounds["bf16"] > 5
    assert rounds["fp32"] == rounds["fp32#2"] == rounds["bf16"]
    assert rounds["bf16"] <= 20


def test_further_rounds_that_decide_nothing_end_at_twice_the_most_that_a_run_has(
    measured: Callable[..., tuple[api.Result, list[str]]], fake_target: FakeTarget
) -> None:
    result, _ = measured(fake_target(bf16={"latency_seconds": 0.4}), rounds=2)
    assert result.path is not None
    before = rounds_by_case(result)["bf16"]
    more = api.more_rounds(
        result.path, ["pretend/fake/bf16"], seconds=1e9, enough=lambda records: False, launch=inline.launch
    )
    assert rounds_by_case(more)["bf16"] == before + 2 * Workload(shapes=()).max_rounds


def test_the_time_is_estimated_before_the_first_round_and_kept_up_to_date(
    measured: Callable[..., tuple[api.Result, list[str]]], fake_target: FakeTarget
) -> None:
    _, said = measured(fake_target(), rounds=2)
    estimate = next(n for n, text in enumerate(said) if text.startswith("About ") and "minutes" in text)
    blocks = [n for n, text in enumerate(said) if " block " in text]
    assert estimate < blocks[0]
    assert all(re.search(r"(about .* left|more than estimated)$", said[n]) for n in blocks)
    assert any(text.startswith("round 2 of 2: block 25 of 25, ") for text in said)


def test_a_round_that_takes_longer_than_estimated_says_so(
    measured: Callable[..., tuple[api.Result, list[str]]], fake_target: FakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule.Budget, "to_come", lambda *_: 0.0)
    _, said = measured(fake_target(), rounds=2)
    assert "round 1 of 2: block 1 of 25, 5 s more than estimated" in said


def test_a_machine_that_is_never_quiet_gets_no_verdict_and_the_report_says_why(
    measured: Callable[..., tuple[api.Result, list[str]]], fake_target: FakeTarget
) -> None:
    spoilt = {"latency_seconds": 0.400, "neighbour": 0.95, "neighbour_takes": 0.6}
    target = fake_target(fp32={"latency_seconds": 0.500}, int8=spoilt)
    result, _ = measured(target, rounds=2, budget_seconds=8.0)
    found = case(result, "int8")
    assert (found.verdict, found.verdict_reason) == ("unknown", "machine busy")
    assert found.rounds > 2  # rounds that did not count were repeated
    assert any("the machine was busy" in text for text in result.comparison.warnings)
    assert result.path is not None
    assert "unknown: machine busy" in (result.path / "report.md").read_text()


def busy(monkeypatch: pytest.MonkeyPatch, shares: Iterator[float | None]) -> None:
    monkeypatch.setattr(quiet, "busy_share", lambda: next(shares))
    monkeypatch.setattr(quiet, "PAUSE_SECONDS", 0.01)


def test_a_busy_machine_is_waited_for_and_the_report_says_how_long(
    measured: Callable[..., tuple[api.Result, list[str]]],
    fake_target: FakeTarget,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy(monkeypatch, chain([0.7, 0.6], repeat(0.0)))
    result, said = measured(fake_target(), rounds=2, wait_quiet_seconds=60.0)
    waits = [n for n, text in enumerate(said) if text.startswith("waiting: others use")]
    assert len(waits) == 2
    assert waits[-1] < next(n for n, text in enumerate(said) if " block " in text)
    assert any("Waited" in text and "--wait-quiet" in text for text in result.comparison.warnings)


def test_when_the_waiting_is_used_up_it_is_measured_and_warned(
    measured: Callable[..., tuple[api.Result, list[str]]],
    fake_target: FakeTarget,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy(monkeypatch, iter([0.7] * 1000))
    result, _ = measured(fake_target(), rounds=2, wait_quiet_seconds=0.05)
    assert case(result, "int8").rounds >= 2
    assert any("Others still used 70% of the cores" in text for text in result.comparison.warnings)


def test_resume_takes_an_allowance_of_its_own(
    measured: Callable[..., tuple[api.Result, list[str]]],
    fake_target: FakeTarget,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = {"latency_seconds": 0.200}
    result, _ = measured(fake_target(fp32={"latency_seconds": 0.500}, int8=quick), rounds=2)
    assert result.path is not None
    records = result.path / "records.jsonl"
    lines = records.read_text().splitlines(keepends=True)
    looks: list[float] = []

    def look() -> float:
        looks.append(0.0)
        return 0.0

    monkeypatch.setattr(quiet, "busy_share", look)
    for allowance in (None, 60.0):  # each time the second round is still to be measured
        records.write_text("".join(line for line in lines if json.loads(line)["round"] < 2))
        api.resume(result.path, launch=inline.launch, wait_quiet_seconds=allowance)
        assert bool(looks) == (allowance is not None)


def test_a_run_ends_with_its_page_beside_the_report(
    measured: Callable[..., tuple[api.Result, list[str]]], fake_target: FakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPTIBENCH_PAGE")
    result, _ = measured(fake_target(), rounds=1)
    assert result.path is not None
    assert (result.path / "report.md").is_file()
    assert "pretend/fake/int8" in (result.path / "report.html").read_text()
