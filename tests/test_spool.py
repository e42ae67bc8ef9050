"""Values on disk in place of memory: they are what they were, and memory does not grow with their number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optibench.arrays import batches_of, save
from optibench.data_files import NamedLabel
from optibench.spool import Picked, Spool
from tests.bench.evaluation import write_pairs
from tests.conftest import WORDS, write_bert


def test_values_come_back_as_they_were_in_any_order() -> None:
    named = NamedLabel(1)
    named.name = "good"
    values: list[Any] = [{"text": "a", "label": named}, np.arange(3), "b", None]
    spool = Spool(iter(values))
    assert len(spool) == 4
    assert spool[2] == "b"
    assert spool[-1] is None
    assert spool[0]["label"].name == "good"
    assert spool[1].tolist() == [0, 1, 2]
    with pytest.raises(IndexError):
        spool[4]


def test_slices_and_picks_are_views() -> None:
    spool = Spool(range(10))
    assert list(spool[2:8:3]) == [2, 5]
    assert spool[:3] == [0, 1, 2]
    assert list(Picked(spool, [7, 1])[1:]) == [1]
    assert spool != [0, 1]
    assert list(zip(spool, spool, strict=True))[-1] == (9, 9)  # two readers at once


def test_batches_of_one_shape_are_stored_together_and_read_one_at_a_time(tmp_path: Path) -> None:
    batches = [{"ids": np.full((2, 3 + number // 4), number), "x": np.ones((2,), np.float32)} for number in range(10)]
    save(tmp_path / "a.npz", batches, together_bytes=200)  # two of them, as each has 56 bytes or more
    with np.load(tmp_path / "a.npz") as stored:
        assert len(stored.files) < 2 * len(batches)
    found = list(batches_of(tmp_path / "a.npz"))
    assert [batch["ids"].shape for batch in found] == [batch["ids"].shape for batch in batches]
    assert [int(batch["ids"][0, 0]) for batch in found] == list(range(10))
    assert {batch["x"].dtype for batch in found} == {np.dtype("float32")}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_preparing_ten_times_the_data_takes_no_more_memory(tmp_path: Path) -> None:
    """9,000 more pairs are 6 MB of text, and 40 MB as arrays of tokens."""
    write_bert(tmp_path / "model")
    texts = [" ".join(WORDS[start : start + 60]) for start in range(60)]

    def peak(count: int) -> float:
        write_pairs(tmp_path / f"{count}.jsonl", texts, count)
        command = [sys.executable, "-m", "tests.bench.evaluation", "preparing", str(tmp_path), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout.splitlines()[-1])

    assert peak(10_000) < peak(1_000) + 12
