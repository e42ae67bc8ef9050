"""Asking a GPU whether it answers: where there is no driver, and where the driver hangs."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from optibench.execute.process import ProcessLane
from optibench.nvidia import alive


def test_without_a_driver_it_is_said_what_is_missing() -> None:
    reason = alive.silent({}, library="libcuda-that-is-not-there.so.1")
    assert reason
    assert "libcuda-that-is-not-there.so.1: cannot open shared object file" in reason


def test_a_driver_that_hangs_is_given_up_after_a_while(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "libcuda.so.1")  # whoever opens it waits, as within a driver that hangs
    start = time.monotonic()
    assert alive.silent({}, str(tmp_path / "libcuda.so.1"), limit_seconds=1.0) == (
        "the driver did not answer within 1 s"
    )
    assert time.monotonic() - start < 30


def test_a_worker_that_cannot_be_ended_does_not_hold_up_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = ProcessLane("optibench.worker", {}, tmp_path / "log")
    wait = lane.process.wait

    def stuck(timeout: float | None = None) -> int:
        assert timeout is not None, "it is waited for without end"
        raise subprocess.TimeoutExpired("worker", timeout)

    monkeypatch.setattr(lane.process, "wait", stuck)
    lane.close()
    assert wait(timeout=30) < 0
