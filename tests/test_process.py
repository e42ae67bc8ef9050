"""A worker in a process of its own, as the one that started it sees it."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from optibench.execute.process import ProcessLane


def test_a_process_that_two_threads_close_at_once_is_closed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waits.py").write_text("import sys\nopen(int(sys.argv[1])).read()\n")
    lane = ProcessLane("waits", {"PYTHONPATH": str(tmp_path)}, tmp_path / "log")
    pipes, closed, close = {lane.request, lane.reply}, [], os.close

    def slowly(descriptor: int) -> None:
        if descriptor in pipes:
            closed.append(descriptor)
            time.sleep(0.1)  # the other thread comes to the same place
        close(descriptor)

    monkeypatch.setattr(os, "close", slowly)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(lane.close), pool.submit(lane.close)]:
            done.result()
    assert sorted(closed) == sorted(pipes)
    assert lane.process.returncode is not None
