"""The main job on a machine with a card: minilm on cpu and cuda, kept in reports/gpu."""

from __future__ import annotations

from pathlib import Path

import pytest

from optibench import api
from optibench.result import Result
from optibench.store import open_run
from tests.gpu import page


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Kept whatever the tests below say of it."""
    run = tmp_path_factory.mktemp("gpu") / "run"
    found = api.compare("minilm", targets=["cpu", "cuda"], out=run, say=print)
    page.keep(found)
    return found


def test_every_case_ran_or_says_why_not(result: Result) -> None:
    cases = result.comparison.cases
    assert [(case.case, case.reason) for case in cases if case.status == "failed"] == []
    assert {case.backend for case in cases if case.target == "cuda" and case.status == "ok"} >= {"pytorch", "tensorrt"}


def test_a_call_takes_no_less_by_the_hosts_clock_than_by_the_devices(result: Result) -> None:
    """What returned before the device had finished would look faster than it is."""
    told = [
        (case.case, case.latency_seconds.p50, case.executed.detail["device_seconds"])
        for case in result.comparison.cases
        if case.target == "cuda" and case.latency_seconds and case.executed and "device_seconds" in case.executed.detail
    ]
    assert told
    assert [(name, host, device) for name, host, device in told if host < 0.98 * device] == []


def test_the_records_tell_the_card(result: Result) -> None:
    assert result.path is not None
    records, _ = open_run(Path(result.path)).records()
    assert all(record.host.gpus for record in records)
