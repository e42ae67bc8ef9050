"""The sweep over architectures (``tox -e coverage-models``) in short, and the page that is made of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import pytest

from tests.coverage import page, sweep
from tests.coverage.sweep import CELLS, Cell, cells_of, kept
from tests.coverage.zoo import TRIED, UNSEEN, ZOO


@pytest.mark.slow
def test_two_architectures_go_the_way_that_compare_goes(tmp_path: Path) -> None:
    out = tmp_path / "cells.jsonl"
    wanted = ("pytorch/fp32", "onnxruntime/fp32", "openvino/int8")
    options = [option for cell in wanted for option in ("--cell", cell)]
    command = [sys.executable, "-m", "tests.coverage.sweep", "T5, encoder", "ViT", "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = kept(out)
    assert [found[name, cell].reason for name in ("T5, encoder", "ViT") for cell in wanted] == [""] * 6
    assert found["ViT", "onnxruntime/fp32"].cosine == pytest.approx(1, abs=1e-4)
    page.write(tmp_path / "coverage.md", out)
    assert f"| looked at | {len(TRIED)} | 2 of 2 (100.0%) | 2 of 2 (100.0%) |" in (tmp_path / "coverage.md").read_text()


@pytest.mark.parametrize(
    ("end", "reason"), [(signal.SIGPROF, "timeout (180 s)"), (signal.SIGKILL, "the process died of signal 9")]
)
def test_a_cell_that_ends_its_process_has_failed_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, end: signal.Signals, reason: str
) -> None:
    def half_way(name: str, wanted: Sequence[str], folder: Path, replies: Connection) -> None:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        for cell in (CELLS[0], *wanted):
            if cell == CELLS[2]:
                os.kill(os.getpid(), end)
                time.sleep(60)
            replies.send_bytes(msgspec.json.encode(Cell(architecture=name, cell=cell, cosine=1.0)))
        os._exit(0)

    monkeypatch.setattr(sweep, "run_cells", half_way)
    found = {cell.cell: cell for cell in cells_of("BERT", list(CELLS[1:4]))}
    assert [cell.works for cell in found.values()] == [True, False, True]
    assert found[CELLS[2]].reason == reason


def test_nothing_is_compared_where_the_reference_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, wanted: Sequence[str], folder: Path, replies: Connection) -> None:
        replies.send_bytes(msgspec.json.encode(Cell(architecture=name, cell=CELLS[0], reason="no")))
        os._exit(0)

    monkeypatch.setattr(sweep, "run_cells", broken)
    assert [(cell.cell, cell.reason) for cell in cells_of("BERT", CELLS[:2])] == [(cell, "no") for cell in CELLS[:2]]


def test_the_last_of_several_tries_counts(tmp_path: Path) -> None:
    tries = [Cell(architecture="BERT", cell=CELLS[0], cosine=cosine) for cosine in (0.5, 1.0)]
    (tmp_path / "a").write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in tries))
    assert kept(tmp_path / "a")["BERT", CELLS[0]].works


def test_the_page_is_that_of_the_cells_that_are_kept(tmp_path: Path) -> None:
    page.write(tmp_path / "coverage.md")
    assert page.DOCS.read_text().splitlines()[:-1] == (tmp_path / "coverage.md").read_text().splitlines()[:-1]


def test_sixty_architectures_and_ten_that_nobody_looked_at() -> None:
    assert len(ZOO) == len(TRIED) + len(UNSEEN)  # no name twice
    assert len(TRIED) >= 60
    assert len(UNSEEN) >= 10
