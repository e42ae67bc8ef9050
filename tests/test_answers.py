"""Answers are read from the worker's file a part at a time, in the order of the data, and scores are those of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optibench import answers as module
from optibench import plugins, score
from optibench.answers import Answers

STORED = np.arange(12, dtype=np.float32).reshape(6, 2)


def written(folder: Path, array: np.ndarray, rows: Sequence[int] = ()) -> dict[str, Any]:
    """A worker's reply, and its file."""
    array.astype(np.float32).tofile(folder / "raw")
    return {"file": str(folder / "raw"), "count": len(array), "size": array.shape[1], "rows": list(rows)}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Parts of some rows; the list gets how many rows each reading was of."""
    monkeypatch.setattr(module, "PART_BYTES", 100)
    read: list[int] = []
    rows = Answers.rows

    def counted(self: Answers) -> np.ndarray:
        found = rows(self)
        read.append(len(found))
        return found

    monkeypatch.setattr(Answers, "rows", counted)
    return read


def test_they_come_back_in_the_inputs_order_whatever_their_number(tmp_path: Path) -> None:
    found = Answers.of_file(written(tmp_path, STORED, [1, 3, 2]), [2, 0, 1])  # the file's first input was the third
    assert [len(one) for one in found] == [3, 2, 1]
    assert found.rows()[:, 0].tolist() == [2, 4, 6, 8, 10, 0]
    assert found[1].tolist() == STORED[4:].tolist()
    assert found[-1].tolist() == [[0, 1]]
    assert [one.tolist() for one in found[1:]] == [STORED[4:].tolist(), [[0, 1]]]
    assert found.without_last(1).rows()[:, 0].tolist() == [2, 4, 8]
    with pytest.raises(IndexError):
        found[3]


def test_of_one_each_they_are_vectors(tmp_path: Path) -> None:
    found = Answers.of_file(written(tmp_path, STORED), [5, 4, 3, 2, 1, 0])
    assert found.rows().tolist() == STORED[::-1].tolist()
    assert found[0].tolist() == [10, 11]


def test_what_is_kept_outlives_the_file(tmp_path: Path) -> None:
    judged = written(tmp_path, STORED)
    kept = Answers.of_file(judged, range(6)).kept()
    written(tmp_path, 0 * STORED)
    assert kept.rows().tolist() == STORED.tolist()


def test_a_file_that_was_cut_is_an_error(tmp_path: Path) -> None:
    judged = written(tmp_path, STORED)
    written(tmp_path, STORED[:-1])
    with pytest.raises(EOFError):
        Answers.of_file(judged, range(6)).rows()


@pytest.mark.parametrize("name", ["sentence-similarity", "text-classification", "fill-mask"])
def test_scores_are_those_of_all_answers_at_once(tmp_path: Path, name: str, small_parts: list[int]) -> None:
    task = plugins.load("task", name)
    rng = np.random.default_rng(0)
    inputs = 101 * task.INPUTS_AN_EXAMPLE
    array, labels = rng.standard_normal((inputs, 3)).astype(np.float32), rng.integers(0, 3, 101).astype(float)
    order = rng.permutation(inputs)
    judged = written(tmp_path, array[order])
    made = score.scores_of(name, Answers.of_file(judged, order.tolist()), labels.tolist())
    wanted = task.predictions(array, labels)
    assert [np.array(one.predictions).tolist() for one in made] == [wanted.tolist()] * len(task.METRICS)
    assert [one.value for one in made] == [metric(wanted[None], labels[None])[0] for metric in task.METRICS.values()]
    assert max(small_parts) <= 8, "no more than a part was read at once"


def test_parity_is_that_of_all_answers_at_once(tmp_path: Path, small_parts: list[int]) -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal((40, 3)).astype(np.float32)
    other = one + rng.normal(0, 0.3, one.shape).astype(np.float32)
    counts = rng.permutation([1, 2, 3, 4, 5, 5, 6, 7, 7]).tolist()
    found = score.parity_of("token-classification", Answers.of(other, counts), Answers.of(one, counts))
    cosine = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert found is not None
    assert found.cosine == pytest.approx(cosine.mean())
    assert found.cosine_min == pytest.approx(cosine.min())
    assert found.max_abs_difference == pytest.approx(abs(one - other).max())
    assert found.top1_agreement == pytest.approx((one.argmax(axis=1) == other.argmax(axis=1)).mean())
    assert found.count == 40
    assert max(small_parts) < 40
    assert score.parity_of("token-classification", Answers.of(other, counts), Answers.of(one, counts[::-1])) is None
    assert score.parity_of("token-classification", Answers.of(other), Answers.of(one, counts)) is None
